/** Alternatives, compared with a search of all timeslots in a few lines. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Room, Timeslot } from "../../generated/contract.ts";
import { insertBookings, newBooking, newRoom, newTimeslots, userIdOf } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { at, date, offered, quietServer } from "./alternatives.ts";

interface Scene {
  wantedRoom: number;
  wanted: number;
  /** Indexes of taken timeslots, counted over all rooms. */
  taken: number[];
  nowHour: number;
}

// Lengths in minutes, on a day of 24 hours.
const layouts = [
  { roomType: "office", capacity: 2, slotDuration: 60 },
  { roomType: "office", capacity: 4, slotDuration: 90 },
  { roomType: "office", capacity: 4, slotDuration: 60 },
  { roomType: "meeting", capacity: 9, slotDuration: 60 },
];

Deno.test("alternatives: any rooms, bookings and time -> equal to those of a search of all timeslots, and bookable", async () => {
  const scene: fc.Arbitrary<Scene> = fc.record({
    wantedRoom: fc.nat(layouts.length - 1),
    wanted: fc.nat(15),
    taken: fc.uniqueArray(fc.nat(87), { minLength: 40, maxLength: 84 }),
    nowHour: fc.nat(18),
  });
  let offeredElsewhere = 0;
  const property = fc.asyncProperty(scene, async ({ wantedRoom, wanted, taken, nowHour }) => {
    await using server = await quietServer();
    const rooms: { room: Room; slots: Timeslot[] }[] = [];
    for (const { slotDuration, ...fields } of layouts) {
      const room = await newRoom(server, fields);
      const workingHours = { start: "00:00", end: "24:00" };
      rooms.push({ room, slots: await newTimeslots(server, room, { date, slotDuration, workingHours }) });
    }
    const { room, slots } = at(rooms, wantedRoom);
    const target = at(slots, wanted);
    const all = rooms.flatMap(({ slots }) => slots);
    const busy = new Set([target.id, ...taken.flatMap((index) => all[index]?.id ?? [])]);
    await insertBookings(server, await userIdOf(server, "bob"), all.filter(({ id }) => busy.has(id)));
    const now = `${date}T${String(nowHour).padStart(2, "0")}:00:00.000Z`;
    server.clock.set(now);

    const lengthOf = ({ startTime, endTime }: Timeslot) => Date.parse(endTime) - Date.parse(startTime);
    const distanceOf = ({ startTime }: Timeslot) => Math.abs(Date.parse(startTime) - Date.parse(target.startTime));
    const expected = rooms
      .filter(({ room: { roomType, capacity } }) => roomType === room.roomType && capacity >= room.capacity)
      .flatMap(({ slots }) => slots)
      .filter((slot) => !busy.has(slot.id) && slot.startTime > now && lengthOf(slot) >= lengthOf(target))
      .sort((a, b) =>
        Number(a.roomId !== room.id) - Number(b.roomId !== room.id) || distanceOf(a) - distanceOf(b) ||
        Date.parse(a.startTime) - Date.parse(b.startTime) || a.id - b.id
      );
    const alternatives = await offered(server, "alice", target);
    assert.deepEqual(alternatives, expected.slice(0, 3));
    offeredElsewhere += alternatives.filter(({ roomId }) => roomId !== room.id).length;
    for (const slot of alternatives) await newBooking(server, "alice", slot);
  });
  // Random scenes may always leave a timeslot of the room free. This one leaves none.
  const full: Scene = { wantedRoom: 0, wanted: 9, taken: Array.from({ length: 24 }, (_, index) => index), nowHour: 0 };
  await fc.assert(property, { numRuns: runs(3, 15), examples: [[full]], endOnFailure: true });
  assert(offeredElsewhere > 0);
});
