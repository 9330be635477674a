/**
 * Daylight saving. Working hours follow the wall clock of the room, and timeslots have their length in elapsed time.
 * Expected instants are literals, or come from `support/wall_clock_oracle.ts`.
 */
import assert from "node:assert/strict";
import type { Room, TimeslotsGenerated } from "../../generated/contract.ts";
import { newRoom } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import {
  daysBetween,
  expectedStarts,
  wallClockAt,
  type WantedTimeslots,
  withoutOverlaps,
} from "../support/wall_clock_oracle.ts";

/** Before every change of 2026, so that all timeslots are in the future. */
const newYear = "2026-01-01T00:00:00.000Z";

/** Days of 2026 on which the clocks change, with the days around them. Kolkata's never do. */
const changes: { timeZone: string; startDate: string; change: string; endDate: string; hours: number }[] = [
  { timeZone: "America/New_York", startDate: "2026-03-06", change: "2026-03-08", endDate: "2026-03-10", hours: 23 },
  { timeZone: "America/New_York", startDate: "2026-10-30", change: "2026-11-01", endDate: "2026-11-03", hours: 25 },
  { timeZone: "Europe/Berlin", startDate: "2026-03-27", change: "2026-03-29", endDate: "2026-03-31", hours: 23 },
  { timeZone: "Europe/Berlin", startDate: "2026-10-23", change: "2026-10-25", endDate: "2026-10-27", hours: 25 },
  {
    timeZone: "Australia/Lord_Howe",
    startDate: "2026-04-03",
    change: "2026-04-05",
    endDate: "2026-04-07",
    hours: 24.5,
  },
  {
    timeZone: "Australia/Lord_Howe",
    startDate: "2026-10-02",
    change: "2026-10-04",
    endDate: "2026-10-06",
    hours: 23.5,
  },
  { timeZone: "Asia/Kolkata", startDate: "2026-03-06", change: "2026-03-08", endDate: "2026-03-10", hours: 24 },
  { timeZone: "Asia/Kolkata", startDate: "2026-10-23", change: "2026-10-25", endDate: "2026-10-27", hours: 24 },
  { timeZone: "Pacific/Chatham", startDate: "2026-04-03", change: "2026-04-05", endDate: "2026-04-07", hours: 25 },
  { timeZone: "Pacific/Chatham", startDate: "2026-09-25", change: "2026-09-27", endDate: "2026-09-29", hours: 23 },
];

/** Days that begin at 01:00, or whose hour from midnight comes twice. */
const midnightChanges: typeof changes = [
  { timeZone: "Atlantic/Azores", startDate: "2026-03-27", change: "2026-03-29", endDate: "2026-03-31", hours: 23 },
  { timeZone: "Atlantic/Azores", startDate: "2026-10-23", change: "2026-10-25", endDate: "2026-10-27", hours: 25 },
  { timeZone: "America/Havana", startDate: "2026-03-06", change: "2026-03-08", endDate: "2026-03-10", hours: 23 },
  { timeZone: "America/Havana", startDate: "2026-10-30", change: "2026-11-01", endDate: "2026-11-03", hours: 25 },
  { timeZone: "Asia/Beirut", startDate: "2026-03-27", change: "2026-03-29", endDate: "2026-03-31", hours: 23 },
  { timeZone: "Asia/Beirut", startDate: "2026-10-22", change: "2026-10-24", endDate: "2026-10-26", hours: 25 },
];

const everyDay = [1, 2, 3, 4, 5, 6, 7];
const rules: (Pick<WantedTimeslots, "slotDuration" | "workingHours" | "breaks"> & { name: string })[] = [
  {
    name: "office hours around a lunch break",
    slotDuration: 30,
    workingHours: { start: "09:00", end: "17:00" },
    breaks: [{ start: "12:00", end: "13:00" }],
  },
  { name: "the whole day until 24:00", slotDuration: 15, workingHours: { start: "00:00", end: "24:00" }, breaks: [] },
  {
    name: "hours over midnight with breaks inside the change",
    slotDuration: 20,
    workingHours: { start: "22:00", end: "06:00" },
    breaks: [{ start: "02:10", end: "02:40" }, { start: "23:30", end: "00:30" }, { start: "03:05", end: "03:15" }],
  },
  {
    name: "hours that begin and end inside the change",
    slotDuration: 5,
    workingHours: { start: "01:45", end: "03:20" },
    breaks: [],
  },
  {
    name: "breaks that begin, end or lie inside the change",
    slotDuration: 10,
    workingHours: { start: "00:00", end: "05:00" },
    breaks: [{ start: "00:45", end: "01:15" }, { start: "02:15", end: "02:20" }, { start: "02:50", end: "03:30" }],
  },
];

