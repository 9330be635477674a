import assert from "node:assert/strict";
import type { BookingStatus } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { untilWaiting } from "../support/database.ts";
import { checkoutIn, deliverEvent, eventTypes, newCheckout, newEventId, pay } from "../support/sandbox_payments.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";
import { startStripe } from "../support/stripe_stand_in.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };

async function openCheckouts({ db }: TestServer, bookingId: number): Promise<string[]> {
  const rows = await db.selectFrom("checkouts").select("id")
    .where("booking_id", "=", bookingId).where("closed_at", "is", null).execute();
  return rows.map(({ id }) => id);
}

Deno.test("createCheckout: pending booking -> new checkout, the old one closed, same holdExpiresAt", async () => {
  await using server = await sharedServer({ env });
  const { timeslot } = await newRoomWithTimeslot(server);
  const first = await newCheckout(server, "alice", timeslot);
  const { booking } = first;
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  server.clock.set("2026-03-02T10:10:00.000Z");
  const answer = await server.call("createCheckout", request);
  assert.equal(answer.status, 201);
  const { checkoutUrl, ...rest } = answer.body as { checkoutUrl: string };
  assert.deepEqual(rest, { booking, message: "Complete payment to confirm." });
  assert.notEqual(checkoutUrl, first.checkoutUrl);
  assert(checkoutUrl.startsWith(`${server.url}/sandbox/checkout/`));
  assert.deepEqual(await openCheckouts(server, booking.id), [checkoutIn(checkoutUrl)]);
  assert.deepEqual(await server.ok("getBooking", request), booking);
  assert.deepEqual(await eventTypes(server, booking), ["created"]);

  await pay(server, { booking, checkoutUrl, checkout: checkoutIn(checkoutUrl) });
  assert.equal((await server.ok("getBooking", request)).status, "confirmed");
});

Deno.test("createCheckout: last checkout failed or expired -> new checkout", async () => {
  await using server = await sharedServer({ env });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  for (const [index, type] of (["failed", "expired"] as const).entries()) {
    const slot = slots[index];
    assert(slot);
    const { booking, checkout } = await newCheckout(server, "alice", slot);
    await deliverEvent(server, { id: newEventId(), type, checkout });
    const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
    const { checkoutUrl } = await server.ok("createCheckout", request);
    assert(checkoutUrl);
    assert.deepEqual(await openCheckouts(server, booking.id), [checkoutIn(checkoutUrl)]);
  }
});

Deno.test("createCheckout: rescheduled booking -> checkout of the new price", async () => {
  await using server = await sharedServer({ env });
  const room = await newRoom(server);
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  const [longer] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 90 });
  assert(slot && longer);
  const { booking } = await newCheckout(server, "alice", slot);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  await server.ok("rescheduleBooking", { ...request, body: { newTimeslotId: longer.id } });
  assert.deepEqual(await openCheckouts(server, booking.id), []);
  const { booking: moved, checkoutUrl } = await server.ok("createCheckout", request);
  assert.deepEqual([moved.price, moved.holdExpiresAt], [90, booking.holdExpiresAt]);
  assert(checkoutUrl);
  const page = await fetch(checkoutUrl);
  assert.match(await page.text(), /EUR\s90\.00/);
});

Deno.test("createCheckout: nothing to pay -> 400 booking_not_payable with the reason", async (t) => {
  await using server = await sharedServer({ env });
  const token = await server.token("alice");
  const admin = await server.token("admin", "admin");
  const refusal = async (bookingId: number) => {
    const request = { token, params: { bookingId } };
    const before = await server.ok("getBooking", request);
    const { status, detail } = await server.refused("booking_not_payable", "createCheckout", request);
    assert.equal(status, 400);
    assert.deepEqual(await server.ok("getBooking", request), before);
    await server.sweep();
    assert.deepEqual(await openCheckouts(server, bookingId), []);
    return detail;
  };
  const newPaid = async () => {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const { timeslot } = await newRoomWithTimeslot(server);
    const checkout = await newCheckout(server, "alice", timeslot);
    await pay(server, checkout);
    return checkout.booking.id;
  };
  await t.step("paid", async () => {
    assert.match(await refusal(await newPaid()), /confirmed/);
  });
  await t.step("confirmed by an admin", async () => {
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking } = await newCheckout(server, "alice", timeslot);
    await confirm(server, booking);
    assert.match(await refusal(booking.id), /confirmed/);
  });
  const ends: BookingStatus[] = ["cancelled", "completed", "no_show"];
  for (const status of ends) {
    await t.step(status, async () => {
      const bookingId = await newPaid();
      server.clock.set("2026-03-09T09:00:00.000Z");
      await server.ok("updateBookingStatus", { token: admin, params: { bookingId }, body: { status } });
      assert.match(await refusal(bookingId), new RegExp(status));
    });
  }
  await t.step("costs nothing", async () => {
    server.clock.set("2026-03-02T10:00:00.000Z");
    const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: null });
    const { id } = await newBooking(server, "alice", timeslot);
    assert.match(await refusal(id), /costs nothing/);
  });
});

