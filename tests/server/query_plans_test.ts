/** No operation scans a large table: the test reads the plan of each statement. */
import assert from "node:assert/strict";
import { type CompiledQuery, type LogEvent, sql } from "kysely";
import postgres from "postgres";
import { operations } from "../../generated/contract.ts";
import { isSandboxPayments } from "../../src/payments/sandbox.ts";
import { type Call, type OperationId, startServer } from "../support/server.ts";

const rooms = 20;
/** One timeslot each four hours from 2026-01-01, so until 2026-03-25. */
const slotsPerRoom = 500;

/** Counts of all bookings, or of a status, need most rows of the table or an index. */
const countsAll = /\(select count\(\*\) as "total" from "bookings" as "b" where (1 = 1|b\.status = \$\d+)\) as total\s/;
const large = new Set<unknown>(["bookings", "timeslots", "booking_events", "checkouts", "payments", "refunds"]);

/** The tables that a plan scans sequentially. `withCount` is false for a plan whose only subplan counts all bookings. */
function scannedTables(plan: unknown, withCount: boolean): unknown[] {
  if (typeof plan !== "object" || plan === null) return [];
  if (!withCount && Reflect.get(plan, "Parent Relationship") === "InitPlan") return [];
  const here = Reflect.get(plan, "Node Type") === "Seq Scan" ? [Reflect.get(plan, "Relation Name")] : [];
  return [...here, ...Object.values(plan).flatMap((part) => scannedTables(part, withCount))];
}

