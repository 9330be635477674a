/** `deno task admin refunds`. */
import assert from "node:assert/strict";
import { BookingCancelled } from "../../generated/contract.ts";
import { admin, adminJson, lines } from "../support/admin.ts";
import { confirm, newBooking, newRoomWithTimeslot } from "../support/builders.ts";
import { sharedServer, type TestServer } from "../support/server.ts";

/** The id of alice's booking, paid with 60.00 EUR elsewhere and cancelled without a refund. */
async function newCancelled(server: TestServer): Promise<number> {
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
  server.clock.set("2026-03-09T08:00:00.000Z");
  await server.ok("cancelBooking", { token: await server.token("alice"), params: { bookingId } });
  return bookingId;
}

Deno.test("admin refunds create: part and rest of the payment -> refunded, more is refused", async () => {
  await using server = await sharedServer();
  const id = await newCancelled(server);
  const note = "The refund is recorded. The booking was not paid online, so give the money back yourself.";
  assert.deepEqual(await admin(server, `refunds create ${id} --amount 12.50 --yes`), {
    code: 0,
    stdout: lines(`Booking ${id}: 12.50 EUR, now partially_refunded. ${note}`),
    stderr: "",
  });
  const tooMuch = await admin(server, `refunds create ${id} --amount 50 --yes`);
  assert.equal(tooMuch.code, 1);
  assert.match(tooMuch.stderr, /\(refund_exceeds_payment\)\nEUR 47\.50 of the payment is left\./);
  const { refundAmount, booking } = BookingCancelled.parse(
    await adminJson(server, `refunds create ${id} --amount 47.50 --yes`),
  );
  assert.deepEqual([refundAmount, booking.paymentStatus], [47.5, "refunded"]);
  const asks = await admin(server, `refunds create ${id} --amount 1`);
  assert.deepEqual([asks.code, asks.stdout], [2, ""]);
  for (const amount of ["0", "none", "1,5"]) {
    const { code, stderr } = await admin(server, `refunds create ${id} --amount ${amount} --yes`);
    assert.equal(code, 2);
    assert.match(stderr, /must be an amount such as 12\.50/);
  }
});

Deno.test("admin refunds retry and settle: failed refund, and none -> done, refused", async (t) => {
  await using server = await sharedServer();
  const cases = {
    "retry": "refund_pending. The refund is tried again.",
    "settle --yes": "refunded. The refund is recorded.",
  };
  for (const [command, outcome] of Object.entries(cases)) {
    await t.step(command, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const id = await newCancelled(server);
      const [name = "", ...options] = command.split(" ");
      const run = () => admin(server, ["refunds", name, id, ...options].join(" "));
      assert.match((await run()).stderr, /\(no_failed_refund\)/);
      const checkout = { id: crypto.randomUUID(), booking_id: id, provider: "sandbox", created_at: new Date() };
      await server.db.insertInto("checkouts").values(checkout).execute();
      const payment = await server.db.insertInto("payments").values({
        ...{ provider: "sandbox", reference: checkout.id, checkout_id: checkout.id, booking_id: id, currency: "EUR" },
        ...{ amount: "60", pays_booking: true, reported_refunded: "0", paid_at: new Date() },
      }).returning("id").executeTakeFirstOrThrow();
      await server.db.insertInto("refunds").values({
        ...{ id: crypto.randomUUID(), payment_id: payment.id, booking_id: id, amount: "60", target: "60" },
        ...{ status: "failed", idempotency_key: crypto.randomUUID(), job_id: 0, requested_at: new Date() },
      }).execute();
      await server.db.updateTable("bookings").set({ payment_status: "refund_failed", payment_id: payment.id })
        .where("id", "=", id).execute();
      assert.deepEqual(await run(), { code: 0, stdout: lines(`Booking ${id}: 60.00 EUR, now ${outcome}`), stderr: "" });
    });
  }
});
