/**
 * The ceiling: the smallest server that answers the same JSON. It has no validation, no events, no limits and no log. Its
 * requests share no code with the server, so nothing slow there can slow the ceiling. Run by the benchmarks: it reads the
 * users of tokens from standard input, and listens on `PORT`.
 */
import connectTo, { type Row } from "postgres";
import { parseConfig } from "../../src/config.ts";
import { cancelBooking, createBooking, getBooking, listBookings, listFreeTimeslots, listRooms } from "./statements.ts";

export interface BareUser {
  id: number;
  subject: string;
}

const { databaseUrl = "", databasePool, port } = parseConfig(Deno.env.toObject());
const sql = connectTo(databaseUrl, {
  max: databasePool,
  connection: { TimeZone: "UTC" },
  types: { bigint: { to: 20, from: [20], parse: Number, serialize: String } },
});
const run = (parts: TemplateStringsArray, ...values: (string | number)[]) => sql<Row[]>(parts, ...values);
const pairs: [string, BareUser][] = await new Response(Deno.stdin.readable).json();
const users = new Map(pairs.map(([token, user]) => [`Bearer ${token}`, user]));

function toRoom(row: Row) {
  return {
    id: row.id,
    name: row.name,
    description: row.description,
    capacity: row.capacity,
    roomType: row.room_type,
    hourlyRate: row.hourly_rate === null ? null : Number(row.hourly_rate),
    currency: row.currency,
    timeZone: row.time_zone,
    autoConfirm: row.auto_confirm,
    isActive: row.is_active,
    metadata: row.metadata,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function toBooking(row: Row) {
  return {
    id: row.id,
    userId: row.user_id,
    roomId: row.room_id,
    timeslotId: row.timeslot_id,
    status: row.status,
    bookingType: row.booking_type,
    notes: row.notes,
    price: Number(row.price),
    currency: row.currency,
    paymentStatus: row.payment_status,
    amountPaid: Number(row.amount_paid),
    amountRefunded: Number(row.amount_refunded),
    refundAmount: Number(row.refund_amount),
    holdExpiresAt: row.hold_expires_at,
    cancellationTiers: row.cancellation_tiers,
    maxRefundPercent: row.max_refund_percent,
    cancellationReason: row.cancellation_reason,
    cancelledAt: row.cancelled_at,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    room: { id: row.room_id, name: row.room_name, roomType: row.room_type, timeZone: row.time_zone },
    timeslot: { id: row.timeslot_id, roomId: row.room_id, startTime: row.starts_at, endTime: row.ends_at },
  };
}

const refused = (status: number, message: string) => Response.json({ message }, { status });

const cursorOf = (place: unknown[]) =>
  new TextEncoder().encode(JSON.stringify(place)).toBase64({ alphabet: "base64url", omitPadding: true });

async function answer(request: Request): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const { method } = request;
  if (pathname === "/readyz") return new Response();
  const page = Number(searchParams.get("page") ?? 1);
  const limit = Number(searchParams.get("limit") ?? 25);
  const offset = (page - 1) * limit;

  if (method === "GET" && pathname === "/api/v1/bookings/rooms") {
    const rows = await listRooms(run, { limit, offset });
    const total = rows[0]?.total ?? 0;
    const last = offset + rows.length < total ? rows.at(-1) : undefined;
    const nextCursor = last === undefined ? null : cursorOf(["name", last.name, last.id]);
    const pages = Math.ceil(total / limit);
    return Response.json({ items: rows.map(toRoom), total, page, limit, pages, nextCursor });
  }
  const room = /^\/api\/v1\/bookings\/rooms\/(\d+)\/timeslots$/.exec(pathname);
  if (method === "GET" && room !== null) {
    const date = searchParams.get("date") ?? "";
    const duration = Number(searchParams.get("duration"));
    const [row] = await listFreeTimeslots(run, { roomId: Number(room[1]), date, duration });
    if (row === undefined) return refused(404, "Room not found");
    const timeslots = row.timeslots.map((slot: { id: number; starts_at: string; ends_at: string }) => ({
      id: slot.id,
      roomId: row.id,
      startTime: new Date(slot.starts_at),
      endTime: new Date(slot.ends_at),
    }));
    return Response.json({ room: toRoom(row), date, minimumDuration: duration, timeslots });
  }

  const user = users.get(request.headers.get("authorization") ?? "");
  if (user === undefined) return refused(401, "Unknown token");
  if (method === "GET" && pathname === "/api/v1/me") {
    return Response.json({ ...user, role: "user", scopes: null, name: null, email: null });
  }
  if (method === "GET" && pathname === "/api/v1/bookings") {
    const rows = await listBookings(run, { userId: user.id, limit, offset });
    const total = rows[0]?.total ?? 0;
    const last = offset + rows.length < total ? rows.at(-1) : undefined;
    const nextCursor = last === undefined ? null : cursorOf(["created", last.created_at.toISOString(), last.id]);
    return Response.json({ items: rows.map(toBooking), total, page, limit, nextCursor });
  }
  if (method === "POST" && pathname === "/api/v1/bookings") {
    const { roomId, timeslotId } = await request.json();
    const [row] = await createBooking(run, { userId: user.id, roomId, timeslotId });
    if (row === undefined) return refused(400, "The timeslot cannot be booked");
    const message = "Booking created. Complete payment to confirm.";
    return Response.json({ booking: toBooking(row), checkoutUrl: null, message }, { status: 201 });
  }
  const booking = /^\/api\/v1\/bookings\/(\d+)$/.exec(pathname);
  if (method === "GET" && booking !== null) {
    const [row] = await getBooking(run, { id: Number(booking[1]) });
    if (row === undefined) return refused(404, "Booking not found");
    return row.user_id === user.id ? Response.json(toBooking(row)) : refused(403, "Another user's booking");
  }
  const cancelled = /^\/api\/v1\/bookings\/(\d+)\/cancel$/.exec(pathname);
  if (method === "PUT" && cancelled !== null) {
    const [row] = await cancelBooking(run, { id: Number(cancelled[1]), userId: user.id });
    if (row === undefined) return refused(400, "The booking cannot be cancelled");
    const message = "Booking cancelled successfully";
    return Response.json({ booking: toBooking(row), refundAmount: Number(row.refund), message });
  }
  return refused(404, "Not found");
}

Deno.serve({ hostname: "127.0.0.1", port, onListen: () => {} }, answer);
