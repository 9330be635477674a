/** `deno task admin bookings`. */
import assert from "node:assert/strict";
import type { Timeslot } from "../../generated/contract.ts";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** Hourly timeslots of a room in Berlin from 09:00, at 60.00 EUR. Summer time begins on their day. */
async function newBerlinTimeslots(server: TestServer): Promise<[Timeslot, Timeslot, Timeslot]> {
  const room = await newRoom(server, { name: "Spree", timeZone: "Europe/Berlin" });
  const [first, second, third] = await newTimeslots(server, room, { date: "2026-03-29" });
  assert(first && second && third);
  return [first, second, third];
}

/** Pending bookings of these timeslots, by id. */
async function newBerlinBookings(server: TestServer): Promise<[number, number, number]> {
  const [first, second, third] = await newBerlinTimeslots(server);
  const book = async (slot: Timeslot) => (await newBooking(server, "alice", slot)).id;
  return [await book(first), await book(second), await book(third)];
}

Deno.test("admin bookings list: rooms in two time zones -> newest first, local times, at most --limit", async () => {
  await using server = await startServer();
  const [first, second] = await newBerlinTimeslots(server);
  const room = await newRoom(server, {
    name: "A place in Los Angeles that has a long name",
    timeZone: "America/Los_Angeles",
  });
  const [third] = await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 45 });
  assert(third);
  const token = await server.token("admin", "admin");
  for (const [subject, slot] of [["alice", first], ["bob", second], ["alice", third]] as const) {
    await newBooking(server, subject, slot);
  }
  const { id: alice } = await server.ok("getMe", { token: await server.token("alice") });
  const { id: bob } = await server.ok("getMe", { token: await server.token("bob") });
  const all = await admin(server, "bookings list");
  assert.deepEqual(all, {
    code: 0,
    stdout: lines(
      "id  status   room             user  starts            time zone            price",
      ` 3  pending  A place in Los…     ${alice}  2026-03-09 09:00  America/Los_An…  45.00 EUR`,
      ` 2  pending  Spree               ${bob}  2026-03-29 10:00  Europe/Berlin    60.00 EUR`,
      ` 1  pending  Spree               ${alice}  2026-03-29 09:00  Europe/Berlin    60.00 EUR`,
    ),
    stderr: lines("3 bookings. Times are in the time zone of the room."),
  });
  assertFits(all.stdout);

  const limited = await admin(server, "bookings list --limit 1");
  assert.equal(limited.stdout, lines(...all.stdout.split("\n", 2)));
  const more = "1 booking. Times are in the time zone of the room. There are more: give a higher --limit.";
  assert.equal(limited.stderr, lines(more));

  const { items } = await server.ok("listAllBookings", { token });
  assert.deepEqual(await adminJson(server, "bookings list"), items);
  assert.deepEqual(await adminJson(server, "bookings list --limit 2"), items.slice(0, 2));
  const filters = `bookings list --status pending --room 1 --user ${bob} --from 2026-03-02 --to 2026-03-02T23:59:59Z`;
  assert.deepEqual(await adminJson(server, filters), items.slice(1, 2));
  const none = await admin(server, "bookings list --status no_show");
  assert.deepEqual(none, { code: 0, stdout: "", stderr: lines("0 bookings.") });
});

Deno.test("admin bookings show: booking of a user -> all fields for an admin, JSON for an API key", async () => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const [slot] = await newBerlinTimeslots(server);
  const booking = await newBooking(server, "alice", slot);
  const shown = await admin(server, "bookings show 1");
  assert.deepEqual(shown, {
    code: 0,
    stdout: lines(
      "booking     1",
      "status      pending",
      "room        Spree (1, meeting)",
      "starts      2026-03-29 09:00 +02:00 Europe/Berlin",
      "ends        2026-03-29 10:00 +02:00 Europe/Berlin",
      `user        ${booking.userId}`,
      "price       60.00 EUR",
      "payment     unpaid",
      "paid        0.00 EUR",
      "refunded    0.00 EUR of 0.00 EUR",
      "held until  2026-03-02 11:15 +01:00 Europe/Berlin",
      "created     2026-03-02 11:00 +01:00 Europe/Berlin",
      "updated     2026-03-02 11:00 +01:00 Europe/Berlin",
    ),
    stderr: "",
  });
  const { key } = await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Reader", scopes: ["bookings:read"] },
  });
  assert.deepEqual(await adminJson(server, "bookings show 1", { token: key }), booking);
});

Deno.test("admin bookings confirm, complete, no-show and cancel: several bookings -> each changed, refusals reported", async () => {
  await using server = await sharedServer();
  const [first, second, third] = await newBerlinBookings(server);
  assert.deepEqual(await admin(server, `bookings confirm ${first} ${second} 99999 ${third} ${third}`), {
    code: 1,
    stdout: lines(
      `Booking ${first} is confirmed: Spree, 2026-03-29 09:00 Europe/Berlin.`,
      `Booking ${second} is confirmed: Spree, 2026-03-29 10:00 Europe/Berlin.`,
      `Booking ${third} is confirmed: Spree, 2026-03-29 11:00 Europe/Berlin.`,
    ),
    stderr: lines(
      "Booking 99999 was refused: Booking not found (booking_not_found)",
      "Booking not found: there is no booking 99999.",
      "Request REQUEST",
    ),
  });
  const early = await admin(server, `bookings complete ${first}`);
  assert.equal(early.code, 1);
  assert.match(early.stderr, /^Refused: Invalid status transition \(invalid_status_transition\)\n/);

  server.clock.set("2026-03-29T08:30:00Z");
  const completed = lines(`Booking ${first} is completed: Spree, 2026-03-29 09:00 Europe/Berlin.`);
  assert.deepEqual(await admin(server, `bookings complete ${first}`), { code: 0, stdout: completed, stderr: "" });
  const token = await server.token("admin", "admin");
  const missed = await adminJson(server, `bookings no-show ${second}`);
  assert.deepEqual(missed, [await server.ok("getBooking", { token, params: { bookingId: second } })]);

  const refusal = "There is no terminal to ask on: give --yes. See deno task admin bookings cancel --help";
  assert.deepEqual(await admin(server, `bookings cancel ${third}`), { code: 2, stdout: "", stderr: lines(refusal) });
  const stdout = lines(
    `Booking ${third} is cancelled: Spree, 2026-03-29 11:00 Europe/Berlin. 60.00 EUR is refunded.`,
  );
  assert.deepEqual(await admin(server, `bookings cancel ${third} --yes`), { code: 0, stdout, stderr: "" });

  const again = await admin(server, `bookings cancel ${first} ${third} --yes --json`);
  assert.deepEqual({ code: again.code, json: JSON.parse(again.stdout) }, { code: 1, json: [] });
  const problems = again.stderr.trimEnd().split("\n").map((line) => JSON.parse(line).code);
  assert.deepEqual(problems, ["invalid_status_transition", "invalid_status_transition"]);
});

Deno.test("admin bookings confirm: reader closes standard output -> every booking is confirmed", async () => {
  await using server = await sharedServer();
  server.clock.set("2026-03-02T10:00:00Z");
  const bookingIds = await newBerlinBookings(server);
  assert.equal((await admin(server, `bookings confirm ${bookingIds.join(" ")}`, { closeAfter: 1 })).code, 0);
  const token = await server.token("admin", "admin");
  for (const bookingId of bookingIds) {
    assert.equal((await server.ok("getBooking", { token, params: { bookingId } })).status, "confirmed");
  }
});
