/** The admin program as a process: one test for each group of commands. `tests/admin` has the others. */
import assert from "node:assert/strict";
import { anonymous, type Ended, lines } from "../support/admin.ts";
import { newBooking, newRoom, newRoomWithTimeslot } from "../support/builders.ts";
import { openOnce } from "../support/open_once.ts";
import { freePort, startTask, type TaskProcess } from "../support/process.ts";
import { startServer, type TestServer } from "../support/server.ts";

let server: TestServer;
const openServer = openOnce(startServer);

async function start(args: string, url = server.url): Promise<TaskProcess> {
  const env = { SLOTKEEPER_URL: url, SLOTKEEPER_TOKEN: await server.token("admin", "admin") };
  return startTask("admin", { args: args.split(" "), env });
}

async function run(args: string, url?: string): Promise<Ended> {
  await using running = await start(args, url);
  return anonymous(await running.end());
}

/** Presses Ctrl-C. The terminal sends the signal to the program and to `deno task`, which forwards it. */
function interrupt(running: TaskProcess): void {
  running.signal("SIGINT");
  running.signal("SIGINT");
}

Deno.test("admin rooms: as a process -> room as JSON with 0, and 3 if no server listens", async () => {
  server = await openServer();
  const created = await run("rooms create --name Attic --type office --json");
  assert.deepEqual({ code: created.code, stderr: created.stderr }, { code: 0, stderr: "" });
  const room = JSON.parse(created.stdout);
  assert.deepEqual(room, await server.ok("getRoom", { params: { roomId: room.id } }));
  const url = `http://127.0.0.1:${freePort()}`;
  const stderr = lines(
    `Cannot reach ${url} (SLOTKEEPER_URL): Connection refused. Check this address, and that the server runs.`,
  );
  assert.deepEqual(await run("rooms list", `${url}/`), { code: 3, stdout: "", stderr });
});

Deno.test("admin timeslots generate: Ctrl-C as a signal -> 130 and a hint to continue", async () => {
  server = await openServer();
  const { id } = await newRoom(server);
  const requested = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Response>();
  await using slow = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, () => {
    requested.resolve();
    return answer.promise;
  });
  const command = `timeslots generate --room ${id} --from 2027-01-01 --to 2027-12-31`;
  await using running = await start(command, `http://127.0.0.1:${slow.addr.port}`);
  await requested.promise;
  interrupt(running);
  assert.deepEqual(await running.end(), {
    code: 130,
    stdout: "",
    stderr: lines(
      "Interrupted in 2027-01.",
      "0 of 12 months done: 0 timeslots made, 0 skipped. 2027-01 may be done too.",
      "Run the same command again to continue: it skips existing timeslots.",
    ),
  });
  answer.resolve(new Response());
});

Deno.test("admin bookings: as a process without a terminal -> 2 without --yes, 0 with it", async () => {
  server = await openServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id } = await newBooking(server, "alice", timeslot);
  const refusal = "There is no terminal to ask on: give --yes. See deno task admin bookings cancel --help";
  assert.deepEqual(await run(`bookings cancel ${id}`), { code: 2, stdout: "", stderr: lines(refusal) });
  const stdout = lines(`Booking ${id} is cancelled: Test room, 2026-03-09 09:00 UTC.`);
  assert.deepEqual(await run(`bookings cancel ${id} --yes`), { code: 0, stdout, stderr: "" });
});

Deno.test("admin stats: as a process -> the answer of the server as JSON", async () => {
  server = await openServer();
  const token = await server.token("admin", "admin");
  const stats = await server.ok("getBookingStats", { token });
  const { code, stdout, stderr } = await run("stats --json");
  assert.deepEqual({ code, stdout: JSON.parse(stdout), stderr }, { code: 0, stdout: stats, stderr: "" });
});

Deno.test("admin events tail: as a process until Ctrl-C -> events printed at once, then the cursor and 130", async () => {
  server = await openServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  // Until the feed has the events of earlier tests, they would follow `latest`.
  await server.settled();
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  await newBooking(server, "alice", timeslot);
  await using running = await start(`events tail --after ${cursor} --json`);
  const [json] = await running.until(/^\{.+\}\n/);
  interrupt(running);
  const { code, stdout, stderr } = await running.end();
  assert.deepEqual({ code, stdout }, { code: 130, stdout: json });
  assert.equal(stderr, lines("Connecting.", "Live.", `Resume with --after ${JSON.parse(json).cursor}`));
});

Deno.test("admin keys: as a process -> key that the server accepts, and 1 for an unknown scope", async () => {
  server = await openServer();
  await using running = await start("keys create --name Doors --scopes bookings:read");
  const { code, stdout, stderr } = await running.end();
  assert.deepEqual({ code, stderr }, { code: 0, stderr: lines("Store the key now: it is not shown again.") });
  const [, token] = /^ {2}(slk_\S+)$/m.exec(stdout) ?? [];
  assert(token);
  assert.deepEqual((await server.ok("getMe", { token })).scopes, ["bookings:read"]);
  const unknown = await run("keys create --name Doors --scopes doors:open");
  assert.deepEqual({ code: unknown.code, stdout: unknown.stdout }, { code: 1, stdout: "" });
});
