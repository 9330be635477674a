/**
 * Random histories of bookings in a room whose price and rules change. After each step the parts of every booking fit
 * together. A moved pending booking is what a new booking of the timeslot would be.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import type { Booking, Room, Timeslot } from "../../generated/contract.ts";
import { assertConsistent } from "../support/booking_states.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { checkoutIn, deliverEvent, newEventId } from "../support/sandbox_payments.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

const minute = 60_000;
const start = Date.parse("2026-03-02T10:00:00.000Z");

/** Indexes choose a booking or a timeslot of the history. */
type Step =
  | { kind: "book"; slot: number }
  | { kind: "move"; booking: number; slot: number }
  | { kind: "pay"; booking: number; difference: number }
  | { kind: "cancel"; booking: number }
  | { kind: "decide"; booking: number; status: string }
  | { kind: "refund"; booking: number; amount: number }
  | { kind: "change"; fields: Record<string, unknown> }
  | { kind: "wait"; minutes: number }
  | { kind: "work" };

const index = fc.nat({ max: 11 });
/** Mostly the first booking. */
const booking = fc.nat({ max: 2 });
const move = fc.record({ kind: fc.constant("move" as const), booking, slot: index });
const change = fc.record({
  kind: fc.constant("change" as const),
  fields: fc.oneof(
    { weight: 3, arbitrary: fc.record({ hourlyRate: fc.constantFrom(null, 0, 0.01, 30, 60) }) },
    { weight: 1, arbitrary: fc.record({ currency: fc.constantFrom("EUR", "JPY") }) },
    { weight: 1, arbitrary: fc.record({ autoConfirm: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ isActive: fc.constantFrom(true, true, false) }) },
  ),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("book" as const), slot: index }) },
  { weight: 3, arbitrary: move },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("pay" as const),
      booking,
      difference: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(100) }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const), booking: index }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("decide" as const),
      booking,
      status: fc.constantFrom("confirmed", "confirmed", "completed", "no_show", "cancelled"),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("refund" as const), booking, amount: fc.constantFrom(1, 15, 60) }),
  },
  { weight: 1, arbitrary: change },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      minutes: fc.constantFrom(1, 10, 15, 60, 150, 13 * 60, 25 * 60),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "work" as const }) },
);

/** Steps of a history that begins with a booking. Moves often follow a change of the room. */
const steps = fc.tuple(
  index,
  fc.array(
    fc.oneof({ weight: 2, arbitrary: step.map((each) => [each]) }, { weight: 1, arbitrary: fc.tuple(change, move) }),
    {
      minLength: 3,
      maxLength: 10,
    },
  ),
).map(([slot, steps]): Step[] => [{ kind: "book", slot }, ...steps.flat()]);

const history = fc.record({
  hasProvider: fc.boolean(),
  hourlyRate: fc.constantFrom(null, 60),
  autoConfirm: fc.boolean(),
  steps,
});

/** Refuses only as the contract says. Returns undefined for a refusal. */
async function attempt<T>(
  server: TestServer,
  id: Parameters<TestServer["call"]>[0],
  call: Parameters<TestServer["call"]>[1],
): Promise<T | undefined> {
  const { status, body } = await server.call(id, call);
  assert(status < 500, `${id}: ${JSON.stringify(body)}`);
  // The body of a success, which the server's `call` has checked against the contract.
  return status < 300 ? body as T : undefined;
}

/** The fields of a new booking that do not depend on its timeslot. A hold may end at different times. */
const terms = ({ status, price, currency, paymentStatus, amountPaid, holdExpiresAt }: Booking) => ({
  ...{ status, price, currency, paymentStatus, amountPaid },
  isHeld: holdExpiresAt !== null,
});

class World {
  bookings: { id: number; checkout: string | undefined }[] = [];

  constructor(
    readonly server: TestServer,
    readonly room: Room,
    readonly slots: Timeslot[],
    readonly tokens: { alice: string; bob: string; admin: string },
    readonly hasProvider: boolean,
  ) {}

  async book(token: string, timeslotId: number): Promise<Booking | undefined> {
    const body = { roomId: this.room.id, timeslotId };
    const made = await attempt<{ booking: Booking; checkoutUrl: string | null }>(this.server, "createBooking", {
      token,
      body,
    });
    if (made === undefined) return undefined;
    const checkout = made.checkoutUrl === null ? undefined : checkoutIn(made.checkoutUrl);
    this.bookings.push({ id: made.booking.id, checkout });
    return made.booking;
  }

