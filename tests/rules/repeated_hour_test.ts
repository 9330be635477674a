/**
 * Wall-clock times that come twice or not at all. In Berlin the hour from 02:00 of 2026-10-25 is repeated: it is 00:00Z and
 * 01:00Z. On 2026-03-29 the clocks jump from 02:00 to 03:00 at 01:00Z.
 */
import assert from "node:assert/strict";
import type { Timeslot } from "../../generated/contract.ts";
import { holdTimeslot, sharedWorld } from "../payments/world.ts";
import { admin } from "../support/admin.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

const timeZone = "Europe/Berlin";
const autumn = "2026-10-25";
const spring = "2026-03-29";

/** Timeslots of 30 minutes of a room in Berlin, from 00:00 to 05:00. */
async function newNight(server: TestServer, date: string): Promise<Timeslot[]> {
  const workingHours = { start: "00:00", end: "05:00" };
  return await newTimeslots(server, await newRoom(server, { timeZone }), { date, slotDuration: 30, workingHours });
}

function startingAt(slots: Timeslot[], startTime: string): Timeslot {
  return slots.find((slot) => slot.startTime === startTime) ?? assert.fail(startTime);
}

/** `HH:MM` in UTC. */
const utc = (times: string[]) => times.map((time) => time.slice(11, 16)).sort();

Deno.test("createBooking: timeslot in a repeated hour -> its offsets on the checkout page", async (t) => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox", MAX_PENDING_BOOKINGS: "0" } });
  const night = await newNight(server, autumn);
  const hour = await newTimeslots(server, await newRoom(server, { timeZone }), {
    date: autumn,
    workingHours: { start: "02:00", end: "03:00" },
  });
  const day = "Sunday 25 October 2026 at";
  const cases: [Timeslot | undefined, string][] = [
    [startingAt(night, "2026-10-25T00:30:00.000Z"), `${day} 02:30 +02:00 to 02:00 +01:00 (${timeZone})`],
    [startingAt(night, "2026-10-25T01:30:00.000Z"), `${day} 02:30 +01:00 to 03:00 +01:00 (${timeZone})`],
    [startingAt(night, "2026-10-25T02:00:00.000Z"), `${day} 03:00 to 03:30 (${timeZone})`],
    [hour[0], `${day} 02:00 +02:00 to 02:00 +01:00 (${timeZone})`],
  ];
  const token = await server.token("alice");
  for (const [slot, expected] of cases) {
    await t.step(expected, async () => {
      assert(slot);
      const body = { roomId: slot.roomId, timeslotId: slot.id };
      const { checkoutUrl } = await server.ok("createBooking", { token, body });
      const page = await (await fetch(`${server.url}${new URL(checkoutUrl ?? "").pathname}`)).text();
      assert(page.replaceAll(",", "").includes(expected), page);
    });
  }
});

Deno.test("createBooking: timeslot in a repeated hour -> its offsets at Stripe", async () => {
  const world = await sharedWorld();
  const slot = startingAt(await newNight(world.server, autumn), "2026-10-25T00:30:00.000Z");
  await holdTimeslot(world, slot);
  const sent = world.stripe.requests.filter(({ path }) => path === "/v1/checkout/sessions").at(-1);
  const description = sent?.params["line_items[0][price_data][product_data][description]"] ?? "";
  assert.match(description, /at 02:30 \+02:00 to 02:00 \+01:00 \(Europe\/Berlin\)$/);
});

Deno.test("admin bookings list: bookings in a repeated hour -> their offsets", async () => {
  await using server = await startServer();
  const night = await newNight(server, autumn);
  for (const time of ["00:30", "01:30", "02:00"]) {
    await newBooking(server, "alice", startingAt(night, `2026-10-25T${time}:00.000Z`));
  }
  const { stdout } = await admin(server, "bookings list");
  const starts = [...stdout.matchAll(/2026-10-25 \d\d:\d\d( \+\d\d:\d\d)?/g)].map(([time]) => time);
  assert.deepEqual(starts, ["2026-10-25 03:00", "2026-10-25 02:30 +01:00", "2026-10-25 02:30 +02:00"]);
});

