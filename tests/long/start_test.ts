/** The sandbox: `deno task start` with nothing configured, and what it keeps when it stops, is killed and starts again. */
import assert from "node:assert/strict";
import postgres from "postgres";
import { type Booking, BookingCreated } from "../../generated/contract.ts";
import { type Call, type OperationId, send } from "../support/server.ts";
import {
  type DataFolder,
  eventually,
  isListening,
  newDataFolder,
  runTask,
  type ServerProcess,
  startServerProcess,
  startTask,
} from "../support/process.ts";

/** A sandbox and what it printed for whoever started it. */
interface Sandbox extends ServerProcess {
  userToken: string;
  adminToken: string;
  /** The line that makes a booking. */
  curl: string;
}

async function startSandbox({ path }: DataFolder): Promise<Sandbox> {
  const server = await startServerProcess("start", { DATA_DIR: path });
  const printed = (pattern: RegExp) => pattern.exec(server.stdout())?.[1] ?? "";
  return {
    ...server,
    userToken: printed(/^User token: +(\S+)$/m),
    adminToken: printed(/^Admin token: +(\S+)$/m),
    curl: printed(/^(curl .+)$/m),
  };
}

async function ask(
  { url }: ServerProcess,
  id: OperationId,
  call: Call = {},
): Promise<{ status: number; body: unknown }> {
  const { status, text } = await send(url, id, call);
  return { status, body: JSON.parse(text) };
}

async function ok(server: ServerProcess, id: OperationId, call: Call = {}): Promise<Record<string, unknown>> {
  const { status, body } = await ask(server, id, call);
  assert(status < 400, `${id} answered ${status}: ${JSON.stringify(body)}`);
  return body as Record<string, unknown>;
}

/** Runs the printed line in a shell, as somebody would who pasted it. */
async function book({ curl }: Sandbox): Promise<Booking> {
  const shell = new Deno.Command("sh", { args: ["-c", curl], stdin: "null", stdout: "piped", stderr: "piped" });
  const { code, stdout } = await shell.output();
  const answer = new TextDecoder().decode(stdout);
  assert.equal(code, 0, curl);
  const { success, data } = BookingCreated.safeParse(JSON.parse(answer));
  assert(success, `${curl}\nanswered ${answer}`);
  return data.booking;
}

Deno.test("a first start prints where the docs are, a token for each role, and a line that books", async () => {
  await using folder = await newDataFolder();
  await using sandbox = await startSandbox(folder);
  assert(sandbox.stdout().includes(`${sandbox.url}/docs`));
  assert.equal((await fetch(`${sandbox.url}/docs`).then((page) => page.text())).includes(sandbox.userToken), true);

  const roles = await Promise.all(
    [sandbox.userToken, sandbox.adminToken].map((token) => ok(sandbox, "getMe", { token })),
  );
  assert.deepEqual(roles.map(({ role }) => role), ["user", "admin"]);
  const refused = await ask(sandbox, "listAllBookings", { token: sandbox.userToken });
  assert.equal(refused.status, 403);

  const booking = await book(sandbox);
  await sandbox.until(/"method":"POST","route":"\/api\/v1\/bookings","status":201/);
  const { items } = await ok(sandbox, "listAllBookings", { token: sandbox.adminToken });
  assert.deepEqual((items as Booking[]).map(({ id }) => id), [booking.id]);
});

Deno.test("a first start makes demo rooms in several time zones, free on each of the next fourteen days", async () => {
  const now = Temporal.Now.instant();
  await using folder = await newDataFolder();
  await using sandbox = await startSandbox(folder);
  const { items } = await ok(sandbox, "listRooms");
  const rooms = items as { id: number; name: string; timeZone: string }[];
  assert(new Set(rooms.map(({ timeZone }) => timeZone)).size >= 2);
  for (const { id: roomId, name, timeZone } of rooms) {
    const today = now.toZonedDateTimeISO(timeZone).toPlainDate();
    const days = Array.from({ length: 14 }, (_, day) => today.add({ days: day + 1 }).toString());
    const answers = await Promise.all(
      days.map((date) => ok(sandbox, "listFreeTimeslots", { params: { roomId }, query: { date } })),
    );
    const without = days.filter((_, day) => (answers[day]?.timeslots as unknown[]).length === 0);
    assert.deepEqual(without, [], `${name} has days without a timeslot`);
  }
});

