/** getCancellation returns the refund that a cancellation at that moment pays: for any price, tiers and moment. */
import fc from "fast-check";
import { sql } from "kysely";
import assert from "node:assert/strict";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { newCheckout, pay, reportRefund } from "../support/sandbox_payments.ts";
import { sharedServer } from "../support/server.ts";
import { before, cancel, hour, moveClock, quote, start } from "./cancellations.ts";

/** Tiers of up to 150 hours with four decimals, no two of the same hours; the longest first. */
const tiers = fc.uniqueArray(
  fc.record({
    hours: fc.oneof(
      fc.integer({ min: 0, max: 150 }),
      fc.integer({ min: 0, max: 15_000 }).map((hundredths) => hundredths / 100),
      fc.integer({ min: 0, max: 1_500_000 }).map((parts) => parts / 10_000),
    ),
    percent: fc.oneof(
      fc.integer({ min: 0, max: 100 }),
      fc.integer({ min: 0, max: 1_000 }).map((tenths) => tenths / 10),
    ),
  }),
  { maxLength: 5, selector: ({ hours }) => hours },
).map((all) => all.sort((a, b) => b.hours - a.hours));

/** Milliseconds before the start until which a tier applies. */
const holdsUntil = ({ hours }: { hours: number }) => Math.ceil(Math.round(hours * 10_000) * 360);

Deno.test("getCancellation: any price, tiers and moment -> equals the refund of cancelBooking, until nextTierAt", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const room = await newRoom(server);
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot);
  const scenario = fc.record({
    cents: fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 99_999_999 })),
    refundedShare: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, {
      weight: 1,
      arbitrary: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    tiers,
    ahead: fc.integer({ min: 1, max: 160 * hour }),
    // Mostly at a boundary, or 1 ms beside it.
    boundary: fc.option(fc.record({ index: fc.nat({ max: 4 }), offset: fc.constantFrom(-1, 0, 1) }), { freq: 3 }),
  });
  const property = fc.asyncProperty(scenario, async ({ cents, refundedShare, tiers, ahead, boundary }) => {
    server.clock.set(start);
    await server.db.updateTable("rooms").set({ hourly_rate: String(cents / 100) }).where("id", "=", room.id).execute();
    const checkout = await newCheckout(server, "alice", slot);
    const { booking } = checkout;
    await pay(server, checkout);
    const refundedCents = Math.floor(refundedShare * cents);
    if (refundedCents > 0) await reportRefund(server, checkout, refundedCents);
    // As if the booking was made with these tiers.
    await server.db.updateTable("bookings").set({ cancellation_tiers: sql`${JSON.stringify(tiers)}::text::jsonb` })
      .where("id", "=", booking.id).execute();

    const at = boundary === null ? undefined : tiers[boundary.index];
    const left = at === undefined ? ahead : Math.max(1, holdsUntil(at) + (boundary?.offset ?? 0));
    moveClock(server, slot, left);
    const quoted = await quote(server, booking);
    const index = tiers.findIndex((tier) => holdsUntil(tier) <= left);
    const [tier, ...later] = index === -1 ? [] : tiers.slice(index);
    // Tiers with the same percentage change nothing.
    const other = later.findIndex(({ percent }) => percent !== tier?.percent);
    const same = [tier, ...other === -1 ? later : later.slice(0, other)].at(-1);
    const nextPercent = later[other]?.percent ?? 0;
    const due = (BigInt(cents) * BigInt(Math.round((tier?.percent ?? 0) * 10)) + 500n) / 1_000n - BigInt(refundedCents);
    const isLast = same === undefined || same.hours === 0 || nextPercent === same.percent;
    assert.deepEqual(quoted, {
      bookingId: booking.id,
      refundAmount: due > 0n ? Number(due) / 100 : 0,
      currency: "EUR",
      refundPercent: tier?.percent ?? 0,
      maxRefundPercent: null,
      tierHours: tier?.hours ?? null,
      nextTierAt: isLast ? null : before(slot, holdsUntil(same)),
      nextRefundPercent: isLast ? null : nextPercent,
    });
    if (quoted.nextTierAt !== null) {
      const last = Date.parse(quoted.nextTierAt);
      server.clock.set(new Date(last + 1).toISOString());
      if (last + 1 < Date.parse(slot.startTime)) {
        assert.equal((await quote(server, booking)).refundPercent, quoted.nextRefundPercent, "one millisecond later");
      }
      server.clock.set(quoted.nextTierAt);
      assert.deepEqual(await quote(server, booking), quoted, "at nextTierAt");
    }
    assert.equal(await cancel(server, booking), quoted.refundAmount);
  });
  await fc.assert(property, { numRuns: runs(15, 100), seed: 20_260_309, endOnFailure: true });
});
