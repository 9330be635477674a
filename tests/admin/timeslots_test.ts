/** `deno task admin timeslots`. */
import assert from "node:assert/strict";
import { admin, adminJson, anonymous, lines, startAdmin } from "../support/admin.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

async function slotCounts(server: TestServer, roomId: number): Promise<{ all: number; starts: number }> {
  const rows = await server.db.selectFrom("timeslots").select("starts_at").where("room_id", "=", roomId).execute();
  return { all: rows.length, starts: new Set(rows.map(({ starts_at }) => starts_at)).size };
}

Deno.test("admin timeslots generate: all options -> timeslots by month, existing ones skipped", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "Europe/Berlin" });
  await newTimeslots(server, room, { date: "2027-03-01" });
  const rules =
    "--duration 60 --start 08:00 --end 16:00 --days 1,2 --days 3 --break 12:00-13:00,14:00-14:30 --break 08:00-09:00";
  const command =
    `timeslots generate --room ${room.id} --from 2027-02-24 --to 2027-04-06 --exclude 2027-03-10,2027-04-05 ${rules}`;
  assert.deepEqual(await admin(server, command), {
    code: 0,
    stdout: lines("75 timeslots made, 5 skipped because they overlap others or do not fit."),
    stderr: lines(
      "2027-02: 5 made, 0 skipped (1 of 3)",
      "2027-03: 65 made, 5 skipped (2 of 3)",
      "2027-04: 5 made, 0 skipped (3 of 3)",
    ),
  });
  const free = { params: { roomId: room.id }, query: { date: "2027-03-30" } };
  const { timeslots } = await server.ok("listFreeTimeslots", free);
  const starts = timeslots.map(({ startTime }) => startTime.slice(11, 16));
  assert.deepEqual(starts, ["07:00", "08:00", "09:00", "11:00", "12:30"]);
  assert.deepEqual(await adminJson(server, command), {
    roomId: room.id,
    from: "2027-02-24",
    to: "2027-04-06",
    complete: true,
    made: 0,
    skipped: 80,
    months: [
      { month: "2027-02", made: 0, skipped: 5 },
      { month: "2027-03", made: 0, skipped: 70 },
      { month: "2027-04", made: 0, skipped: 5 },
    ],
  });
});

/** Forwards requests to a server. The third request for timeslots is held until its release. */
function holdingThird(to: string): AsyncDisposable & { url: string; held: Promise<void>; release(): Promise<void> } {
  const held = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  let count = 0;
  const proxy = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname, search } = new URL(request.url);
    const { method, headers } = request;
    const body = method === "GET" ? null : await request.arrayBuffer();
    const isThird = pathname.endsWith("/generate") && ++count === 3;
    if (isThird) {
      held.resolve();
      await released.promise;
    }
    const response = await fetch(`${to}${pathname}${search}`, { method, headers, body });
    const answer = new Response(await response.arrayBuffer(), { status: response.status, headers: response.headers });
    if (isThird) arrived.resolve();
    return answer;
  });
  return {
    url: `http://127.0.0.1:${proxy.addr.port}`,
    held: held.promise,
    release() {
      released.resolve();
      return arrived.promise;
    },
    [Symbol.asyncDispose]: () => proxy.shutdown(),
  };
}

Deno.test("admin timeslots generate: Ctrl-C, then the same command -> 130 and a hint, then each timeslot exists once", async () => {
  await using server = await sharedServer();
  const { id } = await newRoom(server);
  await using proxy = holdingThird(server.url);
  const command = `timeslots generate --room ${id} --from 2027-01-01 --to 2027-12-31 --duration 60`;
  await using running = await startAdmin(server, command, { url: proxy.url });
  await proxy.held;
  running.interrupt();
  assert.deepEqual(anonymous(await running.end()), {
    code: 130,
    stdout: "",
    stderr: lines(
      "2027-01: 248 made, 0 skipped (1 of 12)",
      "2027-02: 224 made, 0 skipped (2 of 12)",
      "Interrupted in 2027-03.",
      "2 of 12 months done: 472 timeslots made, 0 skipped. 2027-03 may be done too.",
      "Run the same command again to continue: it skips existing timeslots.",
    ),
  });
  // The server finishes the interrupted request.
  await proxy.release();
  assert.deepEqual(await slotCounts(server, id), { all: 472 + 248, starts: 720 });

  const again = await adminJson(server, command) as { made: number; skipped: number };
  assert.deepEqual({ made: again.made, skipped: again.skipped }, { made: 365 * 8 - 720, skipped: 720 });
  assert.deepEqual(await slotCounts(server, id), { all: 365 * 8, starts: 365 * 8 });
});

Deno.test("admin timeslots generate: unknown room -> 1, the problem and no hint to repeat", async () => {
  await using server = await sharedServer();
  assert.deepEqual(await admin(server, "timeslots generate --room 99999 --from 2027-01-31 --to 2027-02-01"), {
    code: 1,
    stdout: "",
    stderr: lines(
      "Ended in 2027-01.",
      "Refused: Room does not exist (unknown_room)",
      "There is no room 99999.",
      "Request REQUEST",
    ),
  });
});