Deno.test("listBookings: local ends in a repeated or skipped hour -> exactly the times within them on the wall clock", async (t) => {
  await using server = await sharedServer({ env: { MAX_PENDING_BOOKINGS: "0" } });
  for (const date of [autumn, spring]) {
    for (const slot of await newNight(server, date)) await newBooking(server, "alice", slot);
  }
  const cases: { query: Record<string, string>; starts: string[] }[] = [
    // Both halves of the repeated hour.
    {
      query: { from_date: `${autumn}T02:00`, to_date: `${autumn}T02:59` },
      starts: ["00:00", "00:30", "01:00", "01:30"],
    },
    {
      query: { from_date: `${autumn}T02:30`, to_date: `${autumn}T02:30` },
      starts: ["00:30", "01:00", "01:30"],
    },
    { query: { from_date: `${autumn}T02:00`, to_date: `${autumn}T02:00` }, starts: ["00:00", "00:30", "01:00"] },
    { query: { from_date: `${autumn}T02:30+01:00`, to_date: `${autumn}T02:30+01:00` }, starts: ["01:30"] },
    { query: { from_date: `${autumn}T03:00`, to_date: `${autumn}T03:00` }, starts: ["02:00"] },
    // 02:30 does not exist. The next time is 03:00, the last one before is 01:59.
    { query: { from_date: `${spring}T02:30`, to_date: `${spring}T03:00` }, starts: ["01:00"] },
    { query: { from_date: `${spring}T01:30`, to_date: `${spring}T02:30` }, starts: ["00:30"] },
    { query: { from_date: `${spring}T02:00`, to_date: `${spring}T02:59` }, starts: [] },
  ];
  for (const { query, starts } of cases) {
    await t.step(JSON.stringify(query), async () => {
      const call = { token: await server.token("alice"), query: { ...query, limit: 100 } };
      const { items } = await server.ok("listBookings", call);
      assert.deepEqual(utc(items.map(({ timeslot }) => timeslot.startTime)), starts);
    });
  }
});

