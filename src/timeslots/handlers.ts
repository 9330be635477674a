import type { Config } from "../config.ts";
import type { Handlers } from "../contract/handlers.ts";
import { pageBody, pageRange } from "../contract/pages.ts";
import { isoOf } from "../database/instants.ts";
import { parseMoment } from "../time/calendar.ts";
import type { Clock } from "../time/clock.ts";
import { parseRange } from "../time/ranges.ts";
import type { FoundRoomRow } from "./available_room_queries.ts";
import { listAvailableRooms, parseSearchRange, toAvailableRoom } from "./available_rooms.ts";
import { RoomTimeZones } from "./room_time_zones.ts";
import {
  deleteTimeslot,
  generateTimeslots,
  listFreeTimeslots,
  listTimeslots,
  type TimeslotRow,
  toAdminTimeslot,
} from "./timeslots.ts";

type TimeslotOperations =
  | "listAvailableRooms"
  | "listFreeTimeslots"
  | "listTimeslots"
  | "generateTimeslots"
  | "deleteTimeslot";

export interface TimeslotOptions {
  clock: Clock;
  config: Pick<Config, "defaultTimeZone">;
}

export function timeslotHandlers({ clock, config }: TimeslotOptions): Pick<Handlers, TimeslotOperations> {
  const timeZones = new Set<string>();
  const roomTimeZones = new RoomTimeZones();
  return {
    async listAvailableRooms({ query }, { db }) {
      const { from, to, duration, type = null, capacity = 1, limit } = query;
      const order = query.sort === "name" ? "name" : "id";
      const range = parseSearchRange({ from, to, zone: config.defaultTimeZone });
      const search = { range, minimumMinutes: duration, type, capacity, order } as const;
      const found = await listAvailableRooms({ db, clock, timeZones }, { ...search, ...pageRange(order, query) });
      const valueOf = ({ name }: FoundRoomRow) => order === "name" ? name : null;
      const body = pageBody(found, query, { order, toItem: toAvailableRoom, valueOf });
      return { status: 200, body: { ...body, minimumDuration: duration, pages: Math.ceil(found.total / limit) } };
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

    async listTimeslots({ query }, { db }) {
      const { roomId, from, to } = query;
      const range = parseRange({ path: "from", text: from }, { path: "to", text: to });
      const found = await listTimeslots(db, { roomId, range, ...pageRange("start", query) });
      const form = {
        order: "start",
        toItem: toAdminTimeslot,
        valueOf: (row: TimeslotRow) => isoOf(row.starts_at),
      } as const;
      return { status: 200, body: pageBody(found, query, form) };
    },
  };
}
