/** Faults of a server's environment. Each is one sentence that begins with the variable. */
import assert from "node:assert/strict";
import { join } from "node:path";
import postgres from "postgres";
import { checkDatabase } from "../../src/boot/check_database.ts";
import { checkServices } from "../../src/boot/check_services.ts";
import { assertFitsPostgres, explainFolder, makeDataFolder } from "../../src/boot/data_folder.ts";
import { assertCanListen, listenFault } from "../../src/boot/listening.ts";
import { migrate } from "../../src/boot/migrate.ts";
import { readOrMakeSecret } from "../../src/boot/secret_file.ts";
import { ConfigError, parseConfig } from "../../src/config.ts";
import { createLog } from "../../src/log.ts";
import { newDatabase } from "../support/database.ts";
import { freePort } from "../support/process.ts";

/** Fails unless `use` throws a configuration error with this text. */
async function refuses(use: () => unknown, expected: RegExp): Promise<void> {
  await assert.rejects(async () => await use(), (failure) => {
    assert(failure instanceof ConfigError, String(failure));
    assert.match(failure.message, expected);
    return true;
  });
}

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_environment_" });
  try {
    await use(folder);
  } finally {
    await Deno.chmod(folder, 0o700);
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("listen: port in use, foreign address, unknown host -> the variable and another choice", async () => {
  using occupied = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = occupied.addr;
  const inUse = new RegExp(
    `^PORT: another program listens on port ${port} of 127.0.0.1\\. .*PORT=0 takes a free one\\.$`,
  );
  await refuses(() => assertCanListen({ host: "127.0.0.1", port }), inUse);
  // TEST-NET-1 belongs to no machine.
  await refuses(() => assertCanListen({ host: "192.0.2.1", port: 0 }), /^HOST: 192\.0\.2\.1 is not an address of this/);
  for (const host of ["nowhere.invalid", "127.0.0.1:80", "no name"]) {
    await refuses(() => assertCanListen({ host, port: 0 }), new RegExp(`^HOST: ${host} has no address\\.`));
  }
  const low = listenFault(new Deno.errors.PermissionDenied(), { host: "127.0.0.1", port: 80 });
  assert.match(low?.message ?? "", /^PORT: this user may not listen on port 80\. Choose one from 1024/);
  assertCanListen({ host: "127.0.0.1", port: 0 });
  assert.equal(listenFault(new Error("other"), { host: "127.0.0.1", port: 80 }), undefined);
});

Deno.test("DATA_DIR: file, below a file, place of the system, name too long -> the reason", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "file");
    await Deno.writeTextFile(file, "");
    for (const path of [file, join(file, "below"), join(file, "far", "below")]) {
      await refuses(
        () => makeDataFolder(path),
        new RegExp(`^DATA_DIR: ${file} is not a folder\\. Choose another folder\\.$`),
      );
    }
    await Deno.symlink(join(folder, "gone"), join(folder, "link"));
    await refuses(() => makeDataFolder(join(folder, "link")), /^DATA_DIR: .+link is not a folder/);
    await refuses(() => makeDataFolder(join(folder, "x".repeat(300))), /^DATA_DIR: .*name too long/);
    await makeDataFolder(join(folder, "new", "folder"));
    await assertFitsPostgres(join(folder, "new", "folder"));
    assert.deepEqual([...Deno.readDirSync(join(folder, "new", "folder"))], []);
  });
});

Deno.test("DATA_DIR: failures of the system -> one sentence with the way out", async () => {
  const failures: [failure: Error, expected: RegExp][] = [
    [
      new Deno.errors.NotCapable("Requires all access"),
      /^DATA_DIR: \/d is a place of the system, which Deno protects\./,
    ],
    [
      fault("EACCES", "Permission denied (os error 13): open '/proc/self/lock'"),
      /^DATA_DIR: this user \(\d+\) may not use \/proc\/self\/lock\. Start as the user that owns it \(\d+\)/,
    ],
    [fault("EPERM", "Operation not permitted"), /^DATA_DIR: this user \(\d+\) may not use \/d\./],
    [
      fault("ENOSPC", "No space left on device"),
      /^DATA_DIR: the disk of \/d is full\. Free some space, or choose another folder\.$/,
    ],
    [fault("EDQUOT", "Disk quota exceeded"), /^DATA_DIR: the disk of \/d is full\./],
    [fault("EROFS", "Read-only file system"), /^DATA_DIR: \/d is on a disk that is read-only\./],
    [fault("EIO", "Input/output error"), /^DATA_DIR: \/d cannot be used: Input\/output error\./],
  ];
  for (const [failure, expected] of failures) {
    await refuses(() => explainFolder("/d", () => Promise.reject(failure)), expected);
  }
  const other = new RangeError("a fault of the program");
  await assert.rejects(explainFolder("/d", () => Promise.reject(other)), (failure) => failure === other);
});

const fault = (code: string, message: string): Error => Object.assign(new Error(message), { code });