  read(bookingId: number): Promise<Booking> {
    return this.server.ok("getBooking", { token: this.tokens.admin, params: { bookingId } });
  }

  /** Bob books a timeslot as long as the one of `moved`, and cancels. */
  async twinOf(moved: Booking): Promise<Booking | undefined> {
    const length = ({ startTime, endTime }: { startTime: string; endTime: string }) =>
      Date.parse(endTime) - Date.parse(startTime);
    for (const slot of this.slots) {
      if (length(slot) !== length(moved.timeslot)) continue;
      const twin = await this.book(this.tokens.bob, slot.id);
      if (twin === undefined) continue;
      await this.server.ok("cancelBooking", { token: this.tokens.bob, params: { bookingId: twin.id } });
      return twin;
    }
    return undefined;
  }

  async take(step: Step): Promise<void> {
    const { server, tokens, slots } = this;
    const slot = "slot" in step ? slots[step.slot % slots.length] : undefined;
    const booking = "booking" in step ? this.bookings[step.booking % this.bookings.length] : undefined;
    const params = { bookingId: booking?.id };
    switch (step.kind) {
      case "book":
        await this.book(tokens.alice, slot?.id ?? assert.fail());
        break;
      case "move": {
        const before = await this.read(booking?.id ?? assert.fail());
        const call = { token: tokens.alice, params, body: { newTimeslotId: slot?.id } };
        const moved = await attempt<{ booking: Booking }>(server, "rescheduleBooking", call);
        if (moved === undefined || before.status !== "pending") break;
        const twin = await this.twinOf(moved.booking);
        const isRefunding = moved.booking.paymentStatus.startsWith("refund_");
        if (twin !== undefined && !isRefunding) assert.deepEqual(terms(moved.booking), terms(twin));
        break;
      }
      case "pay": {
        if (booking?.checkout === undefined) break;
        const { price, currency } = await this.read(booking.id);
        const cents = Math.round(price * 100) + step.difference;
        const id = newEventId();
        await deliverEvent(server, { id, type: "paid", checkout: booking.checkout, payment: id, cents, currency });
        break;
      }
      case "cancel":
        await attempt(server, "cancelBooking", { token: tokens.alice, params });
        break;
      case "decide":
        await attempt(server, "updateBookingStatus", { token: tokens.admin, params, body: { status: step.status } });
        break;
      case "refund":
        await attempt(server, "refundBooking", { token: tokens.admin, params, body: { amount: step.amount } });
        break;
      case "change": {
        const change = { token: tokens.admin, params: { roomId: this.room.id }, body: step.fields };
        await attempt(server, "updateRoom", change);
        break;
      }
      case "wait":
        server.clock.set(new Date(server.clock.now().getTime() + step.minutes * minute).toISOString());
        break;
      case "work":
        await server.work();
    }
  }

  async check(): Promise<void> {
    for (const { id } of this.bookings) {
      assertConsistent(await this.read(id), { now: this.server.clock.now(), hasProvider: this.hasProvider });
    }
  }
}

Deno.test("bookings: any bookings, moves, payments and changes of the room -> status, price, hold and payment fit", async () => {
  // The timeslots of the first day start before a hold of three hours ends.
  const env = { MAX_PENDING_BOOKINGS: "0", HOLD_MINUTES: "180" };
  await using online = await sharedServer({ env: { ...env, PAYMENT_PROVIDER: "sandbox" } });
  await using elsewhere = await sharedServer({ env: { ...env, PAYMENT_PROVIDER: "none" } });
  const property = fc.asyncProperty(history, async ({ hasProvider, steps, ...fields }) => {
    const server = hasProvider ? online : elsewhere;
    server.clock.set(new Date(start).toISOString());
    const room = await newRoom(server, fields);
    const afternoon = { start: "12:00", end: "16:00" };
    const slots = [
      ...await newTimeslots(server, room, { date: "2026-03-02", workingHours: afternoon }),
      ...await newTimeslots(server, room, { date: "2026-03-04", workingHours: afternoon, slotDuration: 30 }),
    ];
    assert.equal(slots.length, 12);
    const tokens = {
      alice: await server.token("alice"),
      bob: await server.token("bob"),
      admin: await server.token("admin", "admin"),
    };
    const world = new World(server, room, slots, tokens, hasProvider);
    for (const step of steps) {
      await world.take(step);
      await server.sweep();
      await world.check();
    }
    await server.work();
    await world.check();
  });
  await fc.assert(property, { numRuns: runs(12, 150), seed: 20_260_312, endOnFailure: true });
});
