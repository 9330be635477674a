/** A server that cannot start prints every reason in sentences and ends with 1. */
import assert from "node:assert/strict";
import { startEmbeddedPostgres } from "../../src/boot/embedded.ts";
import { version } from "../../src/version.ts";
import { nowhere } from "../support/database.ts";
import { newDataFolder, runTask } from "../support/process.ts";
import { redisTest, startRedis } from "../support/redis.ts";
import { testSecret } from "../support/server.ts";

/** Runs a server that must fail. Returns its standard error. */
async function failedStart(env: Record<string, string>, task: "start" | "serve" = "serve"): Promise<string> {
  const { code, stdout, stderr } = await runTask(task, { env });
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

Deno.test("start: port in use -> one sentence with the port and the way out, nothing is started", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using folder = await newDataFolder();
  const { port } = occupied.addr;
  const stderr = await failedStart({ PORT: String(port), DATA_DIR: folder.path }, "start");
  assert.match(
    stderr,
    new RegExp(`PORT: another program listens on port ${port} of 127.0.0.1\\. Stop it, or choose another`),
  );
  assert.deepEqual([...Deno.readDirSync(folder.path)], [], "something was made before the port was checked");
});

Deno.test("start, token, migrate: DATA_DIR that is a file -> one sentence", async () => {
  await using folder = await newDataFolder();
  const file = `${folder.path}/file`;
  await Deno.writeTextFile(file, "");
  for (const [task, args] of [["start", []], ["token", ["--subject", "alice"]], ["migrate", []]] as const) {
    const { code, stdout, stderr } = await runTask(task, { args: [...args], env: { DATA_DIR: file } });
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
    assert(stderr.endsWith(`DATA_DIR: ${file} is not a folder. Choose another folder.\n`), stderr);
  }
});

Deno.test({
  name: "start, token, migrate: DATA_DIR of another user -> one sentence with both users",
  ignore: Deno.uid() !== 0,
  async fn() {
    const uid = 65_534;
    await using folder = await newDataFolder();
    const cache = await Deno.makeTempDir();
    await Deno.chown(cache, uid, uid);
    try {
      for (const [task, args] of [["start", []], ["token", ["--subject", "alice"]], ["migrate", []]] as const) {
        const env = { DATA_DIR: folder.path, DENO_DIR: cache, HOME: cache };
        const { code, stdout, stderr } = await runTask(task, { args: [...args], env, uid });
        assert.deepEqual({ code, stdout }, { code: 1, stdout: "" }, stderr);
        assert.match(
          stderr,
          /^DATA_DIR: this user \(65534\) may not use .+ Start as the user that owns it \(0\), .+$/m,
        );
        assert.doesNotMatch(stderr, /\bat .*\.ts:\d+|"stack"/, "a stack trace");
      }
    } finally {
      await Deno.remove(cache, { recursive: true });
    }
  },
});

Deno.test("start: Postgres of another version in DATA_DIR -> its reason in one sentence", async () => {
  await using folder = await newDataFolder();
  await (await startEmbeddedPostgres({ directory: folder.path })).stop();
  await Deno.writeTextFile(`${folder.path}/postgres/PG_VERSION`, "15\n");
  const stderr = await failedStart({ DATA_DIR: folder.path }, "start");
  assert.match(stderr, /^DATA_DIR: the Postgres in .+ cannot start: database files are incompatible.+version 15/m);
});

Deno.test("start, serve, migrate: arguments -> 2 and the usage, --help and --version -> 0; nothing is started", async () => {
  await using folder = await newDataFolder();
  const env = { DATA_DIR: folder.path, AUTH_JWT_SECRET: testSecret, DATABASE_URL: "" };
  for (const task of ["start", "serve", "migrate"] as const) {
    for (const argument of ["--port=3000", "now", "-x"]) {
      const { code, stdout, stderr } = await runTask(task, { args: [argument], env });
      assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
      assert(stderr.includes(`Unknown argument '${argument}'. Nothing was started.\nUsage: deno task `), stderr);
    }
    for (const flag of ["--help", "-h"]) {
      const { code, stdout } = await runTask(task, { args: [flag], env });
      assert.equal(code, 0);
      assert.match(stdout, /^Usage: deno task /);
    }
    const { code, stdout } = await runTask(task, { args: ["--version"], env });
    assert.deepEqual({ code, stdout }, { code: 0, stdout: `${version}\n` });
  }
  assert.deepEqual([...Deno.readDirSync(folder.path)], []);
});

redisTest("start: Redis refuses the password or the database -> REDIS_URL named, without the password", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "correct-horse"] });
  const { host } = new URL(redis.url);
  for (
    const [address, reason] of [
      [`redis://:wrong-horse@${host}`, "WRONGPASS"],
      [`redis://${host}`, "it wants a password"],
      [`redis://:correct-horse@${host}/99`, "DB index is out of range"],
    ]
  ) {
    const env = { DATABASE_URL: nowhere, AUTH_JWT_SECRET: testSecret, REDIS_URL: address ?? "" };
    const stderr = await failedStart(env);
    assert.match(stderr, new RegExp(`^REDIS_URL: Redis at ${host} refuses us \\(.*${reason}`, "m"));
    assert.doesNotMatch(stderr, /horse/);
  }
  // A Redis that is down does not keep the server from the start. So the database is checked next.
  await redis.kill();
  const env = { DATABASE_URL: nowhere, AUTH_JWT_SECRET: testSecret, REDIS_URL: `redis://${host}` };
  assert.match(await failedStart(env), /^DATABASE_URL: Postgres at 127\.0\.0\.1:1 cannot be reached/m);
});

Deno.test("start: DATABASE_URL leads to another program -> refused after 10 seconds", async () => {
  await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => new Response());
  const DATABASE_URL = `postgres://alice@127.0.0.1:${other.addr.port}/slotkeeper`;
  const stderr = await failedStart({ DATABASE_URL, AUTH_JWT_SECRET: testSecret });
  assert.match(stderr, /^DATABASE_URL: 127\.0\.0\.1:\d+ gave no answer within 10 seconds\. It is another program/m);
});

Deno.test("start: unreachable database -> its failure without the password", async () => {
  // The system hands out no port below 1024.
  const env = {
    DATABASE_URL: "postgres://alice:correct-horse@127.0.0.1:1/slotkeeper",
    AUTH_JWT_SECRET: testSecret,
  };
  const stderr = await failedStart(env);
  assert.match(stderr, /^DATABASE_URL: Postgres at 127\.0\.0\.1:1 cannot be reached/m);
  assert.match(stderr, /ECONNREFUSED/);
  assert.doesNotMatch(stderr, /correct-horse/);
});

Deno.test("start: malformed DATABASE_URL -> named, without the password", async () => {
  // An unescaped # in a password makes such a URL.
  const DATABASE_URL = "postgres://alice:correct#horse@127.0.0.1/slotkeeper";
  const stderr = await failedStart({ DATABASE_URL, AUTH_JWT_SECRET: testSecret });
  assert.match(stderr, /DATABASE_URL: /);
  assert.doesNotMatch(stderr, /horse/);
});
