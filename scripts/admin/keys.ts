/** `admin keys`. */
import { type components, unwrap } from "@slotkeeper/client";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { list, present, time, whole } from "./options.ts";
import { confirmed, print, printJson, printNote, type Shell, styled } from "./shell.ts";
import { fields, table } from "./tables.ts";
import { count, localTime, plain } from "./texts.ts";

type ApiKey = components["schemas"]["ApiKey"];
type Scope = components["schemas"]["ApiKeyScope"];

interface CreateOptions extends JsonOption {
  name: string;
  scopes: Scope[];
  expires?: string;
}

export function keys(program: AdminCommand, shell: Shell): void {
  const group = program.command("keys").description("List, create and revoke API keys");

  group.operation("list", "List the API keys, newest first", ["", "--json"])
    .action(async ({ json }: JsonOption) => {
      const keys = await Array.fromAsync(connect(shell).items("/api/v1/admin/api-keys"));
      if (json) return void printJson(shell, keys);
      if (keys.length > 0) print(shell, keyTable(keys));
      printNote(shell, `${count(keys.length, "API key")}. Days are in UTC.`);
    });

  group.operation("create", "Create an API key and show it, this once", [
    "--name Doors --scopes bookings:read,events:read",
    "--name Reports --scopes stats:read",
  ])
    .requiredOption("--name <text>", "Purpose of the key")
    // The server validates the scopes, so that a new one needs no change here.
    .requiredOption("--scopes <scope,...>", "Permissions, separated by commas", list(String))
    .option("--expires <instant>", "End, such as 2030-01-01T00:00:00Z. Without it the key works until revoked", time)
    .action(async ({ name, scopes, expires, json }: CreateOptions) => {
      const body = { name, scopes, ...present({ expiresAt: expires }) };
      const created = await unwrap(connect(shell).POST("/api/v1/admin/api-keys", { body }));
      if (json) return void printJson(shell, created);
      const { apiKey, key } = created;
      const shown = { "name": apiKey.name, "scopes": apiKey.scopes.join(", "), "works": until(apiKey) };
      print(shell, `API key ${apiKey.id} was created.\n${fields(shown)}\n\n  ${styled("bold", plain(key))}\n`);
      printNote(shell, "Store the key now: it is not shown again.");
    });

  group.operation("revoke", "Revoke an API key", ["3", "3 --yes"])
    .argument("<id>", "Id of the API key", whole)
    .option("--yes", "Do not ask")
    .action(async (apiKeyId: number, { yes = false, json }: JsonOption & { yes?: boolean }) => {
      const question = `Revoke API key ${apiKeyId}? This cannot be undone.`;
      if (!await confirmed(shell, question, { isSure: yes })) return;
      const init = { params: { path: { apiKeyId } } };
      const answer = await unwrap(connect(shell).DELETE("/api/v1/admin/api-keys/{apiKeyId}", init));
      if (json) return void printJson(shell, answer);
      print(shell, `API key ${apiKeyId} was revoked.`);
    });
}

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