Deno.test("query plans: operations, payment events, jobs and sweeps -> no sequential scan of a large table", async () => {
  const statements: CompiledQuery[] = [];
  const log = (event: LogEvent) => void statements.push(event.query);
  await using server = await startServer({ log, env: { PAYMENT_PROVIDER: "sandbox" } });
  const { db } = server;
  const direct = postgres(server.databaseUrl, { max: 1 });
  await sql`
    insert into users (subject) select 'user ' || n from generate_series(1, 1000) n
  `.execute(db);
  await sql`
    insert into rooms (name, capacity, room_type, hourly_rate, currency, time_zone, auto_confirm, is_active, metadata,
      created_at, updated_at)
    select 'Room ' || n, 1, 'meeting', 60, 'EUR', 'UTC', false, true, '{}', '2026-01-01Z', '2026-01-01Z'
    from generate_series(1, ${rooms}::integer) n
  `.execute(db);
  await sql`
    insert into timeslots (room_id, starts_at, ends_at)
    select r.id, t, t + interval '1 hour'
    from rooms r, generate_series(timestamptz '2026-01-01Z',
      '2026-01-01Z'::timestamptz + ${slotsPerRoom - 1} * interval '4 hours', '4 hours') t
    order by r.id, t
  `.execute(db);
  // The last slot of each room stays free. As usual, few bookings are pending: those of user 7 and a hundredth.
  await sql`
    insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
      amount_refunded, refund_amount, hold_expires_at, cancellation_tiers, created_at, updated_at)
    select 1 + t.id % 997, t.room_id, t.id,
      case when is_pending then 'pending' else 'confirmed' end::booking_status, 60, 'EUR',
      case when is_pending then 'unpaid' else 'paid' end::payment_status, case when is_pending then 0 else 60 end, 0, 0,
      case when t.id % 100 = 0 then timestamptz '2026-03-02T10:15:00Z' end, '[]',
      t.starts_at - interval '30 days', t.starts_at - interval '30 days'
    from timeslots t, lateral (select t.id % 997 = 6 or t.id % 100 = 0 as is_pending) s
    where t.id % ${slotsPerRoom} <> 0
  `.execute(db);
  await sql`
    insert into checkouts (id, booking_id, provider, reference, created_at, closed_at)
    select gen_random_uuid(), id, 'sandbox', id, created_at, case when hold_expires_at is null and id <> 20 then created_at end
    from bookings
  `.execute(db);
  await sql`
    insert into payments (provider, reference, checkout_id, booking_id, currency, amount, pays_booking, reported_refunded, paid_at)
    select 'sandbox', id, id, booking_id, 'EUR', 60, true, 0, created_at from checkouts
  `.execute(db);
  await sql`
    insert into refunds (id, payment_id, booking_id, amount, target, status, idempotency_key, job_id, requested_at)
    select gen_random_uuid(), id, booking_id, 60, 60, 'succeeded', gen_random_uuid(), id, paid_at from payments
  `.execute(db);
  await sql`
    insert into booking_events (transaction_id, type, user_id, room_id, booking_id, occurred_at, data)
    select (id % 500)::text::xid8, 'created'::booking_event_type, user_id, room_id, id, created_at, '{}'::jsonb from bookings
    union all
    select (id % 500)::text::xid8, 'taken', null, room_id, null, created_at, '{}'::jsonb from bookings
  `.execute(db);
  await sql`vacuum analyze`.execute(db);

  const user = await server.token("user 7");
  const admin = await server.token("user 8", "admin");
  const lastSlot = { roomId: 1, timeslotId: slotsPerRoom };
  const { rows: [booking, otherBooking] } = await sql<{ id: number; room_id: number }>`
    select b.id, b.room_id from bookings b join users u on u.id = b.user_id join timeslots t on t.id = b.timeslot_id
    where u.subject = 'user 7' and t.starts_at > '2026-03-10Z' order by b.id limit 2
  `.execute(db);
  assert(booking && otherBooking);
  const bookingId = booking.id;
  /** A call with the cursor after the first page. */
  const after = async (id: OperationId, call: Call = {}): Promise<Call> => {
    const { nextCursor } = await server.ok(id, { ...call, query: { ...call.query, limit: 1 } }) as Record<
      string,
      unknown
    >;
    return { ...call, query: { ...call.query, after: nextCursor } };
  };
  const calls: Record<OperationId, Call[]> = {
    listRooms: [{}, await after("listRooms"), await after("listRooms", { query: { sort: "created" } })],
    getRoom: [{ params: { roomId: 1 } }],
    listAvailableRooms: [
      { query: { from: "2026-03-20", to: "2026-03-26" } },
      { query: { from: "2026-03-20T10:00", to: "2026-03-20T12:00Z", type: "meeting", capacity: 1, page: 2 } },
    ],
    listFreeTimeslots: [{ params: { roomId: 1 }, query: { date: "2026-03-25" } }],
    createBooking: [{ token: user, body: lastSlot }, { token: user, body: lastSlot }],
    listBookings: [
      { token: user },
      { token: user, query: { status: "pending", from_date: "2026-03-01", to_date: "2026-03-20T10:00:00Z" } },
      { token: user, query: { sort: "start" } },
      { token: user, query: { sort: "start", from_date: "2026-03-01" } },
      await after("listBookings", { token: user }),
      await after("listBookings", { token: user, query: { sort: "start" } }),
    ],
    getBooking: [{ token: user, params: { bookingId } }],
    getCancellation: [{ token: user, params: { bookingId } }],
    createCheckout: [{ token: user, params: { bookingId } }],
    receivePaymentEvent: [],
    rescheduleBooking: [
      { token: user, params: { bookingId }, body: { newTimeslotId: booking.room_id * slotsPerRoom } },
      { token: user, params: { bookingId }, body: { newTimeslotId: bookingId } },
    ],
    cancelBooking: [
      { token: user, params: { bookingId: otherBooking.id } },
      { token: user, params: { bookingId: otherBooking.id } },
    ],
    listEvents: [
      { token: user },
      { token: user, query: { after: "latest", roomId: 1 } },
      { token: admin },
      { token: admin, query: { userId: 7 } },
      { token: admin, query: { roomId: 1 } },
    ],
    createSocketTicket: [{ token: user }],
    openSocket: [{ token: user }, { query: { ticket: "none" } }],
    getMe: [{ token: user }],
    createRoom: [{ token: admin, body: { name: "New", roomType: "office" } }],
    updateRoom: [{ token: admin, params: { roomId: 2 }, body: { capacity: 2 } }],
    deleteRoom: [{ token: admin, params: { roomId: 3 } }],
    generateTimeslots: [{ token: admin, body: { roomId: 2, startDate: "2026-06-01", endDate: "2026-06-02" } }],
    listTimeslots: [
      { token: admin, query: { roomId: 1, from: "2026-03-03", to: "2026-03-04" } },
      { token: admin, query: { roomId: 1, page: 4 } },
      await after("listTimeslots", { token: admin, query: { roomId: 1 } }),
    ],
    deleteTimeslot: [
      { token: admin, params: { timeslotId: 10 } },
      { token: admin, params: { timeslotId: rooms * slotsPerRoom } },
    ],
    listAllBookings: [
      { token: admin, query: { page: 3 } },
      await after("listAllBookings", { token: admin }),
      await after("listAllBookings", { token: admin, query: { sort: "start" } }),
      { token: admin, query: { sort: "start" } },
      { token: admin, query: { sort: "start", order: "desc", page: 3 } },
      { token: admin, query: { order: "asc", status: "confirmed" } },
      { token: admin, query: { sort: "start", userId: 5 } },
      { token: admin, query: { sort: "start", roomId: 3 } },
      { token: admin, query: { status: "cancelled" } },
      { token: admin, query: { roomId: 1, limit: 100 } },
      { token: admin, query: { userId: 5 } },
      { token: admin, query: { fromDate: "2026-02-01", toDate: "2026-02-02" } },
      {
        token: admin,
        query: { startFrom: "2026-03-03T08:00", startTo: "2026-03-03T12:00", sort: "start", order: "desc" },
      },
      { token: admin, query: { startFrom: "2026-03-03T08:00", startTo: "2026-03-03T12:00:00Z" } },
      { token: admin, query: { startFrom: "2026-03-03T08:00", startTo: "2026-03-03T12:00", sort: "start", roomId: 3 } },
      {
        token: admin,
        query: { startFrom: "2026-03-03T08:00", startTo: "2026-03-03T12:00", status: "confirmed", sort: "start" },
      },
    ],
    updateBookingStatus: [
      { token: admin, params: { bookingId: 400 }, body: { status: "confirmed" } },
      { token: admin, params: { bookingId: 20 }, body: { status: "completed" } },
      { token: admin, params: { bookingId: 20 }, body: { status: "confirmed" } },
    ],
    retryRefund: [{ token: admin, params: { bookingId: 20 } }],
    settleRefund: [{ token: admin, params: { bookingId: 20 } }],
    refundBooking: [{ token: admin, params: { bookingId: 20 }, body: { amount: 1 } }],
    listApiKeys: [{ token: admin, query: { page: 2 } }],
    createApiKey: [{ token: admin, body: { name: "Displays", scopes: ["events:read"] } }],
    revokeApiKey: [{ token: admin, params: { apiKeyId: 1 } }],
    listAuditLog: [
      { token: admin },
      { token: admin, query: { userId: 7, resource: "room", resourceId: 3 } },
      { token: admin, query: { operation: "updateRoom", fromDate: "2026-02-01", toDate: "2026-02-02" } },
    ],
    getSandboxClock: [{ token: admin }],
    setSandboxClock: [{ token: admin, body: { now: "2026-03-02T10:20:00Z" } }],
    resetSandboxClock: [{ token: admin }],
    getBookingStats: [
      { token: admin, query: { fromDate: "2026-02-01", toDate: "2026-02-02" } },
      { token: admin, query: { fromDate: "2026-02-01", toDate: "2026-02-07" } },
      { token: admin, query: { fromDate: "2026-02-01", toDate: "2026-02-28", roomId: 5 } },
    ],
    getHealth: [{}],
    getReadiness: [{}],
  };
  /** Statements that were checked, with and without their parameters. */
  const checked = new Set<string>();
  const isNew = (key: string): boolean => checked.size < checked.add(key).size;
  const assertPlans = async (subject: string) => {
    const executed = statements.filter(({ sql }) => !/^(start transaction|commit)/.test(sql));
    for (const { sql, parameters } of executed) {
      const plans: unknown[] = [];
      if (isNew(sql + JSON.stringify(parameters))) {
        plans.push(await direct.unsafe(`explain (format json) ${sql}`, [...parameters] as string[]));
      }
      // After five executions Postgres may use one plan for all parameters, which may not use a partial index.
      if (isNew(sql)) plans.push(await direct.unsafe(`explain (generic_plan, format json) ${sql}`).simple());
      const scanned = plans.flatMap((plan) => scannedTables(plan, !countsAll.test(sql))).filter((table) =>
        large.has(table)
      );
      assert.deepEqual(scanned, [], `${subject}\n${sql}`);
    }
  };
  try {
    for (const id of Object.keys(operations) as OperationId[]) {
      for (const call of calls[id]) {
        statements.length = 0;
        await server.call(id, call);
        await assertPlans(`${id} ${JSON.stringify(call)}`);
      }
    }
    const checkout = await db.selectFrom("checkouts").select("id").where("booking_id", "=", 20)
      .executeTakeFirstOrThrow();
    const payment = { checkout: checkout.id, payment: "sandbox_payment", cents: 6_000, currency: "EUR" };
    for (const type of ["failed", "paid", "refunded", "expired"] as const) {
      statements.length = 0;
      assert(isSandboxPayments(server.payments));
      const webhook = await server.payments.sign({ id: type, type, ...payment });
      const response = await fetch(`${server.url}/api/v1/payments/webhook/sandbox`, { method: "POST", ...webhook });
      assert.deepEqual([response.status, await response.json()], [200, { message: "Event received" }]);
      await assertPlans(`a payment event: ${type}`);
    }
    statements.length = 0;
    await server.work();
    await assertPlans("the jobs");
    statements.length = 0;
    await server.sweep();
    assert(statements.length >= 3);
    await assertPlans("a sweep");
  } finally {
    await direct.end();
  }
});