async function generate(
  server: TestServer,
  { id: roomId }: Pick<Room, "id">,
  { timeZone: _, ...wanted }: Partial<WantedTimeslots> & { startDate: string; endDate: string },
): Promise<TimeslotsGenerated> {
  const token = await server.token("admin", "admin");
  return await server.ok("generateTimeslots", { token, body: { roomId, ...wanted } });
}

/** Every timeslot of the room as `start/end`, in order. */
async function timeslotsOf(server: TestServer, { id }: Room): Promise<string[]> {
  const rows = await server.db.selectFrom("timeslots").select(["starts_at", "ends_at"])
    .where("room_id", "=", id).orderBy("starts_at").execute();
  return rows.map((row) => `${row.starts_at}/${row.ends_at}`);
}

function spans(starts: number[], slotDuration: number): string[] {
  return starts.map((from) => [from, from + slotDuration * 60_000].map((at) => new Date(at).toISOString()).join("/"));
}

Deno.test("generateTimeslots: 10:00 to 16:00 in New York on the day of the spring change -> 14:00Z to 20:00Z", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "America/New_York" });
  const workingHours = { start: "10:00", end: "16:00" };
  await generate(server, room, { startDate: "2026-03-08", endDate: "2026-03-08", slotDuration: 120, workingHours });
  assert.deepEqual(await timeslotsOf(server, room), [
    "2026-03-08T14:00:00.000Z/2026-03-08T16:00:00.000Z",
    "2026-03-08T16:00:00.000Z/2026-03-08T18:00:00.000Z",
    "2026-03-08T18:00:00.000Z/2026-03-08T20:00:00.000Z",
  ]);
});

Deno.test("generateTimeslots: a start that the spring change skips, 02:30 in New York -> after the gap, 07:30Z", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "America/New_York" });
  const workingHours = { start: "02:30", end: "04:30" };
  await generate(server, room, { startDate: "2026-03-08", endDate: "2026-03-08", slotDuration: 60, workingHours });
  assert.deepEqual(await timeslotsOf(server, room), ["2026-03-08T07:30:00.000Z/2026-03-08T08:30:00.000Z"]);
});

Deno.test("generateTimeslots: a start that the autumn change repeats, 01:30 in New York -> the first one, 05:30Z", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "America/New_York" });
  const workingHours = { start: "01:30", end: "02:30" };
  await generate(server, room, { startDate: "2026-11-01", endDate: "2026-11-01", slotDuration: 60, workingHours });
  assert.deepEqual(await timeslotsOf(server, room), [
    "2026-11-01T05:30:00.000Z/2026-11-01T06:30:00.000Z",
    "2026-11-01T06:30:00.000Z/2026-11-01T07:30:00.000Z",
  ]);
});

Deno.test("generateTimeslots: office hours around every change of 2026 -> the same times on the wall clock", async () => {
  await using server = await sharedServer({ now: newYear });
  const hours = ["09:00", "10:30", "13:00", "14:30"];
  for (const { timeZone, startDate, endDate } of changes) {
    const room = await newRoom(server, { timeZone });
    const breaks = [{ start: "12:00", end: "13:00" }];
    await generate(server, room, { startDate, endDate, slotDuration: 90, breaks });
    const local = (await timeslotsOf(server, room)).map((span) => wallClockAt(timeZone, Date.parse(span.slice(0, 24))));
    const expected = daysBetween(startDate, endDate).flatMap((day) => hours.map((hour) => `${day}T${hour}`));
    assert.deepEqual(local, expected, timeZone);
  }
});

for (const { name, ...rule } of rules) {
  Deno.test(`generateTimeslots: ${name}, across every change of 2026 -> each timeslot once`, async () => {
    await using server = await sharedServer({ now: newYear });
    for (const { timeZone, startDate, endDate } of [...changes, ...midnightChanges]) {
      const room = await newRoom(server, { timeZone });
      const wanted = { timeZone, startDate, endDate, ...rule, daysOfWeek: everyDay, excludedDates: [] };
      const starts = expectedStarts(wanted);
      const { count, skipped } = await generate(server, room, wanted);
      assert.deepEqual(await timeslotsOf(server, room), spans(starts, rule.slotDuration), `${timeZone} ${startDate}`);
      assert.deepEqual({ count, skipped }, { count: starts.length, skipped: 0 }, `${timeZone} ${startDate}`);
    }
  });
}

