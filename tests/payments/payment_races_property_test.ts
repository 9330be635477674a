/** Other requests for a booking while its payment is reported. In any order, the money adds up. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Timeslot } from "../../generated/contract.ts";
import { lockBookingOfCheckout, wasOvertaken } from "../../src/settlement/payment_writes.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import type { Answer, Call } from "../support/server.ts";
import {
  afterHold,
  countJobs,
  deliver,
  expireHolds,
  freshCheckout,
  type HeldBooking,
  holdTimeslot,
  moneyOf,
  newHeldBooking,
  paidInFull,
  read,
  refundedCents,
  refundedInFull,
  reset,
  sharedWorld,
  type World,
} from "./world.ts";

/** Each side is first in half of the rounds. */
const rounds = runs(2, 4);

interface Rival {
  /** Prepares, and returns the function that runs at the same time as the payment. */
  prepare(world: World, held: HeldBooking, other: Timeslot): Promise<() => Promise<Answer | void>>;
  /** Cents that are not refunded in the end, by the status of the rival's answer. */
  kept: Record<string, number>;
}

/** A request about alice's booking. */
async function request(
  { server }: World,
  { booking }: HeldBooking,
  role: "user" | "admin",
  body?: unknown,
): Promise<Call> {
  const token = await server.token(role === "admin" ? "admin" : "alice", role);
  return { token, params: { bookingId: booking.id }, ...(body === undefined ? {} : { body }) };
}

const rivals: Record<string, Rival> = {
  "its user cancels it": {
    async prepare(world, held) {
      const call = await request(world, held, "user");
      return () => world.server.call("cancelBooking", call);
    },
    kept: { 200: 0 },
  },
  "an admin cancels it": {
    async prepare(world, held) {
      const call = await request(world, held, "admin", { status: "cancelled" });
      return () => world.server.call("updateBookingStatus", call);
    },
    kept: { 200: 0 },
  },
  "an admin confirms it": {
    async prepare(world, held) {
      const call = await request(world, held, "admin", { status: "confirmed" });
      return () => world.server.call("updateBookingStatus", call);
    },
    // 200: paid elsewhere, so the payment is refunded. 400: the payment was first.
    kept: { 200: 0, 400: 6_000 },
  },
  "its hold expires": {
    prepare({ server }) {
      server.clock.set(afterHold);
      return Promise.resolve(() => server.sweep());
    },
    kept: { none: 6_000 },
  },
  "its user reschedules it": {
    async prepare(world, held, { id: newTimeslotId }) {
      const call = await request(world, held, "user", { newTimeslotId });
      return () => world.server.call("rescheduleBooking", call);
    },
    kept: { 200: 6_000 },
  },
  "its user pays a second time": {
    async prepare(world, held) {
      const session = await freshCheckout(world, held);
      world.stripe.pay(session);
      const completed = await world.stripe.completed(session);
      return () => deliver(world, completed);
    },
    kept: { none: 6_000 },
  },
};

for (const [name, { prepare, kept }] of Object.entries(rivals)) {
  Deno.test(`receivePaymentEvent: a booking is paid while ${name} -> the money adds up`, async () => {
    const world = await sharedWorld();
    const { server, stripe } = world;
    const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
    for (let round = 0; round < rounds; round++) {
      reset(world);
      const [slot, other] = slots.splice(0, 2);
      assert(slot && other);
      const held = await holdTimeslot(world, slot);
      const known = stripe.payments.size;
      stripe.pay(held.session);
      const completed = await stripe.completed(held.session);
      const act = await prepare(world, held, other);
      const paid = stripe.payments.values().toArray().slice(known);
      const early = round % 2 === 0 ? act() : undefined;
      const delivered = deliver(world, completed);
      const [answer] = await Promise.all([early ?? act(), delivered]);
      await server.work();
      const money = await moneyOf(world, held);
      const left = paid.reduce((sum, payment) => sum + payment.amount - refundedCents(world, payment), 0);
      const status = String(answer?.status ?? "none");
      const expected = money.status === "cancelled" ? refundedInFull : paidInFull;
      assert.deepEqual({ status, money, left }, { status, money: expected, left: kept[status] });
      assert.equal(await countJobs(world), 0);
    }
  });
}

/** The last event of a timeslot. */
async function lastOfTimeslot({ server }: World, { id }: Timeslot): Promise<string | undefined> {
  const { rows } = await sql<{ type: string }>`
    select type from booking_events where type in ('taken', 'freed') and (data ->> 'timeslot_id')::bigint = ${id}
    order by transaction_id desc, id desc limit 1
  `.execute(server.db);
  return rows[0]?.type;
}

Deno.test("receivePaymentEvent: late payment while a rival cancels -> the last event agrees with the timeslot", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const bob = await server.token("bob");
  const slots = await newTimeslots(server, await newRoom(server), {
    date: "2026-03-09",
    slotDuration: 15,
    workingHours: { start: "08:00", end: "18:00" },
  });
  for (const slot of slots.slice(0, runs(10, 40))) {
    reset(world);
    const late = await holdTimeslot(world, slot);
    stripe.pay(late.session);
    const completed = await stripe.completed(late.session);
    await expireHolds(world);
    const rival = await holdTimeslot(world, slot, "bob");
    await Promise.all([
      deliver(world, completed),
      server.ok("cancelBooking", { token: bob, params: { bookingId: rival.booking.id } }),
    ]);
    const { status } = await read(world, late);
    assert.equal(await lastOfTimeslot(world, slot), status === "confirmed" ? "taken" : "freed");
  }
});

Deno.test("wasOvertaken: another transaction has changed the timeslot -> true until a new transaction", async () => {
  const world = await sharedWorld();
  const { server } = world;
  const { db } = server;
  const held = await newHeldBooking(world);
  await expireHolds(world);
  const rival = await holdTimeslot(world, held.timeslot, "bob");
  const { id: checkoutId } = await db.selectFrom("checkouts").select("id")
    .where("booking_id", "=", held.booking.id).executeTakeFirstOrThrow();
  const checkout = { checkoutId, provider: "stripe" };
  await db.transaction().execute(async (trx) => {
    const booking = await lockBookingOfCheckout(trx, checkout);
    assert(booking);
    assert.equal(await wasOvertaken(trx, booking.id), false);
    const params = { bookingId: rival.booking.id };
    await server.ok("cancelBooking", { token: await server.token("bob"), params });
    assert.equal(await wasOvertaken(trx, booking.id), true);
  });
  await db.transaction().execute(async (trx) => {
    const booking = await lockBookingOfCheckout(trx, checkout);
    assert(booking);
    assert.equal(await wasOvertaken(trx, booking.id), false);
  });
});