Deno.test("createCheckout: last millisecond of the hold -> 201, later -> 400 booking_not_payable before and after the sweep", async () => {
  await using server = await sharedServer({ env });
  const { timeslot } = await newRoomWithTimeslot(server);
  const { booking } = await newCheckout(server, "alice", timeslot);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  server.clock.set("2026-03-02T10:14:59.999Z");
  await server.ok("createCheckout", request);
  server.clock.set("2026-03-02T10:15:00.000Z");
  const before = await server.refused("booking_not_payable", "createCheckout", request);
  assert.match(before.detail, /hold .* expired/);
  await server.sweep();
  const after = await server.refused("booking_not_payable", "createCheckout", request);
  assert.match(after.detail, /cancelled/);
});

Deno.test("createCheckout: PAYMENT_PROVIDER=none -> 400 booking_not_payable", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await newBooking(server, "alice", timeslot);
  const request = { token: await server.token("alice"), params: { bookingId } };
  const { detail } = await server.refused("booking_not_payable", "createCheckout", request);
  assert.match(detail, /admin/);
});

Deno.test("createCheckout: another user or an admin -> 403 not_booking_owner, checkouts unchanged", async () => {
  for (const provider of ["sandbox", "none"]) {
    await using server = await sharedServer({ env: { PAYMENT_PROVIDER: provider } });
    const { timeslot } = await newRoomWithTimeslot(server);
    const { id: bookingId } = await newBooking(server, "alice", timeslot);
    const open = await openCheckouts(server, bookingId);
    for (const token of [await server.token("bob"), await server.token("admin", "admin")]) {
      const request = { token, params: { bookingId } };
      assert.equal((await server.refused("not_booking_owner", "createCheckout", request)).status, 403);
    }
    assert.deepEqual(await openCheckouts(server, bookingId), open);
  }
});

Deno.test("createCheckout: unknown booking -> 404 booking_not_found", async () => {
  for (const provider of ["sandbox", "none"]) {
    await using server = await sharedServer({ env: { PAYMENT_PROVIDER: provider } });
    const request = { token: await server.token("alice"), params: { bookingId: missingId } };
    assert.equal((await server.refused("booking_not_found", "createCheckout", request)).status, 404);
  }
});

