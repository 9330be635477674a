/** `deno task admin bookings`. */
import assert from "node:assert/strict";
import type { Timeslot } from "../../generated/contract.ts";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Timeslots of a room in Berlin, on the day of its change to summer time: from 09:00, hourly, at 60.00 EUR. */
async function berlin(server: TestServer): Promise<[Timeslot, Timeslot, Timeslot]> {
  const room = await newRoom(server, { name: "Spree", timeZone: "Europe/Berlin" });
  const [first, second, third] = await newTimeslots(server, room, { date: "2026-03-29" });
  assert(first && second && third);
  return [first, second, third];
}

Deno.test("admin bookings list shows the newest first, in the time of each room, and stops at --limit", async () => {
  await using server = await startServer();
  const [first, second] = await berlin(server);
  const room = await newRoom(server, {
    name: "A place in Los Angeles that has a long name",
    timeZone: "America/Los_Angeles",
  });
  const [there] = await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 45 });
  assert(there);
  const token = await server.token("admin", "admin");
  for (const [subject, slot] of [["alice", first], ["bob", second], ["alice", there]] as const) {
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
    stderr: lines("3 bookings. Times are those where the room is."),
  });
  assertFits(all.stdout);

  const limited = await admin(server, "bookings list --limit 1");
  assert.equal(limited.stdout, all.stdout.split("\n", 2).map((line) => `${line}\n`).join(""));
  const more = "1 booking. Times are those where the room is. There are more: give a higher --limit.";
  assert.equal(limited.stderr, lines(more));

  const { items } = await server.ok("listAllBookings", { token });
  assert.deepEqual(await adminJson(server, "bookings list"), items);
  assert.deepEqual(await adminJson(server, "bookings list --limit 2"), items.slice(0, 2));
  const filters = `bookings list --status pending --room 1 --user ${bob} --from 2026-03-02 --to 2026-03-02T23:59:59Z`;
  assert.deepEqual(await adminJson(server, filters), items.slice(1, 2));
  assert.deepEqual(await admin(server, "bookings list --status no_show"), {
    code: 0,
    stdout: "",
    stderr: lines("0 bookings."),
  });
});

Deno.test("admin bookings show tells all of anybody's booking, to an admin and to an API key", async () => {
  await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const [slot] = await berlin(server);
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
      "made        2026-03-02 11:00 +01:00 Europe/Berlin",
      "changed     2026-03-02 11:00 +01:00 Europe/Berlin",
    ),
    stderr: "",
  });
  const { key } = await server.ok("createApiKey", {
    token: await server.token("admin", "admin"),
    body: { name: "Reader", scopes: ["bookings:read"] },
  });
  assert.deepEqual(await adminJson(server, "bookings show 1", { token: key }), booking);
});

Deno.test("admin bookings confirm, cancel, complete and no-show decide on each booking, and tell which were refused", async () => {
  await using server = await startServer();
  for (const slot of await berlin(server)) await newBooking(server, "alice", slot);

  assert.deepEqual(await admin(server, "bookings confirm 1 2 9 3 3"), {
    code: 1,
    stdout: lines(
      "Booking 1 is confirmed: Spree, 2026-03-29 09:00 Europe/Berlin.",
      "Booking 2 is confirmed: Spree, 2026-03-29 10:00 Europe/Berlin.",
      "Booking 3 is confirmed: Spree, 2026-03-29 11:00 Europe/Berlin.",
    ),
    stderr: lines(
      "Booking 9 was refused: Booking not found (booking_not_found)",
      "Booking not found: there is no booking 9.",
      "Request REQUEST",
    ),
  });
  const early = await admin(server, "bookings complete 1");
  assert.equal(early.code, 1);
  assert.match(early.stderr, /^Refused: Invalid status transition \(invalid_status_transition\)\n/);

  server.clock.set("2026-03-29T08:30:00Z");
  const done = lines("Booking 1 is completed: Spree, 2026-03-29 09:00 Europe/Berlin.");
  assert.deepEqual(await admin(server, "bookings complete 1"), { code: 0, stdout: done, stderr: "" });
  const token = await server.token("admin", "admin");
  const missed = await adminJson(server, "bookings no-show 2");
  assert.deepEqual(missed, [await server.ok("getBooking", { token, params: { bookingId: 2 } })]);

  const unsure = await admin(server, "bookings cancel 3");
  const ask = "There is no terminal to ask on: give --yes. See deno task admin bookings cancel --help";
  assert.deepEqual(unsure, { code: 2, stdout: "", stderr: lines(ask) });
  const back = lines("Booking 3 is cancelled: Spree, 2026-03-29 11:00 Europe/Berlin. 60.00 EUR goes back.");
  assert.deepEqual(await admin(server, "bookings cancel 3 --yes"), { code: 0, stdout: back, stderr: "" });

  const { code, stdout, stderr } = await admin(server, "bookings cancel 1 3 --yes --json");
  assert.deepEqual({ code, json: JSON.parse(stdout) }, { code: 1, json: [] });
  const problems = stderr.trimEnd().split("\n").map((line) => JSON.parse(line).code);
  assert.deepEqual(problems, ["invalid_status_transition", "invalid_status_transition"]);
});
