import assert from "node:assert/strict";
import type { ProblemCode, Room, TimeslotsGenerated } from "../../generated/contract.ts";
import { newBooking, newRoom } from "../support/builders.ts";
import { type Call, sharedServer, startServer, type TestServer } from "../support/server.ts";

/** 2026-03-09 is a Monday. */
const monday = { startDate: "2026-03-09", endDate: "2026-03-09" };
const hourly = { ...monday, slotDuration: 60 };
const night = { ...hourly, workingHours: { start: "22:00", end: "02:00" } };

async function callWith(server: TestServer, { id: roomId }: Room, rules: Record<string, unknown>): Promise<Call> {
  return { token: await server.token("admin", "admin"), body: { roomId, ...monday, ...rules } };
}

async function generate(server: TestServer, room: Room, rules: Record<string, unknown>): Promise<TimeslotsGenerated> {
  return await server.ok("generateTimeslots", await callWith(server, room, rules));
}

/** The room's timeslots as day and time in UTC, `09T22:00`, and their lengths in minutes. */
async function timeslotsOf(server: TestServer, { id }: Room): Promise<{ starts: string[]; minutes: Set<number> }> {
  const rows = await server.db.selectFrom("timeslots").select(["starts_at", "ends_at"]).where("room_id", "=", id)
    .orderBy("starts_at").execute();
  return {
    starts: rows.map((row) => row.starts_at.slice(8, 16)),
    minutes: new Set(rows.map((row) => (Date.parse(row.ends_at) - Date.parse(row.starts_at)) / 60_000)),
  };
}

async function countTimeslots(server: TestServer, { id }: Room): Promise<number> {
  const count = server.db.selectFrom("timeslots").select((slots) => slots.fn.countAll<number>().as("timeslots"))
    .where("room_id", "=", id);
  return (await count.executeTakeFirstOrThrow()).timeslots;
}

const on9 = (...times: string[]) => times.map((time) => `09T${time}`);

