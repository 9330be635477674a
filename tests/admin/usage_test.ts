/** Help, and failures that do not depend on the command. */
import assert from "node:assert/strict";
import openapiYaml from "../../openapi.yaml" with { type: "text" };
import { parse } from "yaml";
import { admin, type AdminOptions, anonymous, assertFits, lines, startProgram } from "../support/admin.ts";
import { startServer } from "../support/server.ts";

const openapi: { info: { version: string } } = parse(openapiYaml);

const run = async (args: string[], env: Record<string, string> = {}, options: AdminOptions = {}) =>
  anonymous(await startProgram(args, env, options).end());

/** The names of the commands that a help lists. */
function commandsOf(help: string): string[] {
  const [, list = ""] = /^Commands:\n((?: {2}.+\n)+)/m.exec(help) ?? [];
  return [...list.matchAll(/^ {2}(\S+)/gm)].map(([, name = ""]) => name);
}

Deno.test("admin --help: every group and command -> help on standard output in 80 columns, with examples and environment", async () => {
  const groups = {
    rooms: ["list", "create", "update", "deactivate"],
    timeslots: ["generate"],
    bookings: ["list", "show", "confirm", "cancel", "complete", "no-show"],
    refunds: ["create", "retry", "settle"],
    stats: [],
    events: ["tail"],
    keys: ["list", "create", "revoke"],
  };
  const helpOf = async (words: string[]) => {
    const { stdout, ...ended } = await run([...words, "--help"]);
    assert.deepEqual(ended, { code: 0, stderr: "" });
    assertFits(stdout);
    assert.match(stdout, /^Environment:\n {2}SLOTKEEPER_URL .+\n {2}SLOTKEEPER_TOKEN .+\n$/m);
    assert(stdout.startsWith(`Usage: ${["deno task admin", ...words].join(" ")} [options]`), stdout);
    return stdout;
  };
  assert.deepEqual(commandsOf(await helpOf([])), Object.keys(groups));
  for (const [group, commands] of Object.entries(groups)) {
    assert.deepEqual(commandsOf(await helpOf([group])), commands);
    for (const words of commands.length === 0 ? [[group]] : commands.map((command) => [group, command])) {
      const example = `  deno task admin ${words.join(" ")}.*\n(    --.+\n)*`;
      assert.match(await helpOf(words), new RegExp(`^Examples:\n(${example})+\n`, "m"));
    }
  }
});

Deno.test("admin bookings cancel -h: terminal without and with colors -> plain help, bold titles", async () => {
  const { stdout } = await run(["bookings", "cancel", "-h"]);
  assert.equal(
    stdout,
    lines(
      "Usage: deno task admin bookings cancel [options] <ids...>",
      "",
      "Cancel bookings and refund everything paid",
      "",
      "Arguments:",
      "  ids         Ids of the bookings",
      "",
      "Options:",
      "  --json      Print JSON on standard output, for programs",
      "  --yes       Do not ask",
      "  -h, --help  Print this help",
      "",
      "Examples:",
      "  deno task admin bookings cancel 42",
      "  deno task admin bookings cancel 42 43 --yes",
      "",
      "Environment:",
      "  SLOTKEEPER_URL    address of Slotkeeper, such as http://127.0.0.1:8000",
      "  SLOTKEEPER_TOKEN  token with the role admin, or an API key",
    ),
  );
  const colored = await run(["bookings", "cancel", "-h"], {}, { hasColors: true });
  for (const title of ["Usage:", "Options:", "Examples:", "Environment:"]) {
    assert(colored.stdout.includes(`\u001b[1m${title}\u001b[22m`), title);
  }
});

Deno.test("admin --help: after a wrong option, value or argument -> help and 0", async () => {
  for (const args of ["rooms list --bogus -h", "rooms list --type --help", "rooms list --type sauna 5 --help"]) {
    const { code, stdout, stderr } = await run(args.split(" "));
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" }, args);
    assert.match(stdout, /^Usage: deno task admin rooms list /, args);
  }
});

