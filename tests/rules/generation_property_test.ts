/**
 * Timeslot generation with random zones, dates, hours and breaks, often around days on which the clocks change.
 * `support/wall_clock_oracle.ts` computes the expected timeslots. A failure prints the seed and the smallest rules.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import { computeTimeslots, type GenerationRules } from "../../src/timeslots/generation.ts";
import { newRoom } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer } from "../support/server.ts";
import {
  daysBetween,
  expectedStarts,
  type HoursOfDay,
  instantOfWallClock,
  leftOutCount,
  usualCount,
  type WantedTimeslots,
  withoutOverlaps,
  workingDays,
} from "../support/wall_clock_oracle.ts";

const seed = 20_260_308;
const everyDay: number[] = [1, 2, 3, 4, 5, 6, 7];
const days = daysBetween("2026-01-01", "2027-01-15");
const zones = Intl.supportedValuesOf("timeZone");

/** For each zone whose clocks change: the days that are longer or shorter than 24 hours, and those before them. */
const daysAroundChanges = new Map(
  zones.map((timeZone): [string, string[]] => {
    const midnights = days.map((day) => instantOfWallClock(timeZone, day));
    const changes = (index: number) => (midnights[index + 1] ?? 0) - (midnights[index] ?? 0) !== 24 * 3_600_000;
    return [timeZone, days.slice(0, -2).filter((_, index) => changes(index) || changes(index + 1))];
  }).filter(([, found]) => found.length > 0),
);

const clock = (minutes: number) =>
  [minutes / 60, minutes % 60].map((part) => String(Math.floor(part)).padStart(2, "0")).join(":");
/** Any minute of the day, but mostly one in the hours in which clocks change. */
const time = fc.oneof(
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 1_439 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 16 }).map((quarters) => quarters * 15) },
).map(clock);
const endTime = fc.oneof({ weight: 9, arbitrary: time }, { weight: 1, arbitrary: fc.constant("24:00") });
const hours: fc.Arbitrary<HoursOfDay> = fc.record({ start: time, end: endTime });

const wantedTimeslots: fc.Arbitrary<WantedTimeslots> = fc
  .oneof(fc.constantFrom(...zones), fc.constantFrom(...daysAroundChanges.keys()))
  .chain((timeZone) => {
    const around = daysAroundChanges.get(timeZone) ?? days;
    const firstDay = fc.oneof(
      { weight: 1, arbitrary: fc.constantFrom(...days) },
      { weight: 2, arbitrary: fc.constantFrom(...around) },
    );
    return fc.tuple(firstDay, fc.integer({ min: 0, max: 9 })).chain(([startDate, more]) => {
      const range = days.slice(days.indexOf(startDate)).slice(0, more + 1);
      return fc.record({
        timeZone: fc.constant(timeZone),
        startDate: fc.constant(startDate),
        endDate: fc.constant(range.at(-1) ?? startDate),
        slotDuration: fc.oneof(fc.constantFrom(5, 15, 20, 30, 45, 60, 90), fc.integer({ min: 5, max: 1_439 })),
        workingHours: hours,
        breaks: fc.array(hours.filter(({ start, end }) => start !== end), { maxLength: 4 }),
        daysOfWeek: fc.oneof(fc.constant(everyDay), fc.subarray(everyDay, { minLength: 1 })),
        excludedDates: fc.array(fc.constantFrom(...range), { maxLength: 2 }),
      });
    });
  });

function rulesOf({ slotDuration, ...wanted }: WantedTimeslots): GenerationRules {
  return {
    ...wanted,
    startDate: Temporal.PlainDate.from(wanted.startDate),
    endDate: Temporal.PlainDate.from(wanted.endDate),
    slotMinutes: slotDuration,
    excludedDates: wanted.excludedDates.map((day) => Temporal.PlainDate.from(day)),
  };
}

const startsOf = (wanted: WantedTimeslots) => computeTimeslots(rulesOf(wanted)).timeslots.map(({ from }) => from);

const iso = (instants: number[]) => instants.map((instant) => new Date(instant).toISOString());

Deno.test("computeTimeslots: any rules in any zone -> the same as an independent computation", () => {
  fc.assert(
    fc.property(wantedTimeslots, (wanted) => {
      if (usualCount(wanted) === 0) return assert.throws(() => startsOf(wanted), { code: "timeslot_does_not_fit" });
      const { timeslots, leftOut } = computeTimeslots(rulesOf(wanted));
      assert.deepEqual(iso(timeslots.map(({ from }) => from)), iso(expectedStarts(wanted)));
      assert(timeslots.every(({ from, to }) => to - from === wanted.slotDuration * 60_000));
      assert.equal(leftOut, leftOutCount(wanted));
    }),
    { seed, numRuns: runs(250, 1_500) },
  );
});