const layouts: [rule: string, rules: Record<string, unknown>, starts: string[]][] = [
  ["hours are 09:00 to 17:00", hourly, on9("09:00", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00", "16:00")],
  ["a timeslot has 30 minutes", { workingHours: { start: "16:00" } }, on9("16:00", "16:30")],
  ["only the end is said", { workingHours: { end: "10:00" } }, on9("09:00", "09:30")],
  ["a remainder stays unused", { ...hourly, workingHours: { end: "11:59" } }, on9("09:00", "10:00")],
  ["24:00 is the end of the day", { ...hourly, workingHours: { start: "22:00", end: "24:00" } }, on9("22:00", "23:00")],
  ["a day as a whole", { slotDuration: 1_440, workingHours: { start: "00:00", end: "24:00" } }, on9("00:00")],
  ["hours run into the next day", night, [...on9("22:00", "23:00"), "10T00:00", "10T01:00"]],
  ["an end at the start is a day later", { slotDuration: 720, workingHours: { end: "09:00" } }, on9("09:00", "21:00")],
  ["days of the week", { ...hourly, endDate: "2026-03-16", workingHours: { end: "10:00" }, daysOfWeek: [7, 1] }, [
    ...["09T09:00", "15T09:00", "16T09:00"],
  ]],
  ["excluded days", {
    ...hourly,
    endDate: "2026-03-12",
    workingHours: { end: "10:00" },
    excludedDates: ["2026-03-10", "2026-03-12T23:59:59", "2026-03-11T23:59:59-00:01", "2026-04-01"],
  }, ["09T09:00", "11T09:00"]],
];

const breaks: [rule: string, rules: Record<string, unknown>, breaks: [string, string][], starts: string[]][] = [
  ["at noon", hourly, [["12:00", "13:00"]], on9("09:00", "10:00", "11:00", "13:00", "14:00", "15:00", "16:00")],
  ["a remainder before it stays unused", { ...hourly, workingHours: { end: "13:00" } }, [["10:30", "11:00"]], [
    ...on9("09:00", "11:00", "12:00"),
  ]],
  ["several, in no order, that overlap", hourly, [["14:00", "17:00"], ["10:00", "12:00"], ["11:00", "13:00"]], [
    ...on9("09:00", "13:00"),
  ]],
  ["over the closing time", hourly, [["11:00", "18:00"]], on9("09:00", "10:00")],
  ["over the opening time", hourly, [["08:00", "15:00"]], on9("15:00", "16:00")],
  ["before and after the hours", { ...hourly, workingHours: { end: "10:00" } }, [["07:00", "09:00"], [
    "10:00",
    "24:00",
  ]], on9("09:00")],
  ["over midnight", night, [["23:00", "01:00"]], ["09T22:00", "10T01:00"]],
  ["until midnight", night, [["23:00", "24:00"]], ["09T22:00", "10T00:00", "10T01:00"]],
  ["after midnight", night, [["00:00", "01:00"]], [...on9("22:00", "23:00"), "10T01:00"]],
  ["since the evening before", { ...hourly, workingHours: { start: "00:00", end: "03:00" } }, [["23:00", "01:00"]], [
    ...on9("01:00", "02:00"),
  ]],
  ["over the opening time at night", night, [["21:00", "23:00"]], ["09T23:00", "10T00:00", "10T01:00"]],
];

Deno.test("generateTimeslots: rules -> timeslots of exact length within the hours of each day", async (t) => {
  await using server = await sharedServer();
  for (const [rule, rules, starts] of layouts) {
    await t.step(rule, async () => {
      const room = await newRoom(server);
      const answer = await generate(server, room, rules);
      const { slotDuration = 30, endDate = "2026-03-09" } = rules as { slotDuration?: number; endDate?: string };
      assert.deepEqual(answer, {
        message: `Generated ${starts.length} timeslots`,
        count: starts.length,
        skipped: 0,
        dateRange: { start: "2026-03-09", end: endDate },
      });
      const minutes = new Set(starts.length === 0 ? [] : [slotDuration]);
      assert.deepEqual(await timeslotsOf(server, room), { starts, minutes });
    });
  }
});

Deno.test("generateTimeslots: breaks -> no timeslot overlaps a break", async (t) => {
  await using server = await sharedServer();
  for (const [rule, rules, breakTimes, starts] of breaks) {
    await t.step(rule, async () => {
      const room = await newRoom(server);
      await generate(server, room, { ...rules, breaks: breakTimes.map(([start, end]) => ({ start, end })) });
      assert.deepEqual((await timeslotsOf(server, room)).starts, starts);
    });
  }
});

Deno.test("generateTimeslots: room in Asia/Tokyo -> days, hours and date-times are local to the room", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "Asia/Tokyo" });
  const answer = await generate(server, room, {
    startDate: "2026-03-08T15:00:00Z",
    endDate: "2026-03-11T23:59:59",
    excludedDates: ["2026-03-09T23:30:00+01:00"],
    workingHours: { start: "00:00", end: "01:00" },
    breaks: [{ start: "00:30", end: "01:00" }],
  });
  assert.deepEqual(answer.dateRange, { start: "2026-03-09", end: "2026-03-11" });
  assert.deepEqual((await timeslotsOf(server, room)).starts, ["08T15:00", "10T15:00"]);
});

Deno.test("generateTimeslots: same or overlapping times -> skipped and counted, in that room only", async () => {
  await using server = await sharedServer();
  const [room, other] = [await newRoom(server), await newRoom(server)];
  const morning = { ...hourly, workingHours: { end: "12:00" } };
  await generate(server, room, morning);
  const { starts } = await timeslotsOf(server, room);
  const again = await generate(server, room, morning);
  assert.deepEqual([again.message, again.count, again.skipped], ["Generated 0 timeslots", 0, 3]);
  assert.deepEqual((await timeslotsOf(server, room)).starts, starts);

  // 08:15 to 09:45 lies over the first hour, 12:45 touches nothing.
  const shifted = { slotDuration: 90, workingHours: { start: "06:45", end: "14:15" } };
  const { count, skipped } = await generate(server, room, shifted);
  assert.deepEqual([count, skipped], [2, 3]);
  assert.deepEqual((await timeslotsOf(server, room)).starts, on9("06:45", "09:00", "10:00", "11:00", "12:45"));
  assert.equal((await generate(server, other, morning)).count, 3);
});

