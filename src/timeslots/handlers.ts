import type { Handlers } from "../contract/handlers.ts";
import { parseMoment } from "../time/calendar.ts";
import type { Clock } from "../time/clock.ts";
import { parseRange } from "../time/ranges.ts";
import { listAvailableRooms, parseSearchRange } from "./available_rooms.ts";
import { RoomTimeZones } from "./room_time_zones.ts";
import { deleteTimeslot, generateTimeslots, listFreeTimeslots, listTimeslots } from "./timeslots.ts";

type TimeslotOperations =
  | "listAvailableRooms"
  | "listFreeTimeslots"
  | "listTimeslots"
  | "generateTimeslots"
  | "deleteTimeslot";

export function timeslotHandlers({ clock }: { clock: Clock }): Pick<Handlers, TimeslotOperations> {
  const timeZones = new Set<string>();
  const roomTimeZones = new RoomTimeZones();
  return {
    async listAvailableRooms({ query: { from, to, duration, type = null, capacity = 1, page, limit } }, { db }) {
      const range = parseSearchRange(from, to);
      const query = { range, minimumMinutes: duration, type, capacity, limit, offset: (page - 1) * limit };
      const { items, total } = await listAvailableRooms({ db, clock, timeZones }, query);
      return {
        status: 200,
        body: { items, minimumDuration: duration, total, page, limit, pages: Math.ceil(total / limit) },
      };
    },

    async listFreeTimeslots({ params: { roomId }, query: { date, duration } }, { db }) {
      const moment = parseMoment(date, { in: "query", path: "date" });
      return {
        status: 200,
        body: await listFreeTimeslots({ db, clock, timeZones: roomTimeZones }, {
          roomId,
          moment,
          minimumMinutes: duration,
        }),
      };
    },

    async generateTimeslots({ body }, scope) {
      return { status: 201, body: await generateTimeslots({ clock, ...scope }, body) };
    },

    async deleteTimeslot({ params: { timeslotId } }, scope) {
      const withdrawnAt = await deleteTimeslot({ clock, ...scope }, timeslotId);
      const message = withdrawnAt === null ? "Timeslot deleted" : "Timeslot withdrawn";
      return { status: 200, body: { message, withdrawnAt } };
    },

    async listTimeslots({ query: { roomId, from, to, page, limit } }, { db }) {
      const range = parseRange({ path: "from", text: from }, { path: "to", text: to });
      const { items, total } = await listTimeslots(db, { roomId, range, limit, offset: (page - 1) * limit });
      return { status: 200, body: { items, total, page, limit } };
    },
  };
}
