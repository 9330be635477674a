/** Two servers on one database: expiries, jobs and webhooks take effect once. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import type { Database } from "../../src/database/connect.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { startStripe, type StripeStandIn } from "../support/stripe_stand_in.ts";

const start = "2026-03-02T10:00:00.000Z";
const holdMinutes = 15;

interface Pair extends AsyncDisposable {
  servers: [TestServer, TestServer];
  stripe: StripeStandIn;
  slots: Timeslot[];
  /** Advances both clocks. */
  advance(minutes: number): void;
}

async function newPair(): Promise<Pair> {
  await using stack = new AsyncDisposableStack();
  const stripe = stack.use(await startStripe());
  const options = { now: start, env: { ...stripe.env, HOLD_MINUTES: String(holdMinutes) } };
  const first = stack.use(await startServer(options));
  const second = stack.use(await startServer({ ...options, database: { url: first.databaseUrl } }));
  const slots = await newTimeslots(first, await newRoom(first), { date: "2026-03-09", slotDuration: 5 });
  const whole = stack.move();
  return {
    servers: [first, second],
    stripe,
    slots,
    advance(minutes) {
      const time = new Date(first.clock.now().getTime() + minutes * 60_000).toISOString();
      for (const server of [first, second]) server.clock.set(time);
    },
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

interface Waiting {
  booking: Booking;
  session: string;
}

/** Books timeslots for alice, each with a checkout. */
async function bookMany({ servers: [server], slots }: Pair, count: number): Promise<Waiting[]> {
  const token = await server.token("alice");
  return await Promise.all(
    slots.splice(0, count).map(async ({ id: timeslotId, roomId }) => {
      const { booking, checkoutUrl } = await server.ok("createBooking", { token, body: { roomId, timeslotId } });
      return { booking, session: checkoutUrl?.split("/").at(-1) ?? "" };
    }),
  );
}

async function deliver(server: TestServer, { body, headers }: Webhook): Promise<void> {
  const call = { params: { provider: "stripe" }, body, headers: Object.fromEntries(headers) };
  await server.ok("receivePaymentEvent", call);
}

/** Pays at Stripe. Returns its webhook. */
function pay({ stripe }: Pair, { session }: Waiting): Promise<Webhook> {
  stripe.pay(session);
  return stripe.completed(session);
}

/** Types of the events of each booking and its timeslot, in order. */
async function eventTypes(db: Kysely<Database>, bookings: Booking[]): Promise<string[][]> {
  return await Promise.all(bookings.map(async ({ id, timeslotId }) => {
    const { rows } = await sql<{ type: string }>`
      select type from booking_events
      where booking_id = ${id} or (type in ('taken', 'freed') and (data->>'timeslot_id')::bigint = ${timeslotId})
      order by transaction_id, id
    `.execute(db);
    return rows.map(({ type }) => type);
  }));
}

const each = <Value>(values: unknown[], value: Value): Value[] => values.map(() => value);

Deno.test("holds: two servers sweep at once -> each booking cancelled and its checkout closed once", async () => {
  await using pair = await newPair();
  const { servers: [first, second], stripe } = pair;
  const waiting = await bookMany(pair, 30);
  pair.advance(holdMinutes);
  await Promise.all([first, second, first, second].map((server) => server.sweep()));
  await Promise.all([first, second].map((server) => server.sweep()));

  const token = await first.token("alice");
  const { items } = await first.ok("listBookings", { token, query: { limit: 100 } });
  assert.deepEqual(items.map(({ status }) => status), each(waiting, "cancelled"));
  assert.deepEqual(items.map(({ cancellationReason }) => cancellationReason), each(waiting, "hold_expired"));
  const types = await eventTypes(first.db, items);
  assert.deepEqual(types, each(waiting, ["created", "taken", "cancelled", "freed"]));

  await Promise.all([first, second].map((server) => server.work()));
  const closed = stripe.requests.flatMap(({ path }) =>
    /^\/v1\/checkout\/sessions\/(\w+)\/expire$/.exec(path)?.[1] ?? []
  );
  assert.deepEqual(closed.sort(), waiting.map(({ session }) => session).sort());
});

Deno.test("refunds: two servers run jobs at once -> each refund requested once", async () => {
  await using pair = await newPair();
  const { servers: [first, second], stripe } = pair;
  const waiting = await bookMany(pair, 20);
  for (const each of waiting) await deliver(first, await pay(pair, each));
  const token = await first.token("alice");
  for (const { booking } of waiting) await second.ok("cancelBooking", { token, params: { bookingId: booking.id } });
  await Promise.all([first, second].map((server) => server.work()));

  const { items } = await first.ok("listBookings", { token, query: { limit: 100 } });
  assert.deepEqual(items.map(({ paymentStatus }) => paymentStatus), each(waiting, "refunded"));
  const asked = stripe.requests.filter(({ method, path }) => method === "POST" && path === "/v1/refunds");
  const paid = [...stripe.payments.keys()].sort();
  assert.deepEqual(asked.map(({ params }) => params.payment_intent).sort(), paid);
  assert.deepEqual(stripe.refunds.map(({ payment_intent }) => payment_intent).sort(), paid);
  const types = await eventTypes(first.db, items);
  assert.deepEqual(types, each(waiting, ["created", "taken", "confirmed", "cancelled", "freed", "refunded"]));
});

Deno.test("retryRefund: four calls at once on two servers -> one 200, one refund", async () => {
  await using pair = await newPair();
  const { servers: [first, second], stripe } = pair;
  const waiting = await bookMany(pair, 10);
  for (const each of waiting) await deliver(first, await pay(pair, each));
  const [alice, admin] = await Promise.all([first.token("alice"), first.token("admin", "admin")]);
  stripe.fault = { kind: 402, on: /POST \/v1\/refunds/ };
  for (const { booking } of waiting) {
    await first.ok("cancelBooking", { token: alice, params: { bookingId: booking.id } });
  }
  await first.work();
  stripe.fault = undefined;
  const asked = stripe.requests.length;
  await Promise.all(waiting.map(async ({ booking }) => {
    const call = { token: admin, params: { bookingId: booking.id } };
    const answers = await Promise.all([first, second, first, second].map((server) => server.call("retryRefund", call)));
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400, 400, 400]);
  }));
  await Promise.all([first, second].map((server) => server.work()));
  const refunds = stripe.requests.slice(asked).filter(({ method, path }) =>
    method === "POST" && path === "/v1/refunds"
  );
  assert.equal(new Set(refunds.map(({ params }) => params.payment_intent)).size, waiting.length);
  assert.equal(refunds.length, waiting.length);
  assert.equal(stripe.refunds.length, waiting.length);
});