Deno.test("generateTimeslots: booked timeslot -> it and its booking unchanged", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  await generate(server, room, hourly);
  const free = { params: { roomId: room.id }, query: { date: "2026-03-09" } };
  const { timeslots: [first] } = await server.ok("listFreeTimeslots", free);
  assert(first);
  const booking = await newBooking(server, "alice", first);
  assert.equal((await generate(server, room, { slotDuration: 30 })).count, 0);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  assert.deepEqual(await server.ok("getBooking", request), booking);
  assert.equal((await server.ok("listFreeTimeslots", free)).timeslots.length, 7);
});

Deno.test("generateTimeslots: 8 equal calls at once -> each timeslot once", async () => {
  await using server = await startServer({ pool: 8 });
  const room = await newRoom(server);
  const answers = await Promise.all(Array.from({ length: 8 }, () => generate(server, room, hourly)));
  assert.deepEqual(answers.map(({ count }) => count).toSorted((a, b) => b - a), [8, 0, 0, 0, 0, 0, 0, 0]);
  assert(answers.every(({ count, skipped }) => count + skipped === 8));
  assert.equal(await countTimeslots(server, room), 8);
});

/** 20 timeslots of five minutes on each of 2,500 days: 50,000. */
const most = { startDate: "2030-01-01", endDate: "2036-11-04", slotDuration: 5 };

Deno.test("generateTimeslots: 50,001 timeslots -> 400 too_many_timeslots, none made; 50,000 -> made", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  // 21 timeslots on each of 2,381 days are 50,001.
  const oneMore = { ...most, endDate: "2036-07-08", workingHours: { end: "10:45" } };
  const call = await callWith(server, room, oneMore);
  assert.equal((await server.refused("too_many_timeslots", "generateTimeslots", call)).status, 400);
  assert.equal(await countTimeslots(server, room), 0);

  const { count, skipped } = await generate(server, room, { ...most, workingHours: { end: "10:40" } });
  assert.deepEqual([count, skipped], [50_000, 0]);
  assert.equal(await countTimeslots(server, room), 50_000);
});

const refusals: [code: ProblemCode, field: string | undefined, rules: Record<string, unknown>][] = [
  ["unknown_room", undefined, { roomId: 9_007_199_254_740_991 }],
  ["invalid_date_range", undefined, { endDate: "2026-03-08" }],
  ["invalid_date_range", undefined, { startDate: "2026-03-10T00:00:00Z", endDate: "2026-03-10T00:00:00+01:00" }],
  ["invalid_date_range", undefined, { startDate: "2030-01-01", endDate: "2040-01-09", daysOfWeek: [1] }],
  ["invalid_date_range", undefined, { startDate: "1970-01-01", endDate: "2300-12-31" }],
  ["validation_failed", "body.startDate", { startDate: "2026-02-29" }],
  ["validation_failed", "body.startDate", { startDate: "0000-01-01" }],
  ["validation_failed", "body.endDate", { endDate: "2026-04-31" }],
  ["validation_failed", "body.endDate", { endDate: "2026-03-09T24:00:00" }],
  ["validation_failed", "body.excludedDates.1", { excludedDates: ["2026-03-09", "2026-13-01"] }],
  ["validation_failed", "body.breaks.1.end", {
    breaks: [{ start: "12:00", end: "13:00" }, { start: "14:00", end: "14:00" }],
  }],
  ["validation_failed", "body.workingHours.start", { workingHours: { start: "24:00" } }],
  ["validation_failed", "body.workingHours.end", { workingHours: { end: "24:01" } }],
  ["validation_failed", "body.breaks.0.start", { breaks: [{ start: "9:00", end: "10:00" }] }],
  ["validation_failed", "body.slotDuration", { slotDuration: 4 }],
  ["validation_failed", "body.slotDuration", { slotDuration: 1_441 }],
  ["validation_failed", "body.daysOfWeek", { daysOfWeek: [] }],
  ["validation_failed", "body.daysOfWeek.1", { daysOfWeek: [1, 8] }],
];

