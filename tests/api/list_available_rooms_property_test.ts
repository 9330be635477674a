/** listAvailableRooms and listFreeTimeslots agree: for any range, type, capacity and duration. */
import fc from "fast-check";
import assert from "node:assert/strict";
import type { AvailableRoom, Room, RoomType, Timeslot } from "../../generated/contract.ts";
import { instant } from "../../src/database/instants.ts";
import { insertBookings, newRoom, userIdOf } from "../support/builders.ts";
import { isFullSize, runs } from "../support/properties.ts";
import { startServer } from "../support/server.ts";

// Clocks change on October 25 in Berlin, on November 1 in New York and (at midnight) in Havana.
const zones = ["UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Pacific/Chatham", "Asia/Kathmandu"];
const types: RoomType[] = ["office", "meeting"];
const firstDay = Temporal.PlainDate.from("2026-10-22");

interface Moment {
  kind: "date" | "local" | "instant";
  /** Minutes after the first day has begun. */
  minutes: number;
}

const textOf = ({ kind, minutes }: Moment): string => {
  const time = firstDay.toPlainDateTime().add({ minutes });
  return kind === "date" ? `${time.toPlainDate()}` : kind === "local" ? `${time}` : `${time}Z`;
};

/** The start or end of `moment` in `zone`, in ms. A date lasts a day, other moments 0 ms. */
function instantOf(moment: Moment, zone: string, { end }: { end: boolean }): number {
  const text = textOf(moment);
  if (moment.kind === "instant") return Date.parse(text);
  if (moment.kind === "local") return Temporal.PlainDateTime.from(text).toZonedDateTime(zone).epochMilliseconds;
  return Temporal.PlainDate.from(text).add({ days: end ? 1 : 0 }).toZonedDateTime(zone).epochMilliseconds;
}

Deno.test("listAvailableRooms: any query -> equals listFreeTimeslots of each room and day", async () => {
  await using server = await startServer({ now: "2026-10-23T10:00:00.000Z" });
  const token = await server.token("admin", "admin");
  const rooms: Room[] = [];
  for (const [index, timeZone] of [...zones, ...zones].entries()) {
    const name = `Room ${(index * 5) % 7}`;
    const fields = {
      name,
      timeZone,
      capacity: 1 + index % 4,
      roomType: types[index % 3 === 0 ? 0 : 1],
      autoConfirm: true,
    };
    const room = await newRoom(server, { ...fields, hourlyRate: null });
    rooms.push(room);
    const slotDuration = [45, 90, 200, 480][index % 4];
    const days = { startDate: "2026-10-22", endDate: "2026-11-03", workingHours: { start: "00:00", end: "24:00" } };
    await server.ok("generateTimeslots", { token, body: { roomId: room.id, slotDuration, ...days } });
  }
  await server.ok("deleteRoom", { token, params: { roomId: rooms[3]?.id } });
  const days = Array.from({ length: 14 }, (_, index) => firstDay.add({ days: index - 1 }).toString());
  const free = new Map<number, Timeslot[]>();
  const bookable = await server.db.selectFrom("timeslots").select("id")
    .where("room_id", "!=", rooms[3]?.id ?? 0).where("starts_at", ">", instant(server.clock.now())).orderBy("id")
    .execute();
  const picks = Array.from({ length: runs(40, 120) }, (_, pick) => pick);
  const booked = picks.flatMap((pick) => bookable.splice((pick * 7_919) % bookable.length, 1));
  await insertBookings(server, await userIdOf(server, "alice"), booked);
  for (const { id: roomId } of rooms) {
    const answers = days.map((date) =>
      server.ok("listFreeTimeslots", { params: { roomId }, query: { date, duration: 1 } })
    );
    free.set(roomId, (await Promise.all(answers)).flatMap(({ timeslots }) => timeslots));
  }

  const moment = (minutes: fc.Arbitrary<number>): fc.Arbitrary<Moment> =>
    fc.record({ kind: fc.constantFrom("date", "local", "instant"), minutes });
  const query = fc.record({
    from: moment(fc.nat(10 * 1_440)),
    length: fc.oneof(fc.nat(7 * 1_440), fc.nat(600)),
    toKind: fc.option(fc.constantFrom<Moment["kind"]>("date", "local", "instant"), { nil: undefined }),
    duration: fc.option(fc.constantFrom(1, 45, 46, 200, 481), { nil: undefined }),
    type: fc.option(fc.constantFrom(...types), { nil: undefined }),
    capacity: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  });
  let found = 0;
  const equal = fc.asyncProperty(query, async ({ from, length, toKind = from.kind, ...filter }) => {
    const to = { kind: toKind, minutes: from.minutes + length };
    const expected: AvailableRoom[] = [];
    for (const room of rooms) {
      if (room.id === rooms[3]?.id || room.roomType !== (filter.type ?? room.roomType)) continue;
      if (room.capacity < (filter.capacity ?? 1)) continue;
      const [begin, end] = [
        instantOf(from, room.timeZone, { end: false }),
        instantOf(to, room.timeZone, { end: true }),
      ];
      const timeslots = (free.get(room.id) ?? []).filter(({ startTime, endTime }) => {
        const [start, over] = [Date.parse(startTime), Date.parse(endTime)];
        const isLong = over - start >= (filter.duration ?? 1) * 60_000;
        return isLong && start >= begin && (to.kind === "date" ? start < end : over <= end);
      });
      if (timeslots.length > 0) expected.push({ room, timeslots });
    }
    expected.sort((a, b) => a.room.name < b.room.name ? -1 : a.room.name > b.room.name ? 1 : a.room.id - b.room.id);
    const parameters = Object.entries({ from: textOf(from), to: textOf(to), ...filter }).filter(([, value]) =>
      value !== undefined
    );
    const { status, body } = await server.call("listAvailableRooms", { query: Object.fromEntries(parameters) });
    // Whole days at both ends may make the range longer than 7 days, which is refused.
    const isLong = length + (toKind === "date" ? 1_440 : 0) + (from.kind === "date" ? 1_440 : 0) > 7 * 1_440;
    if (status === 400 && isLong) return;
    found += expected.length;
    assert.deepEqual(body, {
      items: expected,
      minimumDuration: filter.duration ?? 1,
      total: expected.length,
      page: 1,
      limit: 50,
      pages: Math.min(1, expected.length),
      nextCursor: null,
    });
  });
  const numRuns = runs(20, 150);
  await fc.assert(equal, { numRuns, endOnFailure: true });
  assert(found > (isFullSize ? 100 : 0), `${found} rooms found by ${numRuns} searches`);
});
