/** Cancellations at a chosen time before the start of a timeslot. */
import type { Booking, Cancellation, Timeslot } from "../../generated/contract.ts";
import type { TestServer } from "../support/server.ts";

export const hour = 3_600_000;
export const start = "2026-03-02T10:00:00.000Z";

/** Moves the clock to so many milliseconds before the start. */
export function moveClock(server: TestServer, { startTime }: Timeslot, ahead: number): void {
  server.clock.set(before({ startTime }, ahead));
}

export function before({ startTime }: { startTime: string }, ahead: number): string {
  return new Date(Date.parse(startTime) - ahead).toISOString();
}

export async function quote(server: TestServer, { id: bookingId }: Booking): Promise<Cancellation> {
  return await server.ok("getCancellation", { token: await server.token("alice"), params: { bookingId } });
}

export async function cancel(server: TestServer, { id: bookingId }: Booking): Promise<number> {
  const request = { token: await server.token("alice"), params: { bookingId } };
  return (await server.ok("cancelBooking", request)).refundAmount;
}
