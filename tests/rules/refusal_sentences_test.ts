/** The sentence of a refusal is true for the caller who reads it, also for one who repeats a request. */
import assert from "node:assert/strict";
import { confirm, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { newCheckout } from "../support/sandbox_payments.ts";
import { sharedServer } from "../support/server.ts";

const date = "2026-03-09";

Deno.test("createBooking and rescheduleBooking: timeslot that the caller has already -> says so, with the booking", async () => {
  await using server = await sharedServer();
  const [first, second] = await newTimeslots(server, await newRoom(server), { date });
  assert(first && second);
  const own = await newBooking(server, "alice", first);
  const other = await newBooking(server, "alice", second);
  const detailOf = async (subject: string) => {
    const body = { roomId: first.roomId, timeslotId: first.id };
    const call = { token: await server.token(subject), body };
    return (await server.refused("timeslot_unavailable", "createBooking", call)).detail;
  };
  const mine =
    `You have timeslot ${first.id} already, with booking ${own.id}. Choose another one for a second booking.`;
  assert.equal(await detailOf("alice"), mine);
  assert.equal(await detailOf("bob"), `Timeslot ${first.id} is taken. Choose another one.`);
  const token = await server.token("alice");
  const move = async ({ id: bookingId }: { id: number }) =>
    (await server.refused("timeslot_unavailable", "rescheduleBooking", {
      token,
      params: { bookingId },
      body: { newTimeslotId: first.id },
    })).detail;
  assert.equal(await move(other), mine);
  assert.equal(await move(own), `The booking is in timeslot ${first.id} already.`);
});

Deno.test("cancelBooking: cancelled already -> says so, and by whom or why", async (t) => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const slots = await newTimeslots(server, await newRoom(server), { date });
  const [token, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const ways: Record<string, { cancel(call: { params: { bookingId: number } }): Promise<unknown>; detail: string }> = {
    "by its user": {
      cancel: (call) => server.ok("cancelBooking", { ...call, token }),
      detail: "The booking is cancelled already.",
    },
    "by an admin": {
      cancel: (call) => server.ok("updateBookingStatus", { ...call, token: admin, body: { status: "cancelled" } }),
      detail: "The booking is cancelled already by an admin.",
    },
    "not paid": {
      cancel: async () => {
        server.clock.set("2026-03-02T10:15:00.000Z");
        await server.sweep();
      },
      detail: "The booking is cancelled already: it was not paid in time.",
    },
  };
  for (const [index, [name, { cancel, detail }]] of Object.entries(ways).entries()) {
    await t.step(name, async () => {
      const { booking } = await newCheckout(server, "alice", slots[index] ?? assert.fail());
      const call = { params: { bookingId: booking.id } };
      await cancel(call);
      const refusal = await server.refused("booking_not_cancellable", "cancelBooking", { ...call, token });
      assert.equal(refusal.detail, detail);
    });
  }
});

Deno.test("updateBookingStatus: status that the booking has -> says `already`", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const { id: bookingId } = await confirm(server, await newBooking(server, "alice", timeslot));
  const call = { token: await server.token("admin", "admin"), params: { bookingId }, body: { status: "confirmed" } };
  const { detail } = await server.refused("invalid_status_transition", "updateBookingStatus", call);
  assert.equal(detail, "Invalid status transition to: confirmed. The booking is confirmed already.");
});

Deno.test("createBooking: more pending bookings than a lowered limit -> names both numbers", async () => {
  await using server = await sharedServer({ env: { MAX_PENDING_BOOKINGS: "3" } });
  const slots = await newTimeslots(server, await newRoom(server), { date });
  for (const slot of slots.slice(0, 3)) await newBooking(server, "alice", slot);
  const body = { roomId: slots[3]?.roomId, timeslotId: slots[3]?.id };
  const call = { token: await server.token("alice"), body };
  const { detail } = await server.refused("too_many_pending_bookings", "createBooking", call);
  assert.equal(
    detail,
    "You have 3 bookings that are not paid or confirmed. The limit for one user is 3. " +
      "Pay or cancel one, or wait until one is confirmed.",
  );
});

Deno.test("If-Match: weak, malformed or another tag -> 412 with the true reason, nothing changes", async (t) => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const call = { token: await server.token("admin", "admin"), params: { roomId: room.id }, body: { capacity: 7 } };
  const tag = (await server.call("getRoom", { params: call.params })).headers.get("ETag") ?? assert.fail();
  const changed = "The resource does not have the entity tag of If-Match. Read it again before you change it.";
  const suffixed = "The entity tag in If-Match has a suffix such as -gzip, which a proxy adds to compressed answers. " +
    "Send the tag without it.";
  const cases: Record<string, string> = {
    [`W/${tag}`]:
      "The entity tag in If-Match is weak. A proxy may have added W/ when it compressed the answer. Send the tag without W/.",
    [`"other", W/${tag}`]:
      "The entity tag in If-Match is weak. A proxy may have added W/ when it compressed the answer. Send the tag without W/.",
    [tag.replaceAll('"', "")]: 'If-Match must be the ETag of the resource, with its quotes: If-Match: "…".',
    '"other"': changed,
    'W/"other"': changed,
    // As Apache marks a compressed answer.
    [tag.replace(/"$/, '-gzip"')]: suffixed,
    [`W/${tag.replace(/"$/, '-br"')}`]: suffixed,
  };
  for (const [ifMatch, detail] of Object.entries(cases)) {
    await t.step(ifMatch.replaceAll(tag, "the tag"), async () => {
      const refused = { ...call, headers: { "If-Match": ifMatch } };
      assert.equal((await server.refused("precondition_failed", "updateRoom", refused)).detail, detail);
    });
  }
  assert.deepEqual(await server.ok("getRoom", { params: call.params }), room);
  assert.equal((await server.ok("updateRoom", { ...call, headers: { "If-Match": `"other", ${tag}` } })).capacity, 7);
});

Deno.test("listBookings: both ends in an hour that the clocks skip -> an empty list, not a reversed range", async () => {
  await using server = await sharedServer();
  await newRoom(server, { timeZone: "Europe/Berlin" });
  const query = { from_date: "2026-03-29T02:10", to_date: "2026-03-29T02:50" };
  assert.equal((await server.ok("listBookings", { token: await server.token("alice"), query })).total, 0);
});