/** Wrong arguments with the sentence, and the command whose help it names. */
const misuses: [args: string, sentence: string, command: string][] = [
  ["rooms lst", "Unknown command 'lst' (Did you mean list?)", "rooms"],
  ["toString", "Unknown command 'toString'", ""],
  ["help", "Unknown command 'help'", ""],
  ["--json rooms list", "Unknown option '--json'", ""],
  ["rooms list --al", "Unknown option '--al' (Did you mean --all?)", "rooms list"],
  ["rooms list -a", "Unknown option '-a'", "rooms list"],
  ["rooms list --no-all", "Unknown option '--no-all' (Did you mean --all?)", "rooms list"],
  ["rooms list --all=1", "Unknown option '--all=1' (Did you mean --all?)", "rooms list"],
  ["rooms list --all --all", "Option '--all' may be given only once", "rooms list"],
  ["rooms list 5", "Too many arguments for 'list'. Expected 0 arguments but got 1: 5", "rooms list"],
  ["rooms list --type", "Option '--type <type>' needs a value", "rooms list"],
  [
    "rooms list --type --json",
    "Option '--type <type>' needs a value. To pass '--json' as its value, write --type=--json",
    "rooms list",
  ],
  ["rooms list --type office --type meeting", "Option '--type <type>' may be given only once", "rooms list"],
  [
    "rooms list --type sauna",
    "Option '--type <type>' argument 'sauna' is invalid: allowed choices are office, consultation, meeting, treatment",
    "rooms list",
  ],
  ["rooms create --type office", "Option '--name <text>' is required", "rooms create"],
  ["rooms update 1", "Give at least one option to change", "rooms update"],
  ["rooms update 1 --active --no-active", "Option '--no-active' may be given only once", "rooms update"],
  ["rooms update 1 2 --active", "Too many arguments for 'update'. Expected 1 argument but got 2: 1, 2", "rooms update"],
  [
    "rooms update 1 --capacity 1e1",
    "Option '--capacity <people>' argument '1e1' is invalid: must be a whole number",
    "rooms update",
  ],
  [
    "rooms update 1 --hourly-rate=-1",
    "Option '--hourly-rate <amount>' argument '-1' is invalid: must be an amount such as 12.50, or none",
    "rooms update",
  ],
  ["bookings show", "Give the id of the booking, such as: deno task admin bookings show 42", "bookings show"],
  [
    "bookings confirm",
    "Give the ids of the bookings, such as: deno task admin bookings confirm 42 43",
    "bookings confirm",
  ],
  ["bookings confirm 1 two", "'two' is not valid as <ids>: must be a whole number", "bookings confirm"],
  ["bookings show -5", "'-5' is not valid as <id>: must be a whole number", "bookings show"],
  ["bookings show \u001b[31m", "'\ufffd[31m' is not valid as <id>: must be a whole number", "bookings show"],
  // Every value may begin with a dash, and is refused for what it is.
  ...[
    ["rooms update 1", "--hourly-rate <amount>", "-5", "must be an amount such as 12.50, or none"],
    ["rooms update 1", "--capacity <people>", "-1", "must be a whole number"],
    ["bookings list", "--room <id>", "-1", "must be a whole number"],
    ["bookings list", "--limit <number>", "-50", "must be a whole number"],
    [
      "bookings list",
      "--from <time>",
      "-2027-03-31",
      "must be a date such as 2027-03-31, or an instant such as 2027-03-31T09:00:00Z",
    ],
    ["rooms list", "--type <type>", "-office", "allowed choices are office, consultation, meeting, treatment"],
    ["rooms list", "--type <type>", "--office", "allowed choices are office, consultation, meeting, treatment"],
    ["events tail", "--user <id|all>", "-a", "must be a whole number"],
    ["timeslots generate", "--exclude <date,...>", "-1", "must be a date such as 2027-03-31"],
  ].map(([command = "", flags = "", value = "", reason = ""]): [string, string, string] => [
    `${command} ${flags.split(" ")[0]} ${value}`,
    `Option '${flags}' argument '${value}' is invalid: ${reason}`,
    command.replace(" 1", ""),
  ]),
  ["bookings list --limit 0", "Option '--limit <number>' argument '0' is invalid: must be 1 or more", "bookings list"],
  [
    "timeslots generate --room 1 --from 2027-02-30 --to 2027-03-01",
    "Option '--from <date>' argument '2027-02-30' is invalid: must be a date such as 2027-03-31",
    "timeslots generate",
  ],
  ["timeslots generate --room 1 --from 2027-02-02 --to 2027-02-01", "--to lies before --from", "timeslots generate"],
  [
    "timeslots generate --room 1 --from 2027-01-01 --to 2207-12-31",
    "--from and --to span more than 120 months",
    "timeslots generate",
  ],
  [
    "timeslots generate --room 1 --from 2027-12-01 --to 2027-12-31 --exclude 2027-12-25,2026-12-26",
    "--exclude has 2026-12-26, which is not within --from and --to",
    "timeslots generate",
  ],
  [
    "timeslots generate --room 1 --from 2027-02-01 --to 2027-02-02 --break noon",
    "Option '--break <from-to,...>' argument 'noon' is invalid: must be such as 12:00-13:00",
    "timeslots generate",
  ],
  [
    "events tail --user all --room 1",
    "Option '--room <id>' cannot be used with option '--user <id|all>'",
    "events tail",
  ],
];