Deno.test("receivePaymentEvent: the same webhook at two servers at once -> one effect", async () => {
  await using pair = await newPair();
  const { servers: [first, second], stripe } = pair;
  const waiting = await bookMany(pair, 20);
  await Promise.all(waiting.map(async (each) => {
    const message = await pay(pair, each);
    await Promise.all([first, second, first, second].map((server) => deliver(server, message)));
  }));
  const bookings = waiting.map(({ booking }) => booking);
  assert.deepEqual(await eventTypes(first.db, bookings), each(waiting, ["created", "taken", "confirmed"]));

  // Refunded manually at the provider.
  await Promise.all([...stripe.payments.values()].map(async ({ id, amount }) => {
    stripe.refundInDashboard(id, amount);
    const message = await stripe.refunded(id);
    await Promise.all([first, second].map((server) => deliver(server, message)));
  }));
  assert.deepEqual(await eventTypes(first.db, bookings), each(waiting, ["created", "taken", "confirmed", "refunded"]));
  const token = await first.token("alice");
  const { items } = await first.ok("listBookings", { token, query: { limit: 100 } });
  assert.deepEqual(items.map(({ amountPaid }) => amountPaid), each(waiting, 5));
  assert.deepEqual(items.map(({ amountRefunded }) => amountRefunded), each(waiting, 5));
  await Promise.all([first, second].map((server) => server.work()));
  assert.equal(stripe.refunds.length, waiting.length);
});

/** Actions that start at once on a booking whose hold has expired and that was paid just before. */
const orders = [
  ["sweep", "sweep", "pay", "rival"],
  ["pay", "sweep", "rival", "sweep"],
  ["sweepAndRival", "sweep", "pay"],
  ["rival", "sweep", "sweep", "pay"],
  ["sweepAndRival", "pay", "sweepAndRival"],
  ["pay", "sweep", "sweep"],
] as const;

Deno.test("late payment: hold expires on two servers, a rival books -> timeslot or refund", async () => {
  await using pair = await newPair();
  const { servers, stripe } = pair;
  const [first, second] = servers;
  const [alice, bob] = await Promise.all([first.token("alice"), first.token("bob")]);
  const rounds = 24;
  for (let round = 0; round < rounds; round++) {
    const waiting = await bookMany(pair, 3);
    const messages = await Promise.all(waiting.map((each) => pay(pair, each)));
    pair.advance(holdMinutes);
    /** Timeslots that bob booked. */
    const bobs = new Set<number>();
    let turn = round;
    const sweep = async () => await servers[turn++ % 2]?.sweep();
    const rival = async () => {
      await Promise.all(waiting.map(async ({ booking: { roomId, timeslotId } }, index) => {
        const server = index % 2 === 0 ? second : first;
        const { status } = await server.call("createBooking", { token: bob, body: { roomId, timeslotId } });
        if (status === 201) bobs.add(timeslotId);
      }));
    };
    const acts = {
      sweep,
      rival,
      sweepAndRival: () => sweep().then(rival),
      async pay() {
        await Promise.all(messages.map((message, index) => deliver(index % 2 === 0 ? first : second, message)));
      },
    };
    const order = orders[round % orders.length] ?? orders[0];
    await Promise.all(order.map((act) => acts[act]()));
    await first.sweep();
    await Promise.all(servers.map((server) => server.work()));

    for (const { booking: { id, timeslotId }, session } of waiting) {
      const booking = await first.ok("getBooking", { token: alice, params: { bookingId: id } });
      const { status, paymentStatus, amountPaid, amountRefunded, cancellationReason } = booking;
      const payment = stripe.sessions.get(session)?.payment_intent;
      const refunds = stripe.refunds.filter(({ payment_intent }) => payment_intent === payment).length;
      const { rows: live } = await sql<{ id: number }>`
        select id from bookings where timeslot_id = ${timeslotId} and status <> 'cancelled'
      `.execute(first.db);
      assert.equal(live.length, 1);
      const outcome = { status, paymentStatus, amountPaid, amountRefunded, cancellationReason, refunds };
      if (bobs.has(timeslotId)) {
        assert.deepEqual(outcome, {
          status: "cancelled",
          paymentStatus: "refunded",
          amountPaid: 5,
          amountRefunded: 5,
          cancellationReason: "hold_expired",
          refunds: 1,
        });
        assert.notEqual(live[0]?.id, id);
      } else {
        assert.deepEqual(outcome, {
          status: "confirmed",
          paymentStatus: "paid",
          amountPaid: 5,
          amountRefunded: 0,
          cancellationReason: null,
          refunds: 0,
        });
        assert.equal(live[0]?.id, id);
      }
    }
  }
});
