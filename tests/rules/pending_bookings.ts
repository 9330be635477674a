/** Bookings under a limit of 5 pending ones. */
import assert from "node:assert/strict";
import { Problem, type Timeslot } from "../../generated/contract.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import type { TestServer } from "../support/server.ts";

export const env = { MAX_PENDING_BOOKINGS: "5" };

/** Free timeslots of two whole days, each an hour for 60.00 EUR. */
export async function newHours(server: TestServer, fields: Record<string, unknown> = {}): Promise<Timeslot[]> {
  const room = await newRoom(server, fields);
  const workingHours = { start: "00:00", end: "24:00" };
  const first = await newTimeslots(server, room, { date: "2026-03-09", workingHours });
  return [...first, ...await newTimeslots(server, room, { date: "2026-03-10", workingHours })];
}

/** Calls createBooking. Returns the status and the code: `201`, or `400 too_many_pending_bookings`. */
export async function book(
  server: TestServer,
  token: string,
  slot: Timeslot | undefined,
  key?: string,
): Promise<string> {
  assert(slot !== undefined);
  const { status, body } = await server.call("createBooking", {
    token,
    body: { roomId: slot.roomId, timeslotId: slot.id },
    headers: key === undefined ? {} : { "Idempotency-Key": key },
  });
  return status < 400 ? String(status) : `${status} ${Problem.parse(body).code}`;
}

/** The number of pending bookings of the token's user. Fails unless the list has all of them. */
export async function countPending(server: TestServer, token: string): Promise<number> {
  const query = { status: "pending", limit: 100 };
  const { items, total } = await server.ok("listBookings", { token, query });
  assert.equal(items.length, total);
  return total;
}

export const tooMany = "400 too_many_pending_bookings";