Deno.test("generateTimeslots: wrong rules -> 400 with the reason, no timeslot", async (t) => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  for (const [code, field, rules] of refusals) {
    await t.step(`${JSON.stringify(rules)} -> ${code}`, async () => {
      const problem = await server.refused(code, "generateTimeslots", await callWith(server, room, rules));
      assert.equal(problem.status, 400);
      const places = problem.errors?.map((error) => `${error.in}.${error.path}`);
      assert.deepEqual(places, field === undefined ? undefined : [field]);
    });
  }
  assert.equal(await countTimeslots(server, room), 0);
});

Deno.test("generateTimeslots: range of 3,660 days -> accepted", async () => {
  await using server = await sharedServer();
  const rules = { startDate: "2030-01-01", endDate: "2040-01-08", slotDuration: 1_440, daysOfWeek: [1] };
  const room = await newRoom(server);
  const hours = { start: "00:00", end: "24:00" };
  const { count, dateRange } = await generate(server, room, { ...rules, workingHours: hours });
  assert.deepEqual([count, dateRange], [522, { start: "2030-01-01", end: "2040-01-08" }]);
});

const edges = ["0001-01-01", "0001-01-01T00:00:00Z", "1900-01-01", "9999-12-31", "9999-12-31T23:59:59Z"];

Deno.test("generateTimeslots: first and last days of the calendar -> 201 or 400, and the same for listing them", async () => {
  await using server = await sharedServer();
  const failed: unknown[] = [];
  for (const timeZone of ["Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"]) {
    const room = await newRoom(server, { timeZone });
    for (const day of edges) {
      const rules = { startDate: day, endDate: day, slotDuration: 60, workingHours: { start: "00:00", end: "00:00" } };
      const made = await server.call("generateTimeslots", await callWith(server, room, rules));
      const request = { params: { roomId: room.id }, query: { date: day } };
      const listed = await server.call("listFreeTimeslots", request);
      if (![201, 400].includes(made.status)) failed.push({ timeZone, day, made: made.status });
      if (![200, 400].includes(listed.status)) failed.push({ timeZone, day, listed: listed.status });
    }
  }
  assert.deepEqual(failed, []);
});

const unreadable: [code: ProblemCode, status: number, call: Call][] = [
  ["malformed_json", 400, { body: "{" }],
  ["unsupported_media_type", 415, { headers: { "Content-Type": "text/plain" } }],
  ["body_too_large", 413, { headers: { "Content-Type": "application/json" }, body: " ".repeat(65_537) }],
];

Deno.test("generateTimeslots: unreadable body -> malformed_json, unsupported_media_type or body_too_large, no timeslot", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const call = await callWith(server, room, {});
  for (const [code, status, change] of unreadable) {
    assert.equal((await server.refused(code, "generateTimeslots", { ...call, ...change })).status, status);
  }
  assert.equal(await countTimeslots(server, room), 0);
});

Deno.test("generateTimeslots: timeslot longer than the working hours -> 400 timeslot_does_not_fit, nothing is made", async () => {
  await using server = await sharedServer();
  const { id: roomId } = await newRoom(server);
  const body = { roomId, startDate: "2026-03-09", endDate: "2026-03-10", slotDuration: 481 };
  const token = await server.token("admin", "admin");
  await server.refused("timeslot_does_not_fit", "generateTimeslots", { token, body });
  const made = await server.db.selectFrom("timeslots").select("id").where("room_id", "=", roomId).execute();
  assert.deepEqual(made, []);
});
