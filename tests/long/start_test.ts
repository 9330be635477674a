/** `deno task start` with nothing configured: its first start, its ends, and what a next start finds. */
import assert from "node:assert/strict";
import postgres from "postgres";
import { type Booking, BookingCreated, type Room, type Timeslot } from "../../generated/contract.ts";
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

/** A sandbox and what it printed. */
interface Sandbox extends ServerProcess {
  userToken: string;
  adminToken: string;
  /** The command that makes a booking. */
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

/** Runs the printed command in a shell. */
async function book({ curl }: Sandbox): Promise<Booking> {
  const shell = new Deno.Command("sh", { args: ["-c", curl], stdin: "null", stdout: "piped", stderr: "piped" });
  const { code, stdout } = await shell.output();
  const answer = new TextDecoder().decode(stdout);
  assert.equal(code, 0, curl);
  const { success, data } = BookingCreated.safeParse(JSON.parse(answer));
  assert(success, `${curl}\nanswered ${answer}`);
  return data.booking;
}

Deno.test("start: three starts on one folder -> data survives SIGTERM and SIGKILL", async (t) => {
  await using folder = await newDataFolder();
  let rooms: unknown;
  let booking: Booking;
  let tokens: Pick<Sandbox, "userToken" | "adminToken">;
  {
    const now = Temporal.Now.instant();
    await using sandbox = await startSandbox(folder);
    tokens = sandbox;
    rooms = (await ok(sandbox, "listRooms")).items;

    await t.step("first start -> prints the docs, a token for each role, a command that books", async () => {
      assert(sandbox.stdout().includes(`${sandbox.url}/docs`));
      assert.equal((await fetch(`${sandbox.url}/docs`).then((page) => page.text())).includes(sandbox.userToken), true);
      const roles = await Promise.all(
        [sandbox.userToken, sandbox.adminToken].map((token) => ok(sandbox, "getMe", { token })),
      );
      assert.deepEqual(roles.map(({ role }) => role), ["user", "admin"]);
      const refused = await ask(sandbox, "listAllBookings", { token: sandbox.userToken });
      assert.equal(refused.status, 403);

      booking = await book(sandbox);
      await sandbox.until(/"method":"POST","route":"\/api\/v1\/bookings","status":201/);
      const { items } = await ok(sandbox, "listAllBookings", { token: sandbox.adminToken });
      assert.deepEqual((items as Booking[]).map(({ id }) => id), [booking.id]);
    });

    await t.step(
      "first start -> demo rooms in several time zones, free on each of the next 14 days",
      () => assertFreeDays(sandbox, now),
    );

    await t.step("second server on the folder -> refused in one sentence, the first one serves", async () => {
      const { code, stderr } = await runTask("start", { env: { DATA_DIR: folder.path } });
      assert.notEqual(code, 0);
      assert(stderr.includes(`${folder.path} is in use by another process`), stderr);
      assert.doesNotMatch(stderr, /\bat .*\.ts:\d+/, "a stack trace");
      assert.deepEqual(await ok(sandbox, "getReadiness"), { status: "ready" });
    });

    await t.step("deno task token with the same DATA_DIR -> a token of this server", async () => {
      const args = ["--subject", "alice"];
      const { stdout } = await runTask("token", { args, env: { DATA_DIR: folder.path } });
      assert.equal((await ok(sandbox, "getMe", { token: stdout.trim() })).subject, "alice");
    });

    await t.step(
      "SIGTERM -> running requests finish, new ones are refused, Postgres ends, exit 0",
      () => stopDuringRequests(sandbox, folder),
    );
  }
  {
    await using sandbox = await startSandbox(folder);
    await t.step("second start -> the same rooms, bookings and tokens", async () => {
      assert.deepEqual((await ok(sandbox, "listRooms")).items, rooms);
      const call = { token: tokens.userToken, params: { bookingId: booking.id } };
      assert.deepEqual(await ok(sandbox, "getBooking", call), booking);
      const next = await book(sandbox);
      assert.notEqual(next.timeslotId, booking.timeslotId);
      booking = next;
    });
    sandbox.signal("SIGKILL");
    await sandbox.end();
  }
  await using sandbox = await startSandbox(folder);
  await t.step("start after SIGKILL -> the booking acknowledged right before is there", async () => {
    const call = { token: tokens.userToken, params: { bookingId: booking.id } };
    assert.deepEqual(await ok(sandbox, "getBooking", call), booking);
  });
});

async function assertFreeDays(sandbox: Sandbox, now: Temporal.Instant): Promise<void> {
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
}

/** Stops a server while a booking waits for a lock and the body of another one is still arriving. */
async function stopDuringRequests(sandbox: Sandbox, folder: DataFolder): Promise<void> {
  const databaseUrl = await folder.databaseUrl();
  const token = sandbox.userToken;
  const [lockedSlot, slot] = await freeTimeslots(sandbox);
  assert(lockedSlot && slot);
  const bodyOf = ({ id: timeslotId, roomId }: Timeslot) => JSON.stringify({ roomId, timeslotId });
  const sent = await sendHead(sandbox, bodyOf(slot));
  const sql = postgres(databaseUrl, { max: 2, onnotice: () => {} });
  try {
    const holder = await sql.reserve();
    await holder`begin`;
    // Only the booking locks a timeslot, so no sweep is seen to wait.
    assert.equal((await holder`select from timeslots where id = ${lockedSlot.id} for update`).count, 1);
    const booking = ok(sandbox, "createBooking", { token, body: bodyOf(lockedSlot) });
    await eventually(async () => (await sql`select from pg_locks where not granted`).length > 0);

    sandbox.signal("SIGTERM");
    await sandbox.until(/"message":"draining"/);
    const late = await ask(sandbox, "getReadiness");
    assert.deepEqual([late.status, (late.body as { code: string }).code], [503, "service_unavailable"]);
    assert.match(await sent.finish(), /^HTTP\/1.1 201 /);
    await eventually(async () => !await isListening(sandbox.url));
    await holder`commit`;
    holder.release();
    assert.equal((await booking as { booking: Booking }).booking.timeslotId, lockedSlot.id);
  } finally {
    await sql.end({ timeout: 1 });
  }
  assert.equal((await sandbox.end()).code, 0);
  assert.equal(await isListening(databaseUrl), false);
}

/** Free timeslots of the first room, in three days there. */
async function freeTimeslots(sandbox: Sandbox): Promise<Timeslot[]> {
  const { items: [room] } = await ok(sandbox, "listRooms") as { items: Room[] };
  assert(room);
  const date = Temporal.Now.plainDateISO(room.timeZone).add({ days: 3 }).toString();
  const { timeslots } = await ok(sandbox, "listFreeTimeslots", { params: { roomId: room.id }, query: { date } });
  return timeslots as Timeslot[];
}

/** Sends all of a booking but its body, until the server reads that. */
async function sendHead(sandbox: Sandbox, body: string): Promise<{ finish(): Promise<string> }> {
  const { hostname, port, host } = new URL(sandbox.url);
  const head = [
    "POST /api/v1/bookings HTTP/1.1",
    `Host: ${host}`,
    `Authorization: Bearer ${sandbox.adminToken}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Expect: 100-continue",
  ];
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const received = connection.readable.pipeThrough(new TextDecoderStream()).getReader();
  const sent = connection.writable.getWriter();
  await sent.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
  // The server sends this when it begins to read the body.
  assert.match((await received.read()).value ?? "", /^HTTP\/1.1 100 /);
  return {
    async finish() {
      await sent.write(new TextEncoder().encode(body));
      const { value = "" } = await received.read();
      await received.cancel();
      return value;
    },
  };
}

Deno.test("start: SIGTERM during the start -> Postgres ends", async () => {
  await using folder = await newDataFolder();
  await using server = startTask("start", { env: { DATA_DIR: folder.path } });
  await eventually(folder.hasPostgres);
  server.signal("SIGTERM");
  await server.end();
  assert.equal(await folder.hasPostgres(), false, "Postgres is still running");
});
