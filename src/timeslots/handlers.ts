import { parseMoment } from "../calendar.ts";
import type { Handlers } from "../http/handlers.ts";
import { freeTimeslots, generateTimeslots, type TimeslotChangeRules, withdrawTimeslot } from "./timeslots.ts";

type TimeslotOperations = "listFreeTimeslots" | "generateTimeslots" | "deleteTimeslot";

export function timeslotHandlers(rules: TimeslotChangeRules): Pick<Handlers, TimeslotOperations> {
  return {
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