Deno.test("listAllBookings: local toDate in a repeated hour -> bookings of both halves", async () => {
  await using server = await startServer({ env: { DEFAULT_TIME_ZONE: timeZone, MAX_PENDING_BOOKINGS: "0" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-11-09" });
  for (const [index, time] of ["00:10", "01:10", "01:50", "02:10"].entries()) {
    server.clock.set(`2026-10-25T${time}:00.000Z`);
    await newBooking(server, "alice", slots[index] ?? assert.fail());
  }
  const query = { fromDate: `${autumn}T02:00`, toDate: `${autumn}T02:30` };
  const call = { token: await server.token("admin", "admin"), query };
  const { items } = await server.ok("listAllBookings", call);
  assert.deepEqual(utc(items.map(({ createdAt }) => createdAt)), ["00:10", "01:10"]);
  assert.equal((await server.ok("getBookingStats", call)).total, 2);
});

Deno.test("getBookingStats, listAllBookings and listAuditLog: range within the skipped hour -> nothing, no refusal", async () => {
  await using server = await startServer({ env: { DEFAULT_TIME_ZONE: timeZone, MAX_PENDING_BOOKINGS: "0" } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-11-09" });
  for (const [index, time] of ["00:59:59", "01:00:00"].entries()) {
    server.clock.set(`${spring}T${time}.000Z`);
    await newBooking(server, "alice", slots[index] ?? assert.fail());
  }
  const query = { fromDate: `${spring}T02:15`, toDate: `${spring}T02:45` };
  const call = { token: await server.token("admin", "admin"), query };
  assert.equal((await server.ok("getBookingStats", call)).total, 0);
  assert.equal((await server.ok("listAllBookings", call)).total, 0);
  assert.equal((await server.ok("listAuditLog", call)).total, 0);
  const reversed = { ...call, query: { fromDate: query.toDate, toDate: query.fromDate } };
  await server.refused("invalid_date_range", "getBookingStats", reversed);
});

Deno.test("listAvailableRooms: local ends in a repeated or skipped hour -> exactly the timeslots within them", async (t) => {
  await using server = await startServer();
  const nights = [...await newNight(server, autumn), ...await newNight(server, spring)];
  assert.equal(nights.length, 20);
  const cases = [
    { from: `${autumn}T02:00`, to: `${autumn}T03:00`, starts: ["00:00", "00:30", "01:00", "01:30"] },
    { from: `${autumn}T02:00`, to: `${autumn}T02:30`, starts: ["00:00", "00:30", "01:00"] },
    { from: `${autumn}T02:30`, to: `${autumn}T02:30`, starts: ["00:30", "01:00"] },
    { from: `${spring}T01:30`, to: `${spring}T03:00`, starts: ["00:30"] },
    { from: `${spring}T01:30`, to: `${spring}T02:30`, starts: ["00:30"] },
    { from: `${spring}T02:30`, to: `${spring}T04:00`, starts: ["01:00", "01:30"] },
  ];
  for (const { starts, ...query } of cases) {
    await t.step(JSON.stringify(query), async () => {
      const { items } = await server.ok("listAvailableRooms", { query });
      const found = items.flatMap(({ timeslots }) => timeslots.map(({ startTime }) => startTime));
      assert.deepEqual(utc(found), starts);
    });
  }
});

Deno.test("listAvailableRooms: seven calendar days with offsets in the week of a change -> accepted", async (t) => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: timeZone } });
  await newRoom(server, { timeZone });
  const accepted = [
    ["2027-10-25T00:00:00+02:00", "2027-11-01T00:00:00+01:00"],
    ["2027-03-22T00:00:00+01:00", "2027-03-29T00:00:00+02:00"],
    ["2027-10-25T00:00:00+02:00", "2027-10-31"],
    ["2027-10-25", "2027-11-01T00:00:00+01:00"],
    ["2027-10-25T00:00", "2027-11-01T00:00"],
    // Midnights of the default time zone in UTC, as JavaScript writes them.
    ["2027-10-24T22:00:00.000Z", "2027-10-31T23:00:00.000Z"],
    ["2027-10-24T22:00:00.000Z", "2027-10-31"],
    // Lord Howe changes by half an hour. Kiritimati is 14 hours ahead of UTC.
    ["2027-03-29T00:00:00+11:00", "2027-04-05T00:00:00+10:30"],
    ["2027-03-08T00:00:00+14:00", "2027-03-14"],
  ];
  for (const [from, to] of accepted) {
    await t.step(`${from} to ${to}`, async () => {
      await server.ok("listAvailableRooms", { query: { from, to } });
    });
  }
  const refused = [
    ["2027-10-25T00:00:00+02:00", "2027-11-01T00:00:01+01:00"],
    ["2027-03-22T00:00:00+01:00", "2027-03-29T01:00:01+02:00"],
    ["2027-10-25T00:00:00+02:00", "2027-11-01"],
    ["2027-10-24T22:00:00.000Z", "2027-10-31T23:00:00.001Z"],
    // No change of the clocks in that week.
    ["2027-10-17T22:00:00.000Z", "2027-10-24T23:00:00.000Z"],
    // No clock changes by so much.
    ["2027-03-08T00:00:00+14:00", "2027-03-15T00:00:00-12:00"],
  ];
  for (const [from, to] of refused) {
    await t.step(`${from} to ${to} -> refused`, async () => {
      await server.refused("invalid_date_range", "listAvailableRooms", { query: { from, to } });
    });
  }
});
