/** A server without other rooms, and the alternatives in its refusals. */
import assert from "node:assert/strict";
import type { Problem, Timeslot } from "../../generated/contract.ts";
import { type SharedServer, sharedServer, type SharedServerOptions, type TestServer } from "../support/server.ts";

/** The day of the timeslots. */
export const date = "2026-03-09";

/** A server without active rooms of earlier tests, because their timeslots would be alternatives. */
export async function quietServer(options: SharedServerOptions = {}): Promise<SharedServer> {
  const server = await sharedServer({ ...options, group: "alternatives" });
  await server.db.updateTable("rooms").set({ is_active: false }).execute();
  return server;
}

export function alternativesOf({ alternatives }: Problem): Timeslot[] {
  return alternatives ?? assert.fail("a timeslot_unavailable without alternatives");
}

/** The alternatives in the answer to `subject`, who books a taken timeslot. */
export async function offered(server: TestServer, subject: string, { id, roomId }: Timeslot): Promise<Timeslot[]> {
  const body = { roomId, timeslotId: id };
  const call = { token: await server.token(subject), body };
  return alternativesOf(await server.refused("timeslot_unavailable", "createBooking", call));
}

/** The element at `index`. Fails if there is none. */
export function at<T>(list: T[], index: number): T {
  return list[index] ?? assert.fail(`there is no ${index}`);
}
