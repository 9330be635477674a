/** `deno task token` and `deno task migrate`. */
import assert from "node:assert/strict";
import { newDatabase } from "../support/database.ts";
import { runTask } from "../support/process.ts";
import { startServer, testSecret } from "../support/server.ts";

/** Mints a token for servers with {@link testSecret}. */
async function mint(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runTask("token", { args, env: { AUTH_JWT_SECRET: testSecret } });
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

Deno.test("token: subject, role, name, email, hours -> only a token with these claims", async () => {
  await using server = await startServer();
  const options = ["--subject", "alice", "--role", "admin", "--name", "Alice", "--email", "alice@example.com"];
  const [person, plain] = await Promise.all([mint(...options, "--hours", "1"), mint("--subject", "bob")]);

  const alice = await server.ok("getMe", { token: person });
  const expected = { subject: "alice", role: "admin", scopes: null, name: "Alice", email: "alice@example.com" };
  assert.deepEqual(alice, { id: alice.id, ...expected });
  assert.equal((await server.ok("getMe", { token: plain })).role, "user");

  const [, payload = ""] = person.split(".");
  const { iat, exp } = JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(payload, { alphabet: "base64url" })));
  assert.equal(exp - iat, 3_600);
});

const hours = "Option '--hours <number>' argument";
const misuses: [args: string[], sentence: string][] = [
  [[], "Option '--subject <text>' is required"],
  [["--subject"], "Option '--subject <text>' needs a value"],
  [["--subject", ""], "Option '--subject <text>' argument '' is invalid: must not be empty"],
  [
    ["--subject", "alice", "--role", "owner"],
    "Option '--role <role>' argument 'owner' is invalid: allowed choices are user, admin",
  ],
  [["--subject", "alice", "--hours", "0"], `${hours} '0' is invalid: must be a number above 0`],
  [["--subject", "alice", "--hours", "-5"], `${hours} '-5' is invalid: must be a number above 0`],
  [["--subject", "alice", "--hours", "soon"], `${hours} 'soon' is invalid: must be a number above 0`],
  [["--subject", "alice", "--hours", "Infinity"], `${hours} 'Infinity' is invalid: must be a number above 0`],
  [["--subject", "alice", "--expires", "never"], "Unknown option '--expires'"],
  [["--subject", "bob", "alice"], "Too many arguments. Expected 0 arguments but got 1: alice"],
];

for (const [args, sentence] of misuses) {
  Deno.test(`token: arguments [${args.join(" ")}] -> one sentence, exit 2`, async () => {
    const { code, stdout, stderr } = await runTask("token", { args, env: { AUTH_JWT_SECRET: testSecret } });
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert(stderr.endsWith(`${sentence}. See deno task token --help\n`), stderr);
  });
}

const misconfigurations: { script: "token" | "migrate"; env: Record<string, string>; expected: RegExp }[] = [
  { script: "token", env: { AUTH_JWT_SECRET: "short" }, expected: /AUTH_JWT_SECRET: must have 32 bytes/ },
  { script: "token", env: { AUTH_JWKS_URL: "https://issuer.example/keys" }, expected: /AUTH_JWKS_URL/ },
  {
    script: "migrate",
    env: { DATABASE_URL: "mysql://localhost/slotkeeper" },
    expected: /DATABASE_URL: must start with/,
  },
];

for (const { script, env, expected } of misconfigurations) {
  Deno.test(`${script}: invalid ${Object.keys(env)} -> names it, exit 1`, async () => {
    const args = script === "token" ? ["--subject", "alice"] : [];
    const { code, stderr } = await runTask(script, { args, env });
    assert.equal(code, 1);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /\bat .*\.ts:\d+/, "a stack trace");
  });
}

Deno.test("migrate: empty database, then again -> names its migrations, then none", async () => {
  await using database = await newDatabase({ migrated: false });
  const env = { DATABASE_URL: database.url };
  const first = await runTask("migrate", { env });
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^Ran 0001_\w+(, \d{4}_\w+)*\.\n$/);
  assert.deepEqual(await runTask("migrate", { env }), { ...first, stdout: "The database is up to date.\n" });
});