Deno.test("secret file: empty, cut, or a folder -> refused, never used", async () => {
  await inFolder(async (folder) => {
    const file = join(folder, "secret");
    for (const text of ["", "\n", "0123456789abcdef"]) {
      await Deno.writeTextFile(file, text);
      await refuses(() => readOrMakeSecret(file), /^DATA_DIR: .+secret is empty or damaged\. Restore the file/);
    }
    await refuses(() => explainFolder(folder, () => readOrMakeSecret(folder)), /^DATA_DIR: .+ cannot be used/);
  });
});

Deno.test("DATABASE_URL: wrong password, user, database, port, host or option -> the reason and what to correct", async () => {
  await using database = await newDatabase({ migrated: false });
  const changed = (change: (url: URL) => void) => {
    const url = new URL(database.url);
    change(url);
    return url.href;
  };
  const { port } = new URL(database.url);
  await checkDatabase(database.url);
  const cases: [change: (url: URL) => void, expected: RegExp][] = [
    [
      (url) => url.password = "wrong",
      /^DATABASE_URL: Postgres at 127\.0\.0\.1:\d+ refused the user slotkeeper \(password/,
    ],
    [(url) => url.username = "bob", /refused the user bob \(password authentication failed/],
    [(url) => url.pathname = "/nowhere", /has no database nowhere\. Create it \(createdb\), or correct its name\.$/],
    [(url) => url.port = "1", /^DATABASE_URL: Postgres at 127\.0\.0\.1:1 cannot be reached \(connect ECONNREFUSED/],
    [(url) => url.hostname = "db.invalid", /^DATABASE_URL: the host db\.invalid cannot be found/],
    [(url) => url.search = "?sslmode=require", new RegExp(`^DATABASE_URL: 127.0.0.1:${port} ended the connection`)],
    [(url) => url.search = "?frobnicate=1", /^DATABASE_URL: Postgres does not know an option in the URL/],
  ];
  for (const [change, expected] of cases) {
    await refuses(() => checkDatabase(changed(change)), expected);
  }
});

Deno.test("DATABASE_URL: role without rights, database that is not UTF-8 -> the right that is missing, before a change", async () => {
  await using database = await newDatabase({ migrated: false });
  const name = new URL(database.url).pathname.slice(1);
  const role = `app_${name}`;
  const admin = postgres(database.url, { max: 1, onnotice: () => {} });
  const asRole = new URL(database.url);
  [asRole.username, asRole.password] = [role, "secret"];
  const latin = new URL(database.url);
  latin.pathname = `/${name}_latin`;
  try {
    await admin.unsafe(`create role ${role} login password 'secret'; revoke create on database ${name} from public`);
    await refuses(
      () => checkDatabase(asRole.href),
      /^DATABASE_URL: the role .+ may not create schemas\..*grant create on/,
    );
    await admin.unsafe(`grant create on database ${name} to ${role}`);
    await refuses(
      () => checkDatabase(asRole.href),
      /may not create tables in the schema "public"\..*grant usage, create/,
    );
    await admin.unsafe(`grant create on schema public to ${role}`);
    await checkDatabase(asRole.href);
    await migrate(asRole.href);
    await admin.unsafe(`create database ${name}_latin encoding 'LATIN1' locale 'C' template template0`);
    await refuses(
      () => checkDatabase(latin.href),
      /has the encoding LATIN1\. Create it with: createdb --encoding UTF8/,
    );
    // A database that another role has migrated.
    await admin.unsafe(`revoke create on schema public from ${role}; alter table kysely_migration owner to slotkeeper`);
    await checkDatabase(asRole.href);
    await admin.unsafe(`delete from kysely_migration where name = (select max(name) from kysely_migration)`);
    await assert.rejects(
      migrate(asRole.href),
      /^ConfigError: DATABASE_URL: the role lacks a right \(permission denied/,
    );
  } finally {
    await admin.unsafe(`drop database if exists ${name}_latin`);
    await admin.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
    await admin.end();
  }
});

Deno.test("AUTH_JWKS_URL: no keys at the address -> refused; issuer down -> a warning", async () => {
  const answers: Record<string, () => Response> = {
    "/keys": () => Response.json({ keys: [] }),
    "/page": () => new Response("<html>"),
    "/other": () => Response.json({ issuer: "x" }),
    "/moved": () => Response.redirect("http://127.0.0.1/keys"),
    "/down": () => new Response("", { status: 503 }),
  };
  await using issuer = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, ({ url }) => {
    return answers[new URL(url).pathname]?.() ?? new Response("", { status: 404 });
  });
  const base = `http://127.0.0.1:${issuer.addr.port}`;
  const lines: string[] = [];
  const log = createLog("info", (line) => lines.push(line));
  const check = (url: string) => checkServices(parseConfig({ AUTH_JWKS_URL: url }), log);
  await check(`${base}/keys`);
  assert.deepEqual(lines, []);
  for (
    const [path, why] of [["/page", "something else"], ["/other", "something else"], ["/moved", "the status 302"], [
      "/none",
      "the status 404",
    ]]
  ) {
    await refuses(() => check(base + path), new RegExp(`^AUTH_JWKS_URL: ${base}${path} answers with ${why}`));
  }
  await check(`${base}/down`);
  await check(`http://127.0.0.1:${freePort()}/keys`);
  assert.deepEqual(lines.map((line) => JSON.parse(line).level), ["warn", "warn"]);
  assert.match(lines[1] ?? "", /Connection refused/);
});
