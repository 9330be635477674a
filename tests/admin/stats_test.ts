/** `deno task admin stats`. */
import assert from "node:assert/strict";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer } from "../support/server.ts";

Deno.test("admin stats: bookings of two rooms -> bars by status, day and room, with revenue and occupancy", async () => {
  await using server = await startServer();
  const spree = await newRoom(server, { name: "Spree" });
  const havel = await newRoom(server, { name: "Havel", currency: "JPY", hourlyRate: 900 });
  // Eight and four timeslots on the second day of the range. The bookings are created on the first day.
  const [first, second, third] = await newTimeslots(server, spree, { date: "2026-03-03" });
  const [other] = await newTimeslots(server, havel, { date: "2026-03-03", workingHours: { end: "13:00" } });
  assert(first && second && third && other);
  const token = await server.token("admin", "admin");
  for (const slot of [first, second, third, other]) {
    const booking = await newBooking(server, "alice", slot);
    if (slot !== third) await confirm(server, booking);
  }
  const params = { bookingId: 2 };
  await server.ok("updateBookingStatus", { token, params, body: { status: "cancelled" } });

  const shown = await admin(server, "stats --from 2026-03-02 --to 2026-03-03");
  assert.deepEqual(shown, {
    code: 0,
    stdout: lines(
      "days               2026-03-02 to 2026-03-03",
      "room               all",
      "bookings made      4",
      "revenue            60.00 EUR, 900 JPY",
      "occupancy          25.0 %, 180 of 720 minutes",
      "cancellation rate  25.0 %",
      "no-show rate       -",
      "",
      "status                                   bookings",
      "pending    ██████████████                       1",
      "confirmed  ████████████████████████████         2",
      "cancelled  ██████████████                       1",
      "completed                                       0",
      "no_show                                         0",
      "",
      "day                                       bookings  occupancy",
      "2026-03-02  ████████████████████████████         4",
      "2026-03-03                                       0     25.0 %",
      "",
      "room                                 bookings  occupancy",
      "Havel  █████████▍                           1     25.0 %",
      "Spree  ████████████████████████████         3     25.0 %",
    ),
    stderr: "",
  });
  assertFits(shown.stdout);

  const query = { fromDate: "2026-01-01", toDate: "2026-03-31", roomId: havel.id };
  const months = await admin(server, `stats --from 2026-01-01 --to 2026-03-31 --room ${havel.id}`);
  const byMonth = [
    "month                                  bookings  occupancy",
    "2026-01                                       0",
    "2026-02                                       0",
    "2026-03  ████████████████████████████         1     25.0 %",
  ];
  assert(months.stdout.includes(`\n\n${lines(...byMonth)}\n`), months.stdout);
  assert.deepEqual(
    await adminJson(server, `stats --from 2026-01-01 --to 2026-03-31 --room ${havel.id}`),
    await server.ok("getBookingStats", { token, query }),
  );

  const tooLong = await admin(server, "stats --from 2020-01-01 --to 2026-12-31");
  assert.doesNotMatch(tooLong.stdout, /^(day|days|month) /m);
  assert.match(tooLong.stderr, /at most 366/);
  const refused = await admin(server, "stats --from 2026-03-03 --to 2026-03-02");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^Refused: .+ \(invalid_date_range\)$/m);
  for (const time of ["yesterday", "2026-02-30", "2026-03-01T25:00"]) {
    const mistyped = await admin(server, `stats --from ${time}`);
    assert.equal(mistyped.code, 2);
    assert.match(mistyped.stderr, /^Option '--from <time>' argument '.+' is invalid: must be a date such as /);
  }
});
