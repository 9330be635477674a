/** `admin keys`. */
import { type components, unwrap } from "@slotkeeper/client";
import { type Command, command, type Group, group, yes } from "./command.ts";
import { connect } from "./connection.ts";
import { present } from "./given.ts";
import { fields, printJson, table } from "./tables.ts";
import { confirmed, styled } from "./terminal.ts";
import { count, localTime, plain } from "./texts.ts";

type ApiKey = components["schemas"]["ApiKey"];
type Scope = components["schemas"]["ApiKeyScope"];

const list: Command = command({
  summary: "List the API keys, the newest first",
  examples: ["", "--json"],
  async run(given) {
    const keys = await Array.fromAsync(connect().items("/api/v1/admin/api-keys"));
    if (given.flag("json")) return printJson(keys);
    if (keys.length > 0) console.log(keyTable(keys));
    console.error(`${count(keys.length, "API key")}. Days are in UTC.`);
  },
});

const create: Command = command({
  summary: "Make an API key, which is shown this once",
  examples: [
    "--name 'Door displays' --scopes bookings:read,events:read",
    "--name Reports --scopes stats:read",
  ],
  args: {
    name: { type: "string", required: true, description: "What it is for" },
    scopes: {
      type: "string",
      required: true,
      several: true,
      valueHint: "scopes",
      description: "What it may do, with commas",
    },
    expires: {
      type: "string",
      valueHint: "instant",
      description: "Such as 2030-01-01T00:00:00Z; else until it is revoked",
    },
  },
  async run(given) {
    // Which ones there are is for the server to say.
    const scopes = (given.texts("scopes") ?? []) as Scope[];
    const name = given.need("name", given.text("name"));
    const body = { name, scopes, ...present({ expiresAt: given.time("expires") }) };
    const created = await unwrap(connect().POST("/api/v1/admin/api-keys", { body }));
    if (given.flag("json")) return printJson(created);
    const { apiKey, key } = created;
    const shown = { "name": apiKey.name, "scopes": apiKey.scopes.join(", "), "works": until(apiKey) };
    console.log(`API key ${apiKey.id} is made.\n${fields(shown)}\n\n  ${styled("bold", plain(key))}\n`);
    console.error("Store the key now: it is not shown again.");
  },
});

const revoke: Command = command({
  summary: "Let an API key work no more",
  examples: ["3", "3 --yes"],
  args: { id: { type: "positional", description: "The API key" }, yes },
  async run(given) {
    const path = { apiKeyId: given.id() };
    const question = `Revoke API key ${path.apiKeyId}? It cannot be brought back.`;
    if (!await confirmed(question, given.flag("yes"))) return;
    const answer = await unwrap(connect().DELETE("/api/v1/admin/api-keys/{apiKeyId}", { params: { path } }));
    if (given.flag("json")) return printJson(answer);
    console.log(`API key ${path.apiKeyId} is revoked.`);
  },
});

export const keys: Group = group("Make and revoke API keys", { list, create, revoke });

/** The day in UTC. */
const day = (instant: string): string => localTime(instant, "UTC").slice(0, "2027-03-31".length);

function until({ revokedAt, expiresAt }: ApiKey): string {
  if (revokedAt !== null) return "revoked";
  return expiresAt === null ? "until revoked" : `until ${day(expiresAt)}`;
}

function keyTable(keys: ApiKey[]): string {
  return table(
    [
      { head: "id", align: "right" },
      { head: "name", mayShrink: true },
      { head: "begins with" },
      { head: "scopes" },
      { head: "last used" },
      { head: "works" },
    ],
    keys.map((key) => [
      ...[String(key.id), key.name, key.prefix],
      key.scopes,
      key.lastUsedAt === null ? "never" : day(key.lastUsedAt),
      until(key),
    ]),
  );
}
