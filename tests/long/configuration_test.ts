/** A server that cannot start says why, in sentences, all at once, and ends with 1. */
import assert from "node:assert/strict";
import { newDataFolder, runTask } from "../support/process.ts";
import { testSecret } from "../support/server.ts";

/** Runs a server that has to fail, and returns what it said. */
async function failedStart(env: Record<string, string>): Promise<string> {
  const { code, stdout, stderr } = await runTask("serve", { env: { PORT: "0", ...env } });
  assert.equal(code, 1, stdout + stderr);
  assert.equal(stdout, "");
  assert.doesNotMatch(stderr, /\bat .*\.ts:\d+|"stack"/, "a stack trace");
  return stderr;
}

Deno.test("every fault of the configuration is listed at once", async () => {
  const faults = {
    PORT: "80a",
    DATABASE_URL: "mysql://localhost/slotkeeper",
    DATABASE_POOL: "0",
    SANDBOX: "yes",
    DEMO_DATA: "1",
    AUTH_JWT_SECRET: "too short",
    AUTH_JWKS_URL: "no address",
    DEFAULT_TIME_ZONE: "Mars/Base",
    DEFAULT_CURRENCY: "gold",
    CANCELLATION_TIERS: "rubbish",
    PAYMENT_PROVIDER: "paypal",
    PUBLIC_URL: "nowhere",
    LOG_LEVEL: "loud",
  };
  const said = await failedStart(faults);
  for (const name of Object.keys(faults)) assert.match(said, new RegExp(`^ +${name}: .+$`, "m"));
  assert.match(said, /AUTH_JWT_SECRET: .*AUTH_JWKS_URL, not both/);
  assert.doesNotMatch(said, /too short/, "a secret was printed");
});

const refusals: { of: string; env: Record<string, string>; says: RegExp }[] = [
  {
    of: "a shared secret and an issuer's keys at once",
    env: { AUTH_JWT_SECRET: testSecret, AUTH_JWKS_URL: "https://issuer.example/keys" },
    says: /AUTH_JWT_SECRET: .*AUTH_JWKS_URL, not both/,
  },
  {
    of: "a database without a way to verify tokens",
    env: { DATABASE_URL: "postgres://localhost/slotkeeper" },
    says: /AUTH_JWT_SECRET: .*AUTH_JWKS_URL/,
  },
];

for (const { of, env, says } of refusals) {
  Deno.test(`a server refuses ${of}`, async () => {
    assert.match(await failedStart(env), says);
  });
}

Deno.test("a port in use is said in a sentence, and the embedded Postgres does not stay behind", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using folder = await newDataFolder();
  const env = { PORT: String(taken.addr.port), DATA_DIR: folder.path };
  const { code, stdout, stderr } = await runTask("start", { env });
  assert.equal(code, 1, stdout + stderr);
  assert.match(stderr, /port is in use\. Set another PORT/);
  assert.doesNotMatch(stderr, /\bat .*\.ts:\d+|"stack"/, "a stack trace");
  assert.equal(await folder.hasPostgres(), false, "Postgres is still running");
});

Deno.test("a database that cannot be reached ends the start, and its password is not printed", async () => {
  // A port that is handed out to nobody meanwhile.
  const env = {
    DATABASE_URL: "postgres://alice:correct-horse@127.0.0.1:1/slotkeeper",
    AUTH_JWT_SECRET: testSecret,
  };
  const { code, stdout, stderr } = await runTask("serve", { env });
  assert.equal(code, 1);
  assert.match(stderr, /database/);
  assert.match(stderr, /ECONNREFUSED/);
  assert.doesNotMatch(stdout + stderr, /correct-horse/);
});

Deno.test("a DATABASE_URL that is no URL is refused by name, and its password is not printed", async () => {
  // Whoever forgets to escape a password makes such a URL.
  const DATABASE_URL = "postgres://alice:correct#horse@127.0.0.1/slotkeeper";
  const { code, stdout, stderr } = await runTask("serve", { env: { DATABASE_URL, AUTH_JWT_SECRET: testSecret } });
  assert.equal(code, 1);
  assert.match(stderr, /DATABASE_URL: /);
  assert.doesNotMatch(stdout + stderr, /horse/);
});