Deno.test("generateTimeslots: hours that a change runs into those of the next day -> each timeslot once", async () => {
  await using server = await sharedServer();
  const timeZone = "America/New_York";
  const room = await newRoom(server, { timeZone });
  // The skipped 02:30 of 8 March means 07:30Z, but that day's hours open at 03:00, which is 07:00Z.
  const workingHours = { start: "03:00", end: "02:30" };
  const wanted = { timeZone, startDate: "2026-03-07", endDate: "2026-03-08", slotDuration: 30, workingHours };
  const starts = expectedStarts({ ...wanted, breaks: [], daysOfWeek: everyDay, excludedDates: [] });
  const { count, skipped } = await generate(server, room, wanted);
  assert.deepEqual(await timeslotsOf(server, room), spans(withoutOverlaps(starts, 30), 30));
  assert.deepEqual({ count, skipped }, { count: starts.length - 1, skipped: 1 });
});

for (const [when, table] of [["in the night", changes], ["at midnight", midnightChanges]] as const) {
  Deno.test(`listFreeTimeslots: clocks change ${when} -> every hour of the day, and no other`, async () => {
    await using server = await sharedServer({ now: newYear });
    for (const { timeZone, startDate, change, endDate, hours } of table) {
      const room = await newRoom(server, { timeZone });
      const workingHours = { start: "00:00", end: "24:00" };
      await generate(server, room, { startDate, endDate, slotDuration: 30, workingHours });
      const all = await timeslotsOf(server, room);
      for (const date of daysBetween(startDate, endDate)) {
        const query = { date, duration: 30 };
        const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
        const listed = timeslots.map(({ startTime, endTime }) => `${startTime}/${endTime}`);
        const ofThatDay = all.filter((span) => wallClockAt(timeZone, Date.parse(span.slice(0, 24))).startsWith(date));
        assert.deepEqual(listed, ofThatDay, `${date} in ${timeZone}`);
        assert.equal(listed.length / 2, date === change ? hours : 24, `${date} in ${timeZone}`);
      }
    }
  });
}

Deno.test("listFreeTimeslots: a zone with recently changed rules -> the same day as in generateTimeslots", async () => {
  await using server = await sharedServer({ now: newYear });
  // British Columbia ends winter time in 2026, which some copies of the zone database do not know yet. The server may use
  // either rule, but everywhere the same.
  const room = await newRoom(server, { timeZone: "America/Vancouver" });
  const workingHours = { start: "00:00", end: "24:00" };
  await generate(server, room, { startDate: "2026-12-01", endDate: "2026-12-03", slotDuration: 60, workingHours });
  const all = await timeslotsOf(server, room);
  const query = { date: "2026-12-02" };
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  assert.deepEqual(timeslots.map(({ startTime, endTime }) => `${startTime}/${endTime}`), all.slice(24, 48));
});

Deno.test("listBookings: a day that begins with a repeated hour -> begins at the first of the two", async () => {
  await using server = await sharedServer({ now: newYear });
  const timeZone = "Atlantic/Azores";
  const { id: roomId } = await newRoom(server, { timeZone });
  const day = "2026-10-25";
  const workingHours = { start: "00:00", end: "00:30" };
  await generate(server, { id: roomId }, { startDate: day, endDate: day, slotDuration: 30, workingHours });
  const { id: timeslotId } = await server.db.selectFrom("timeslots").select("id")
    .where("room_id", "=", roomId).executeTakeFirstOrThrow();
  const token = await server.token("alice");
  const { booking } = await server.ok("createBooking", { token, body: { roomId, timeslotId } });
  assert.equal(booking.timeslot.startTime, "2026-10-25T00:00:00.000Z");
  const ids = async (query: Record<string, string>) =>
    (await server.ok("listBookings", { token, query })).items.map(({ id }) => id);
  assert.deepEqual(await ids({ from_date: day, to_date: day }), [booking.id]);
  assert.deepEqual(await ids({ to_date: "2026-10-24" }), []);
});

