import { parseMoment } from "../time/calendar.ts";
import type { Handlers } from "../contract/handlers.ts";
import type { InTurn } from "../turns.ts";
import { parseSearchRange, searchRooms, type SearchRules } from "./search.ts";
import { freeTimeslots, generateTimeslots, type TimeslotChangeRules, withdrawTimeslot } from "./timeslots.ts";

type TimeslotOperations = "listAvailableRooms" | "listFreeTimeslots" | "generateTimeslots" | "deleteTimeslot";

/** The largest searches take a hundred times as long as listing the timeslots of a day, to which they leave the database. */
export const searches = { atOnce: 2, mostWaiting: 100 };

export function timeslotHandlers(
  rules: TimeslotChangeRules & SearchRules & { inSearchTurn: InTurn },
): Pick<Handlers, TimeslotOperations> {
  return {
    async listAvailableRooms({ query: { from, to, duration, type = null, capacity = 1, page, limit } }) {
      const range = parseSearchRange(from, to);
      const query = { range, minimumMinutes: duration, type, capacity, limit, offset: (page - 1) * limit };
      const { items, total } = await rules.inSearchTurn(() => searchRooms(rules, query));
      return { status: 200, body: { items, total, page, limit, pages: Math.ceil(total / limit) } };
    },

    async listFreeTimeslots({ params: { roomId }, query: { date, duration } }) {
      const moment = parseMoment(date, { in: "query", path: "date" });
      return { status: 200, body: await freeTimeslots(rules, { roomId, moment, minimumMinutes: duration }) };
    },

    async generateTimeslots({ body }) {
      return { status: 201, body: await generateTimeslots(rules, body) };
    },

    async deleteTimeslot({ params: { timeslotId } }) {
      await withdrawTimeslot(rules, timeslotId);
      return { status: 200, body: { message: "Timeslot deleted" } };
    },
  };
}
