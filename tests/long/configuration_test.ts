/** A server that cannot start prints every reason in sentences and ends with 1. */
import assert from "node:assert/strict";
import { newDataFolder, runTask } from "../support/process.ts";
import { testSecret } from "../support/server.ts";

/** Runs a server that must fail. Returns its standard error. */
async function failedStart(env: Record<string, string>): Promise<string> {
  const { code, stdout, stderr } = await runTask("serve", { env: { PORT: "0", ...env } });
  assert.equal(code, 1, stdout + stderr);
  assert.equal(stdout, "");
  assert.doesNotMatch(stderr, /\bat .*\.ts:\d+|"stack"/, "a stack trace");
  return stderr;
}

Deno.test("start: 13 invalid variables -> all are listed, no secret", async () => {
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
  const stderr = await failedStart(faults);
  for (const name of Object.keys(faults)) assert.match(stderr, new RegExp(`^ +${name}: .+$`, "m"));
  assert.match(stderr, /AUTH_JWT_SECRET: .*AUTH_JWKS_URL, not both/);
  assert.doesNotMatch(stderr, /too short/, "a secret was printed");
});

const refusals: { of: string; env: Record<string, string>; expected: RegExp }[] = [
  {
    of: "AUTH_JWT_SECRET and AUTH_JWKS_URL together",
    env: { AUTH_JWT_SECRET: testSecret, AUTH_JWKS_URL: "https://issuer.example/keys" },
    expected: /AUTH_JWT_SECRET: .*AUTH_JWKS_URL, not both/,
  },
  {
    of: "DATABASE_URL without a way to verify tokens",
    env: { DATABASE_URL: "postgres://localhost/slotkeeper" },
    expected: /AUTH_JWT_SECRET: .*AUTH_JWKS_URL/,
  },
];

for (const { of, env, expected } of refusals) {
  Deno.test(`start: ${of} -> refused`, async () => {
    assert.match(await failedStart(env), expected);
  });
}

Deno.test("start: port in use -> one sentence, the embedded Postgres ends", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using folder = await newDataFolder();
  const env = { PORT: String(occupied.addr.port), DATA_DIR: folder.path };
  const { code, stdout, stderr } = await runTask("start", { env });
  assert.equal(code, 1, stdout + stderr);
  assert.match(stderr, /port is in use\. Set another PORT/);
  assert.doesNotMatch(stderr, /\bat .*\.ts:\d+|"stack"/, "a stack trace");
  assert.equal(await folder.hasPostgres(), false, "Postgres is still running");
});

Deno.test("start: unreachable database -> its failure without the password", async () => {
  // The system hands out no port below 1024.
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

Deno.test("start: malformed DATABASE_URL -> named, without the password", async () => {
  // An unescaped # in a password makes such a URL.
  const DATABASE_URL = "postgres://alice:correct#horse@127.0.0.1/slotkeeper";
  const { code, stdout, stderr } = await runTask("serve", { env: { DATABASE_URL, AUTH_JWT_SECRET: testSecret } });
  assert.equal(code, 1);
  assert.match(stderr, /DATABASE_URL: /);
  assert.doesNotMatch(stdout + stderr, /horse/);
});