Deno.test("admin: wrong arguments -> 2 and one sentence, without a request", async () => {
  for (const [args, sentence, command] of misuses) {
    const stderr = lines(`${sentence}. See ${["deno task admin", command].join(" ").trimEnd()} --help`);
    assert.deepEqual(await run(args.split(" ")), { code: 2, stdout: "", stderr }, args);
  }
});

Deno.test("admin: --version or -V -> the version of the contract", async () => {
  const { version } = openapi.info;
  for (const flag of ["--version", "-V"]) {
    assert.deepEqual(await run([flag]), { code: 0, stdout: lines(version), stderr: "" });
  }
});

Deno.test("admin: no command -> 2 and help on standard error", async () => {
  for (const words of [[], ["rooms"]]) {
    const { stderr, ...ended } = await run(words);
    assert.deepEqual(ended, { code: 2, stdout: "" });
    assert(commandsOf(stderr).length > 0, stderr);
    const hint = ["No command was given. See deno task admin", ...words, "--help\n"].join(" ");
    assert(stderr.endsWith(`\n${hint}`), stderr);
  }
});

Deno.test("admin: environment missing or wrong, or no Slotkeeper at the address -> 3 and the reason", async () => {
  await using other = Deno.serve({ port: 0, onListen: () => {} }, () => new Response("Hello", { status: 418 }));
  const url = "http://127.0.0.1:8000";
  const such = "such as http://127.0.0.1:8000";
  const cases: [env: Record<string, string>, message: string][] = [
    [{ SLOTKEEPER_TOKEN: "t" }, `SLOTKEEPER_URL is missing: set it to the address of Slotkeeper, ${such}.`],
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
      { SLOTKEEPER_URL: `http://127.0.0.1:${other.addr.port}`, SLOTKEEPER_TOKEN: "t" },
      `No Slotkeeper at http://127.0.0.1:${other.addr.port} (SLOTKEEPER_URL): another program answered with 418.`,
    ],
  ];
  await Promise.all(cases.map(async ([env, message]) => {
    assert.deepEqual(await run(["rooms", "list", "--json"], env), { code: 3, stdout: "", stderr: lines(message) });
  }));
});

Deno.test("admin: token invalid, without the role admin or without a scope -> 1 and how to change it", async () => {
  await using server = await startServer();
  const { key } = await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Reader", scopes: ["bookings:read"] },
  });
  const cases: [token: string, messages: string[]][] = [
    ["wrong", [
      "Refused: Token is not valid (token_invalid)",
      "The token is not valid here: its form, signature, issuer, audience or dates are wrong.",
      "SLOTKEEPER_TOKEN was refused: set it to a valid token with the role admin, or to an API key.",
    ]],
    [await server.token("alice"), [
      "Refused: Admin role required (admin_required)",
      "Only an admin may do this.",
      "Set SLOTKEEPER_TOKEN to a token with the role admin, from: deno task token --subject olga --role admin",
    ]],
    [key, [
      "Refused: API key lacks a scope (scope_missing)",
      "This takes an API key with the scope rooms:write. Yours has bookings:read.",
      "Set SLOTKEEPER_TOKEN to a key with that scope, or to a token with the role admin.",
    ]],
  ];
  for (const [token, messages] of cases) {
    const refused = await admin(server, "rooms update 1 --active", { token });
    assert.deepEqual(refused, { code: 1, stdout: "", stderr: lines(...messages, "Request REQUEST") });
  }
  // The list is public, and the server does not look at the token.
  const [[wrong = "", messages = []] = []] = cases;
  const listed = await admin(server, "rooms list", { token: wrong });
  assert.deepEqual(listed, { code: 1, stdout: "", stderr: lines(...messages, "Request REQUEST") });
});
