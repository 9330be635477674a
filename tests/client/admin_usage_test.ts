/** What `deno task admin` says of itself, and when it cannot do what it is asked for. */
import assert from "node:assert/strict";
import { admin, anonymous, assertFits, lines } from "../support/admin.ts";
import { freePort, runTask } from "../support/process.ts";
import { startServer } from "../support/server.ts";

const run = async (args: string[], env: Record<string, string> = {}) =>
  anonymous(await runTask("admin", { args, env }));

Deno.test("admin --help lists every command, and each of them has a help with examples in 80 columns", async () => {
  const { code, stdout, stderr } = await run(["--help"]);
  assert.deepEqual({ code, stderr }, { code: 0, stderr: "" });
  assertFits(stdout);
  const [, list = ""] = /Commands:\n((?: {2}.+\n)+)/.exec(stdout) ?? [];
  const commands = list.trimEnd().split("\n").map((line) => line.trim().split("  ")[0] ?? "");
  assert.deepEqual(commands, [
    ...["rooms list", "rooms create", "rooms update", "rooms deactivate", "timeslots generate"],
    ...[
      "bookings list",
      "bookings show",
      "bookings confirm",
      "bookings cancel",
      "bookings complete",
      "bookings no-show",
    ],
    ...["stats", "events tail", "keys list", "keys create", "keys revoke"],
  ]);
  for (const command of commands) {
    const help = await run([...command.split(" "), "--help"]);
    assert.deepEqual({ code: help.code, stderr: help.stderr }, { code: 0, stderr: "" });
    assert.match(help.stdout, new RegExp(`^Usage:\n  deno task admin ${command}`, "m"));
    assert.match(help.stdout, new RegExp(`^Examples:\n(  deno task admin ${command}.*\n(    --.+\n)*)+$`, "m"));
    assertFits(help.stdout);
  }
});

Deno.test("admin bookings cancel -h tells how it is used", async () => {
  const { stdout } = await run(["bookings", "cancel", "-h"]);
  assert.equal(
    stdout,
    lines(
      "Cancel bookings; all that was paid is refunded.",
      "",
      "Usage:",
      "  deno task admin bookings cancel [options] <ids>...",
      "",
      "Options:",
      "  --yes       Do not ask",
      "  --json      Print JSON on standard output, for programs",
      "  -h, --help  Print this",
      "",
      "Examples:",
      "  deno task admin bookings cancel 42",
      "  deno task admin bookings cancel 42 43 --yes",
    ),
  );
});

const misuses: [args: string, says: string][] = [
  ["rooms lst", "Unknown command: rooms lst. See deno task admin rooms --help"],
  ["toString", "Unknown command: toString. See deno task admin --help"],
  ["--json rooms list", "Options follow the command: --json. See deno task admin --help"],
  ["rooms list --al", "Unknown option: --al. See deno task admin rooms list --help"],
  ["rooms list -a", "Unknown option: -a. See deno task admin rooms list --help"],
  ["rooms list --no-all", "Unknown option: --no-all. See deno task admin rooms list --help"],
  ["rooms list --all=1", "--all takes no value. See deno task admin rooms list --help"],
  ["rooms list 5", "Unexpected argument: 5. See deno task admin rooms list --help"],
  ["rooms list --type --json", "--type needs a value. See deno task admin rooms list --help"],
  ["rooms list --type office --type meeting", "--type may come once. See deno task admin rooms list --help"],
  [
    "rooms list --type sauna",
    "Invalid value for argument: --type (sauna). Expected one of: office, consultation, meeting, treatment. " +
    "See deno task admin rooms list --help",
  ],
  ["rooms create --type office", "Missing required argument: --name. See deno task admin rooms create --help"],
  ["rooms update 1", "Nothing to change was given. See deno task admin rooms update --help"],
  ["rooms update 1 2 --active", "Unexpected argument: 2. See deno task admin rooms update --help"],
  [
    "rooms update 1 --capacity 1e1",
    "--capacity must be a whole number: 1e1. See deno task admin rooms update --help",
  ],
  [
    "rooms update 1 --hourly-rate=-1",
    "--hourly-rate must be an amount such as 12.50, or none: -1. See deno task admin rooms update --help",
  ],
  ["bookings show", "Missing required positional argument: ID. See deno task admin bookings show --help"],
  ["bookings confirm 1 two", "An id must be a whole number: two. See deno task admin bookings confirm --help"],
  ["bookings list --limit 0", "--limit must be 1 or more. See deno task admin bookings list --help"],
  [
    "timeslots generate --room 1 --from 2027-02-30 --to 2027-03-01",
    "--from must be a date such as 2027-03-31: 2027-02-30. See deno task admin timeslots generate --help",
  ],
  [
    "timeslots generate --room 1 --from 2027-02-02 --to 2027-02-01",
    "--to lies before --from. See deno task admin timeslots generate --help",
  ],
  [
    "timeslots generate --room 1 --from 2027-02-01 --to 2027-02-02 --break noon",
    "--break must be such as 12:00-13:00: noon. See deno task admin timeslots generate --help",
  ],
  ["events tail --user all --room 1", "Give --user or --room, not both. See deno task admin events tail --help"],
];