Deno.test("computeTimeslots: any rules -> inside working hours, outside breaks, each once, in order", () => {
  let seen = 0;
  fc.assert(
    fc.property(wantedTimeslots, (wanted) => {
      fc.pre(usualCount(wanted) > 0);
      const open = workingDays(wanted);
      const starts = startsOf(wanted);
      const length = wanted.slotDuration * 60_000;
      for (const start of starts) {
        const day = open.find(({ opening, closing }) => opening <= start && start + length <= closing);
        assert(day, `${iso([start])} is outside of the working hours`);
        const pause = day.breaks.find(({ from, to }) => from < start + length && start < to);
        assert.equal(pause, undefined, `${iso([start])} runs into a break`);
      }
      const most = open.map(({ opening, closing }) => Math.max(0, Math.floor((closing - opening) / length)));
      assert(starts.length <= most.reduce((sum, count) => sum + count, 0), "there are more than fit");
      // Around a change, long hours can run into those of the next day. The database then keeps the first.
      fc.pre(open.every(({ opening }, index) => opening >= (open[index - 1]?.closing ?? opening)));
      starts.forEach((start, index) => {
        const before = starts[index - 1];
        assert(before === undefined || before + length <= start, `${iso([start])} overlaps or is out of order`);
      });
      seen += starts.length;
    }),
    { seed: seed + 1, numRuns: runs(250, 1_500) },
  );
  assert(seen > runs(800, 5_000), `the rules have only ${seen} timeslots`);
});

const edges: { name: string; workingHours: HoursOfDay; breaks: HoursOfDay[]; hours: string[] }[] = [
  {
    name: "that begins before the hours and ends within them",
    workingHours: { start: "09:00", end: "12:00" },
    breaks: [{ start: "08:00", end: "10:00" }],
    hours: ["10:00", "11:00"],
  },
  {
    name: "that begins within the hours and ends after them",
    workingHours: { start: "09:00", end: "12:00" },
    breaks: [{ start: "11:00", end: "13:00" }],
    hours: ["09:00", "10:00"],
  },
  {
    name: "over midnight, on both ends of the day",
    workingHours: { start: "00:00", end: "24:00" },
    breaks: [{ start: "03:00", end: "22:00" }, { start: "23:00", end: "01:00" }],
    hours: ["01:00", "02:00", "22:00"],
  },
  {
    name: "that begins before hours over midnight",
    workingHours: { start: "22:00", end: "02:00" },
    breaks: [{ start: "21:00", end: "23:00" }, { start: "00:00", end: "01:00" }],
    hours: ["23:00", "01:00"],
  },
];

for (const { name, workingHours, breaks, hours } of edges) {
  Deno.test(`computeTimeslots: a break ${name} -> no timeslot in it`, () => {
    const day = "2026-06-01";
    const wanted = { timeZone: "UTC", startDate: day, endDate: day, daysOfWeek: everyDay, excludedDates: [] };
    const starts = startsOf({ ...wanted, slotDuration: 60, workingHours, breaks });
    assert.deepEqual(iso(starts).map((start) => start.slice(11, 16)), hours);
  });
}

Deno.test("generateTimeslots: any rules, twice -> exactly the expected timeslots, then none", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  await fc.assert(
    fc.asyncProperty(wantedTimeslots, async ({ timeZone, ...wanted }) => {
      const { id: roomId } = await newRoom(server, { timeZone });
      if (usualCount({ timeZone, ...wanted }) === 0) {
        await server.refused("timeslot_does_not_fit", "generateTimeslots", { token, body: { roomId, ...wanted } });
        return;
      }
      const due = expectedStarts({ timeZone, ...wanted });
      const leftOut = leftOutCount({ timeZone, ...wanted });
      const kept = withoutOverlaps(due, wanted.slotDuration);
      const first = await server.ok("generateTimeslots", { token, body: { roomId, ...wanted } });
      assert.deepEqual([first.count, first.skipped], [kept.length, due.length - kept.length + leftOut]);
      assert.deepEqual(first.dateRange, { start: wanted.startDate, end: wanted.endDate });

      const rows = await server.db.selectFrom("timeslots").select(["starts_at", "ends_at"])
        .where("room_id", "=", roomId).orderBy("starts_at").execute();
      assert.deepEqual(iso(rows.map((row) => Date.parse(row.starts_at))), iso(kept));
      const lengths = new Set(rows.map((row) => (Date.parse(row.ends_at) - Date.parse(row.starts_at)) / 60_000));
      assert.deepEqual([...lengths], kept.length === 0 ? [] : [wanted.slotDuration]);

      const again = await server.ok("generateTimeslots", { token, body: { roomId, ...wanted } });
      assert.deepEqual([again.count, again.skipped], [0, due.length + leftOut]);
    }),
    { seed: seed + 2, numRuns: runs(15, 60) },
  );
});
