/** Rooms, timeslots and bookings for tests, created through the API. */
import { sql } from "kysely";
import assert from "node:assert/strict";
import type { Booking, Room, Timeslot } from "../../generated/contract.ts";
import type { TestServer } from "./server.ts";

/** An id that no room, timeslot, booking or event of a test reaches. */
export const missingId = 2_000_000_000;

/** A meeting room in UTC at 60.00 EUR an hour, unless `fields` say otherwise. */
export async function newRoom(server: TestServer, fields: Record<string, unknown> = {}): Promise<Room> {
  const body = { name: "Test room", roomType: "meeting", hourlyRate: 60, timeZone: "UTC", currency: "EUR", ...fields };
  return await server.ok("createRoom", { token: await server.token("admin", "admin"), body });
}

/** Free timeslots of `date` (`YYYY-MM-DD`) in the room, by default hourly from 09:00 to 17:00. */
export async function newTimeslots(
  server: TestServer,
  { id: roomId }: Room,
  { date, ...rules }: { date: string } & Record<string, unknown>,
): Promise<Timeslot[]> {
  const token = await server.token("admin", "admin");
  const body = { roomId, startDate: date, endDate: date, slotDuration: 60, ...rules };
  await server.ok("generateTimeslots", { token, body });
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date, duration: 1 } });
  return timeslots;
}

/** A room with one timeslot on 2026-03-09 (a week after the clock's start), 09:00 to 10:00 UTC. */
export async function newRoomWithTimeslot(
  server: TestServer,
  fields: Record<string, unknown> = {},
): Promise<{ room: Room; timeslot: Timeslot }> {
  const room = await newRoom(server, fields);
  const workingHours = { start: "09:00", end: "10:00" };
  const [timeslot] = await newTimeslots(server, room, { date: "2026-03-09", workingHours });
  assert(timeslot);
  return { room, timeslot };
}

/** A pending booking of `subject`. */
export async function newBooking(server: TestServer, subject: string, { id, roomId }: Timeslot): Promise<Booking> {
  const token = await server.token(subject);
  const { booking } = await server.ok("createBooking", { token, body: { roomId, timeslotId: id } });
  return booking;
}

/**
 * Inserts a booking of a user for each of these timeslots, pending or confirmed and paid. One statement is faster than many
 * requests. It adds no holds, events, jobs or audit entries. All of the payment is refunded until 24 hours before the start.
 *
 * @returns the ids of the bookings.
 */
export async function insertBookings(
  { db, clock }: TestServer,
  userId: number,
  slots: Pick<Timeslot, "id">[],
  status: "pending" | "confirmed" = "pending",
): Promise<number[]> {
  const [now, isPaid, tiers] = [clock.now(), status === "confirmed", '[{"hours": 24, "percent": 100}]'];
  const { rows } = await sql<{ id: number }>`
    insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
      amount_refunded, cancellation_tiers, created_at, updated_at)
    select ${userId}, t.room_id, t.id, ${status}::booking_status, price, r.currency,
      (case when price = 0 then 'not_required' when ${isPaid} then 'paid' else 'unpaid' end)::payment_status,
      case when ${isPaid} then price else 0 end, 0, ${tiers}::text::jsonb, ${now}, ${now}
    from timeslots t join rooms r on r.id = t.room_id,
      round(coalesce(r.hourly_rate, 0) * extract(epoch from t.ends_at - t.starts_at) / 3600, 2) price
    where t.id in (${sql.join(slots.map(({ id }) => id))})
    order by t.id
    returning id
  `.execute(db);
  return rows.map(({ id }) => id);
}

/** The id of a user. */
export async function userIdOf(server: TestServer, subject: string): Promise<number> {
  const { id } = await server.ok("getMe", { token: await server.token(subject) });
  return id;
}

/** Confirms a booking as an admin, which marks it paid. */
export async function confirm(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  const token = await server.token("admin", "admin");
  return await server.ok("updateBookingStatus", { token, params: { bookingId }, body: { status: "confirmed" } });
}

/**
 * Alice books a timeslot of a new room at each of these instants.
 *
 * @returns the room. The clock stays at the last instant.
 */
export async function bookAt(server: TestServer, instants: string[]): Promise<Room> {
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, { date: "2026-12-01", slotDuration: 30 });
  for (const [index, instant] of instants.entries()) {
    server.clock.set(instant);
    const slot = slots[index];
    assert(slot);
    await newBooking(server, "alice", slot);
  }
  return room;
}