Deno.test("generateTimeslots: whole days around every change of 2026 -> one a day, until the next one", async () => {
  await using server = await sharedServer({ now: newYear });
  const workingHours = { start: "00:00", end: "24:00" };
  for (const { timeZone, startDate, endDate, change, hours } of [...changes, ...midnightChanges]) {
    const room = await newRoom(server, { timeZone });
    const wanted = { startDate, endDate, slotDuration: 1_440, workingHours };
    const { count, skipped, message } = await generate(server, room, wanted);
    assert.deepEqual({ count, skipped, message }, { count: 5, skipped: 0, message: "Generated 5 timeslots" }, timeZone);
    const spans = (await timeslotsOf(server, room)).map((span) => span.split("/").map(Date.parse));
    for (const [index, date] of daysBetween(startDate, endDate).entries()) {
      const [from = 0, to = 0] = spans[index] ?? [];
      assert(wallClockAt(timeZone, from).startsWith(date), `${timeZone} ${date}`);
      assert.equal((to - from) / 3_600_000, date === change ? hours : 24, `${timeZone} ${date}`);
      assert.equal(to, spans[index + 1]?.[0] ?? to, "the next day begins where this one ends");
      // A search for a whole day finds the short one, too.
      const query = { date, duration: 1_440 };
      const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
      assert.equal(timeslots.length, 1, `${timeZone} ${date}`);
    }
    const again = await generate(server, room, wanted);
    assert.deepEqual([again.count, again.skipped], [0, 5]);
  }
});

Deno.test("generateTimeslots: from 09:00 to 09:00, whole days across the spring change -> 23 hours", async () => {
  await using server = await sharedServer({ now: newYear });
  const room = await newRoom(server, { timeZone: "Europe/Berlin" });
  const workingHours = { start: "09:00", end: "09:00" };
  await generate(server, room, { startDate: "2026-03-28", endDate: "2026-03-28", slotDuration: 1_440, workingHours });
  assert.deepEqual(await timeslotsOf(server, room), ["2026-03-28T08:00:00.000Z/2026-03-29T07:00:00.000Z"]);
});

Deno.test("generateTimeslots: timeslots that do not fit into a short day -> counted and said", async (t) => {
  await using server = await sharedServer({ now: newYear });
  const cases = [
    // 23 hours hold none of 23.5 hours, one of 12 hours, and 30 of 45 minutes.
    { slotDuration: 1_410, count: 2, skipped: 1, message: ". 1 does not fit on days when the clocks change" },
    { slotDuration: 720, count: 5, skipped: 1, message: ". 1 does not fit on days when the clocks change" },
    { slotDuration: 45, count: 94, skipped: 1, message: ". 1 does not fit on days when the clocks change" },
    // The hour from 02:00 does not exist on that day, so nothing is left out.
    { slotDuration: 60, count: 71, skipped: 0, message: "" },
  ];
  for (const { slotDuration, message, ...expected } of cases) {
    await t.step(`${slotDuration} minutes`, async () => {
      const room = await newRoom(server, { timeZone: "Europe/Berlin" });
      const workingHours = { start: "00:00", end: "24:00" };
      const days = { startDate: "2026-03-28", endDate: "2026-03-30" };
      const made = await generate(server, room, { ...days, slotDuration, workingHours });
      assert.deepEqual({ count: made.count, skipped: made.skipped }, expected);
      assert.equal(made.message, `Generated ${made.count} timeslots${message}`);
    });
  }
});

Deno.test("generateTimeslots: working hours too short for a timeslot -> 400 timeslot_does_not_fit", async (t) => {
  await using server = await sharedServer({ now: newYear });
  const { id: roomId } = await newRoom(server);
  const token = await server.token("admin", "admin");
  const days = { roomId, startDate: "2026-03-09", endDate: "2026-03-10" };
  const noon = [{ start: "12:00", end: "13:00" }];
  const cases = {
    "longer than the hours": { slotDuration: 481 },
    "longer than between the breaks": { slotDuration: 300, breaks: noon },
    "whole day in office hours": { slotDuration: 1_440 },
    "whole day with a break": { slotDuration: 1_440, workingHours: { start: "00:00", end: "24:00" }, breaks: noon },
  };
  for (const [name, rules] of Object.entries(cases)) {
    await t.step(name, async () => {
      const call = { token, body: { ...days, ...rules } };
      const { status, detail } = await server.refused("timeslot_does_not_fit", "generateTimeslots", call);
      assert.equal(status, 400);
      assert(detail.startsWith(`A timeslot of ${rules.slotDuration} minutes does not fit`), detail);
    });
  }
});