Deno.test("a second start on the same folder keeps bookings and tokens, and makes no second demo", async () => {
  await using folder = await newDataFolder();
  const rooms = async (sandbox: Sandbox) => (await ok(sandbox, "listRooms")).items;

  await using first = await startSandbox(folder);
  const booking = await book(first);
  const roomsBefore = await rooms(first);
  first.signal("SIGTERM");
  assert.equal((await first.end()).code, 0);

  await using second = await startSandbox(folder);
  assert.deepEqual(await rooms(second), roomsBefore);
  const call = { token: first.userToken, params: { bookingId: booking.id } };
  assert.deepEqual(await ok(second, "getBooking", call), booking);
  assert.notEqual((await book(second)).timeslotId, booking.timeslotId);
});

Deno.test("SIGTERM lets a running request finish, takes no new one, ends the embedded Postgres and exits 0", async () => {
  await using folder = await newDataFolder();
  await using sandbox = await startSandbox(folder);
  const databaseUrl = await folder.databaseUrl();
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} });
  try {
    const holder = await sql.reserve();
    await holder`begin`;
    // Nobody but the booking wants it, so it is not a sweep that is seen to wait.
    const timeslotId = Number(/"timeslotId":(\d+)/.exec(sandbox.curl)?.[1]);
    assert.equal((await holder`select from timeslots where id = ${timeslotId} for update`).count, 1);
    const booking = book(sandbox);
    await eventually(async () => (await sql`select from pg_locks where not granted`).length > 0);

    sandbox.signal("SIGTERM");
    await sandbox.until(/"message":"draining"/);
    await eventually(async () => !await isListening(sandbox.url));
    await holder`commit`;
    holder.release();
    assert.equal((await booking).status, "pending");
  } finally {
    await sql.end({ timeout: 1 });
  }
  assert.equal((await sandbox.end()).code, 0);
  assert.equal(await isListening(databaseUrl), false);
});

Deno.test("SIGTERM lets a request finish whose body is still on its way", async () => {
  await using folder = await newDataFolder();
  await using sandbox = await startSandbox(folder);
  const { hostname, port, host } = new URL(sandbox.url);
  const body = /-d '(.+)'$/.exec(sandbox.curl)?.[1] ?? "";
  const head = [
    "POST /api/v1/bookings HTTP/1.1",
    `Host: ${host}`,
    `Authorization: Bearer ${sandbox.userToken}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Expect: 100-continue",
  ];
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const received = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
  const sent = connection.writable.getWriter();
  await sent.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
  // The server says so when it begins to read the body.
  assert.match((await received.read()).value ?? "", /^HTTP\/1.1 100 /);

  sandbox.signal("SIGTERM");
  await sandbox.until(/"message":"draining"/);
  // Whoever comes now is told to go elsewhere.
  const late = await fetch(`${sandbox.url}/readyz`);
  assert.deepEqual([late.status, (await late.json()).code], [503, "service_unavailable"]);
  await sent.write(new TextEncoder().encode(body));
  assert.match((await received.read()).value ?? "", /^HTTP\/1.1 201 /);
  await received.cancel();
  assert.equal((await sandbox.end()).code, 0);
});

Deno.test("SIGTERM during the start ends the embedded Postgres too", async () => {
  await using folder = await newDataFolder();
  await using server = startTask("start", { env: { DATA_DIR: folder.path, PORT: "0" } });
  await eventually(folder.hasPostgres);
  server.signal("SIGTERM");
  await server.end();
  assert.equal(await folder.hasPostgres(), false, "Postgres is still running");
});

Deno.test("a booking acknowledged right before SIGKILL is there after the next start", async () => {
  await using folder = await newDataFolder();
  await using first = await startSandbox(folder);
  const booking = await book(first);
  first.signal("SIGKILL");
  await first.end();

  await using second = await startSandbox(folder);
  const call = { token: first.userToken, params: { bookingId: booking.id } };
  assert.deepEqual(await ok(second, "getBooking", call), booking);
});

Deno.test("a second server on a folder in use is refused with a sentence, and the first goes on", async () => {
  await using folder = await newDataFolder();
  await using first = await startSandbox(folder);
  const { code, stderr } = await runTask("start", { env: { DATA_DIR: folder.path, PORT: "0" } });
  assert.notEqual(code, 0);
  assert(stderr.includes(`${folder.path} is in use by another process`), stderr);
  assert.doesNotMatch(stderr, /\bat .*\.ts:\d+/, "a stack trace");
  assert.deepEqual(await ok(first, "getReadiness"), { status: "ready" });
});
