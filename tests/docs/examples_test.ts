/** The programs in `examples/`, against a server. */
import assert from "node:assert/strict";
import { main as book } from "../../examples/book.ts";
import { main as displayDoor } from "../../examples/door_display.ts";
import { main as importRooms } from "../../examples/import_rooms.ts";
import { missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { root, runProgram } from "./samples.ts";

async function environment(server: TestServer, subject: string, role: "user" | "admin" = "user") {
  return { SLOTKEEPER_URL: server.url, SLOTKEEPER_TOKEN: await server.token(subject, role) };
}

/** Runs an example to its end and returns its exit code and output. */
async function outcomeOf(main: () => Promise<number>): Promise<{ code: number; output: string }> {
  let code = -1;
  const output = await runProgram(async () => {
    code = await main();
  }).ended;
  return { code, output };
}

Deno.test("examples/book: one order twice -> one booking, and the same output", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const env = await environment(server, "alice");
  const run = () => outcomeOf(() => book(["2026-0042", `${room.id}`, `${timeslot.id}`], env));
  const first = await run();
  assert.equal(first.code, 0);
  assert.match(first.output, /^Booking \d+ is pending\.\nPay at http:\S+\/sandbox\/checkout\/\S+\n$/);
  assert.deepEqual(await run(), first);
  const { items } = await server.ok("listBookings", { token: env.SLOTKEEPER_TOKEN });
  assert.deepEqual(items.map(({ notes }) => notes), ["Order 2026-0042"]);
});

Deno.test("examples/book: a taken timeslot, an unknown room -> exit code 1 with alternatives, with the reason", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const [taken, free] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(taken && free);
  await newBooking(server, "bob", taken);
  const env = await environment(server, "alice");
  const refused = await outcomeOf(() => book(["1", `${room.id}`, `${taken.id}`], env));
  assert.equal(refused.code, 1);
  assert(refused.output.includes(`  timeslot ${free.id} at ${free.startTime}\n`), refused.output);
  const unknown = await outcomeOf(() => book(["1", `${missingId}`, `${free.id}`], env));
  assert.equal(unknown.code, 1);
  assert(unknown.output.includes(`${missingId}`), unknown.output);
});

Deno.test("examples/door_display: a booking and its cancellation -> the free times after each", async () => {
  await using server = await startServer();
  const room = await newRoom(server, { name: "Studio" });
  const workingHours = { start: "12:00", end: "14:00" };
  const [noon] = await newTimeslots(server, room, { date: "2026-03-02", workingHours });
  assert(noon);
  const { promise: isFollowed, resolve } = Promise.withResolvers<void>();
  const listen = server.feed.listen.bind(server.feed);
  server.feed.listen = (filter, listener) => {
    resolve();
    return listen(filter, listener);
  };
  const stop = new AbortController();
  const env = await environment(server, "door");
  const display = runProgram(() =>
    displayDoor([`${room.id}`], { env, signal: stop.signal, now: () => server.clock.now() })
  );
  await display.printed(/^Studio: free at 12:00, 13:00\n$/);
  await Promise.race([isFollowed, display.ended]);
  const { id: bookingId } = await newBooking(server, "alice", noon);
  await display.printed(/\nStudio: free at 13:00\n$/);
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  await display.printed(/13:00\nStudio: free at 12:00, 13:00\n$/);
  stop.abort();
  await display.ended;
});

Deno.test("examples/door_display: hour that comes twice -> its offsets", async () => {
  await using server = await startServer({ now: "2026-10-24T22:00:00.000Z" });
  const room = await newRoom(server, { name: "Studio", timeZone: "Europe/Berlin" });
  const workingHours = { start: "01:00", end: "04:00" };
  await newTimeslots(server, room, { date: "2026-10-25", workingHours });
  const stop = new AbortController();
  const env = await environment(server, "door");
  const display = runProgram(() =>
    displayDoor([`${room.id}`], { env, signal: stop.signal, now: () => server.clock.now() })
  );
  await display.printed(/^Studio: free at 01:00, 02:00 \+02:00, 02:00 \+01:00, 03:00\n$/);
  stop.abort();
  await display.ended;
});

Deno.test("examples/import_rooms: rooms.csv twice -> each room once", async () => {
  await using server = await startServer();
  const env = await environment(server, "olga", "admin");
  const file = new URL("examples/rooms.csv", root).pathname;
  const first = await outcomeOf(() => importRooms([file], env));
  assert.equal(first.code, 0, first.output);
  assert.equal(first.output.match(/: created as room \d+$/gm)?.length, 3);
  const second = await outcomeOf(() => importRooms([file], env));
  assert.deepEqual(second, { code: 0, output: "Sky Lounge: exists\nQuiet Corner: exists\nHarbour View: exists\n" });
  const { items } = await server.ok("listRooms");
  assert.deepEqual(items.map(({ name, capacity, hourlyRate, timeZone }) => [name, capacity, hourlyRate, timeZone]), [
    ["Harbour View", 4, 30.5, "America/New_York"],
    ["Quiet Corner", 1, null, "Europe/Berlin"],
    ["Sky Lounge", 8, 45, "Europe/Berlin"],
  ]);
});

Deno.test("examples/import_rooms: token of a user -> one problem, not one for each row", async () => {
  await using server = await startServer();
  const env = await environment(server, "alice");
  const file = new URL("examples/rooms.csv", root).pathname;
  await assert.rejects(importRooms([file], env), { code: "admin_required" });
});

Deno.test("examples: no arguments -> the usage", async () => {
  const { code, output } = await outcomeOf(() => book([], {}));
  assert.equal(code, 2);
  assert.match(output, /^Usage: deno run .*examples\/book\.ts <order> <roomId> <timeslotId>\n$/);
  await assert.rejects(importRooms([], {}), /^Error: Usage: .* <file>$/);
  await assert.rejects(displayDoor([], { env: {} }), /^Error: Usage: .* <roomId>$/);
});

Deno.test("examples/import_rooms: bad rows between good ones -> a message for each bad row, only good rooms exist", async () => {
  await using server = await startServer();
  const env = await environment(server, "olga", "admin");
  const file = await Deno.makeTempFile({ suffix: ".csv" });
  try {
    const rows = [
      "One,office,2,10,UTC",
      "Two,office,many,10,UTC",
      "Three,office,2",
      "Four,garage,2,-1,UTC",
      "Five,office,,,",
    ];
    await Deno.writeTextFile(file, ["name,roomType,capacity,hourlyRate,timeZone", ...rows].join("\n"));
    const { code, output } = await outcomeOf(() => importRooms([file], env));
    assert.equal(code, 1);
    const lines = output.replaceAll(file, "rooms.csv").trimEnd().split("\n");
    assert.deepEqual(lines.slice(1, 3), [
      "rooms.csv:3: capacity is not a number: many",
      "rooms.csv:4: it has 3 cells, not 5",
    ]);
    assert.match(lines[3] ?? "", /^rooms\.csv:5: .*roomType.*; .*hourlyRate/);
    const { items } = await server.ok("listRooms");
    assert.deepEqual(items.map(({ name }) => name), ["Five", "One"]);
  } finally {
    await Deno.remove(file);
  }
});