Deno.test("createCheckout: provider fails -> 503 payment_provider_unavailable, 201 after it recovers", async () => {
  await using stripe = await startStripe();
  await using server = await startServer({ env: stripe.env });
  const { timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("alice");
  stripe.fault = { kind: "close" };
  // The booking is created all the same.
  const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
  const created = await server.ok("createBooking", { token, body });
  assert.equal(created.checkoutUrl, null);
  assert.match(created.message, new RegExp(`/bookings/${created.booking.id}/checkout`));

  const request = { token, params: { bookingId: created.booking.id } };
  assert.equal((await server.refused("payment_provider_unavailable", "createCheckout", request)).status, 503);
  assert.deepEqual(await server.ok("getBooking", request), created.booking);
  assert.deepEqual(await openCheckouts(server, created.booking.id), []);

  stripe.fault = undefined;
  const { checkoutUrl, booking } = await server.ok("createCheckout", request);
  assert.match(checkoutUrl ?? "", /^https?:/);
  assert.deepEqual(booking, created.booking);
  assert.equal((await openCheckouts(server, booking.id)).length, 1);
});

Deno.test("createCheckout: provider rejects the payment -> 400 booking_not_payable", async () => {
  await using stripe = await startStripe();
  await using server = await startServer({ env: stripe.env });
  const { timeslot } = await newRoomWithTimeslot(server, { hourlyRate: 0.2 });
  const token = await server.token("alice");
  stripe.fault = { kind: 400, code: "amount_too_small", on: /sessions$/ };
  const created = await server.ok("createBooking", {
    token,
    body: { roomId: timeslot.roomId, timeslotId: timeslot.id },
  });
  assert.equal(created.checkoutUrl, null);
  assert.match(created.message, /does not take this payment/);
  const request = { token, params: { bookingId: created.booking.id } };
  const { detail } = await server.refused("booking_not_payable", "createCheckout", request);
  assert.match(detail, /does not take this payment/);
});

Deno.test("createCheckout: booking older than PAYMENT_PROVIDER -> no hold until it is moved, and can be paid", async () => {
  await using before = await sharedServer();
  const [slot, other] = await newTimeslots(before, await newRoom(before), { date: "2026-03-09" });
  assert(slot && other);
  const { id: bookingId } = await newBooking(before, "alice", slot);
  await using server = await startServer({ env, database: { url: before.databaseUrl } });
  const request = { token: await before.token("alice"), params: { bookingId } };
  assert.equal((await server.ok("createCheckout", request)).booking.holdExpiresAt, null);
  const moved = await server.ok("rescheduleBooking", { ...request, body: { newTimeslotId: other.id } });
  assert.equal(moved.booking.holdExpiresAt, "2026-03-02T10:15:00.000Z");
  const checkout = await server.ok("createCheckout", request);
  const checkoutUrl = checkout.checkoutUrl ?? "";
  await pay(server, { booking: checkout.booking, checkoutUrl, checkout: checkoutIn(checkoutUrl) });
  assert.equal((await server.ok("getBooking", request)).status, "confirmed");
});

Deno.test("createCheckout: 6 calls at once -> 6 checkouts, one stays open", async () => {
  await using server = await sharedServer({ env });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const token = await server.token("alice");
  for (const slot of slots) {
    const { booking } = await newCheckout(server, "alice", slot);
    const request = { token, params: { bookingId: booking.id } };
    const answers = await Promise.all(Array.from({ length: 6 }, () => server.ok("createCheckout", request)));
    const urls = answers.map(({ checkoutUrl }) => checkoutIn(checkoutUrl ?? ""));
    assert.equal(new Set(urls).size, 6);
    assert.equal((await openCheckouts(server, booking.id)).length, 1);
  }
});

Deno.test("createCheckout, rescheduleBooking: earlier checkout is locked -> wait, then it is closed", async () => {
  await using server = await startServer({ env });
  const room = await newRoom(server);
  const [slot, other] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot && other);
  const { booking, checkout } = await newCheckout(server, "alice", slot);
  const call = { token: await server.token("alice"), params: { bookingId: booking.id } };
  /** Locks a checkout, as the server does to store its reference, until `change` waits for it. */
  const whileLocked = async (id: string, change: () => Promise<unknown>) => {
    const changing = await server.db.transaction().execute(async (trx) => {
      await trx.selectFrom("checkouts").select("id").where("id", "=", id).forNoKeyUpdate().execute();
      const running = change();
      await untilWaiting(server.db, 1);
      return { running };
    });
    await changing.running;
    assert(!(await openCheckouts(server, booking.id)).includes(id));
  };
  await whileLocked(checkout, () => server.ok("createCheckout", call));
  const [second, ...more] = await openCheckouts(server, booking.id);
  assert(second !== undefined && more.length === 0);
  await whileLocked(second, () => server.ok("rescheduleBooking", { ...call, body: { newTimeslotId: other.id } }));
});

Deno.test("createCheckout: booking cancelled or moved meanwhile -> no outdated checkout stays open", async () => {
  await using server = await sharedServer({ env });
  const room = await newRoom(server);
  const slots = await newTimeslots(server, room, { date: "2026-03-09" });
  const others = await newTimeslots(server, room, {
    date: "2026-03-10",
    slotDuration: 90,
    workingHours: { start: "00:00", end: "24:00" },
  });
  const token = await server.token("alice");
  for (const [index, slot] of slots.entries()) {
    const { booking } = await newCheckout(server, "alice", slot);
    const request = { token, params: { bookingId: booking.id } };
    const other = others[index];
    assert(other);
    const change = index % 2 === 0
      ? server.ok("cancelBooking", request)
      : server.ok("rescheduleBooking", { ...request, body: { newTimeslotId: other.id } });
    await Promise.all([...Array.from({ length: 4 }, () => server.call("createCheckout", request)), change]);
    await server.sweep();
    const { status, price } = await server.ok("getBooking", request);
    const open = await openCheckouts(server, booking.id);
    // A checkout after the move is of the new price. Either may come first.
    assert(
      status === "cancelled" ? open.length === 0 : open.length <= 1,
      `${open.length} are open, ${status} at ${price}`,
    );
  }
});