Deno.test("admin refuses arguments that are not right with 2, in a sentence, before it looks for a server", async () => {
  for (const [args, says] of misuses) {
    assert.deepEqual(await run(args.split(" ")), { code: 2, stdout: "", stderr: lines(says) }, args);
  }
  const nothing = await run([]);
  assert.deepEqual({ code: nothing.code, stdout: nothing.stdout }, { code: 2, stdout: "" });
  assert.match(nothing.stderr, /^Commands:$(.|\n)+^No command was given\. See deno task admin --help\n$/m);
});

Deno.test("admin says with 3 which part of its environment is missing or wrong, and where nobody answers", async () => {
  // Nobody listens there.
  const port = freePort();
  await using other = Deno.serve({ port: 0, onListen: () => {} }, () => new Response("Hello", { status: 418 }));
  const url = "http://127.0.0.1:8000";
  const such = "such as http://127.0.0.1:8000";
  const cases: [env: Record<string, string>, says: string][] = [
    [{ SLOTKEEPER_TOKEN: "t" }, `SLOTKEEPER_URL is missing: set it to where Slotkeeper is, ${such}.`],
    [{ SLOTKEEPER_URL: "rooms.example" }, `SLOTKEEPER_URL must be an address ${such}: rooms.example`],
    [{ SLOTKEEPER_URL: "ftp://rooms.example" }, `SLOTKEEPER_URL must be an address ${such}: ftp://rooms.example`],
    [
      { SLOTKEEPER_URL: url, SLOTKEEPER_TOKEN: "" },
      "SLOTKEEPER_TOKEN is missing: set it to a token with the role admin, or to an API key.",
    ],
    [
      { SLOTKEEPER_URL: url, SLOTKEEPER_TOKEN: "two words" },
      "SLOTKEEPER_TOKEN has a character that no token has, such as a space or a line break.",
    ],
    [
      { SLOTKEEPER_URL: `http://127.0.0.1:${port}/`, SLOTKEEPER_TOKEN: "t" },
      `Cannot reach http://127.0.0.1:${port} (SLOTKEEPER_URL): Connection refused.`,
    ],
    [
      { SLOTKEEPER_URL: `http://127.0.0.1:${other.addr.port}`, SLOTKEEPER_TOKEN: "t" },
      `No Slotkeeper at http://127.0.0.1:${other.addr.port} (SLOTKEEPER_URL): what answers there with 418 is something else.`,
    ],
  ];
  await Promise.all(cases.map(async ([env, says]) => {
    assert.deepEqual(await run(["rooms", "list", "--json"], env), { code: 3, stdout: "", stderr: lines(says) });
  }));
});

Deno.test("admin says what its token lacks", async () => {
  await using server = await startServer();
  const { key } = await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Reader", scopes: ["bookings:read"] },
  });
  const cases: [token: string, says: string[]][] = [
    ["wrong", [
      "Refused: Token is not valid (token_invalid)",
      "The token is not valid: it is malformed, not signed by us, or not meant for us.",
      "SLOTKEEPER_TOKEN was refused: set it to a valid token with the role admin, or to an API key.",
    ]],
    [await server.token("alice"), [
      "Refused: Admin role required (admin_required)",
      "Only an admin may do this.",
      "Set SLOTKEEPER_TOKEN to a token with the role admin, as of: deno task token --subject olga --role admin",
    ]],
    [key, [
      "Refused: API key lacks a scope (scope_missing)",
      "This takes an API key with the scope rooms:write. Yours has bookings:read.",
      "Set SLOTKEEPER_TOKEN to a key with that scope, or to a token with the role admin.",
    ]],
  ];
  for (const [token, says] of cases) {
    const refused = await admin(server, "rooms update 1 --active", { token });
    assert.deepEqual(refused, { code: 1, stdout: "", stderr: lines(...says, "Request REQUEST") });
  }
});
