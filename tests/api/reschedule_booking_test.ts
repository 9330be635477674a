import assert from "node:assert/strict";
import type { Booking, BookingStatus, ProblemCode, Room, Timeslot } from "../../generated/contract.ts";
import { confirm, missingId, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { eventTypes } from "../support/sandbox_payments.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** A room with hourly timeslots on 2026-03-09 from 09:00, and alice's pending booking of the first. */
interface Scene {
  server: TestServer;
  room: Room;
  booking: Booking;
  /** The two timeslots after the booked one. */
  next: Timeslot;
  afterNext: Timeslot;
}

async function newScene(server: TestServer, fields: Record<string, unknown> = {}): Promise<Scene> {
  const room = await newRoom(server, fields);
  const [first, next, afterNext] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && next && afterNext);
  return { server, room, booking: await newBooking(server, "alice", first), next, afterNext };
}

async function reschedule(
  { server, booking }: Scene,
  newTimeslotId: number,
  subject = "alice",
): Promise<{ booking: Booking; message: string }> {
  const token = await server.token(subject);
  return await server.ok("rescheduleBooking", { token, params: { bookingId: booking.id }, body: { newTimeslotId } });
}

async function changeRoom({ server, room }: Scene, body: Record<string, unknown>): Promise<void> {
  await server.ok("updateRoom", { token: await server.token("admin", "admin"), params: { roomId: room.id }, body });
}

async function freeIds({ server, room }: Scene): Promise<number[]> {
  const query = { date: "2026-03-09" };
  const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
  return timeslots.map(({ id }) => id);
}

/** Generates a timeslot of two hours, for twice the price. */
async function newLongTimeslot({ server, room }: Scene): Promise<Timeslot> {
  const [slot] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 120 });
  assert(slot);
  return slot;
}

Deno.test("rescheduleBooking: free timeslot -> only the timeslot changes, the old one is free at once", async () => {
  await using server = await sharedServer();
  const scene = await newScene(server);
  const { booking, next } = scene;
  server.clock.set("2026-03-03T08:00:00.000Z");
  const freeBefore = await freeIds(scene);
  const moved = await reschedule(scene, next.id);
  assert.deepEqual(moved, {
    booking: { ...booking, timeslotId: next.id, timeslot: next, updatedAt: "2026-03-03T08:00:00.000Z" },
    message: "Booking rescheduled successfully",
  });
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  assert.deepEqual(await server.ok("getBooking", request), moved.booking);
  const freeAfter = freeBefore.filter((id) => id !== next.id).concat(booking.timeslotId);
  assert.deepEqual(await freeIds(scene), freeAfter.sort((a, b) => a - b));
  assert.equal((await newBooking(server, "bob", booking.timeslot)).status, "pending");
});

Deno.test("rescheduleBooking: back and forth 5 times on one connection -> each time moved", async () => {
  await using server = await startServer({ pool: 1 });
  const scene = await newScene(server);
  for (let times = 0; times < 5; times++) {
    assert.equal((await reschedule(scene, scene.next.id)).booking.timeslotId, scene.next.id);
    const { booking } = await reschedule(scene, scene.booking.timeslotId);
    assert.deepEqual(booking, scene.booking);
  }
});

Deno.test("rescheduleBooking: pending booking -> price of the new timeslot", async (t) => {
  const unpaid = { paymentStatus: "unpaid", currency: "EUR" };
  const cases = [
    { name: "longer timeslot", change: {}, expected: { price: 120, ...unpaid } },
    { name: "higher rate", change: { hourlyRate: 33.33 }, expected: { price: 66.66, ...unpaid } },
    { name: "another currency", change: { currency: "USD" }, expected: { price: 120, ...unpaid, currency: "USD" } },
    {
      name: "no rate",
      change: { hourlyRate: null },
      expected: { price: 0, paymentStatus: "not_required", currency: "EUR" },
    },
  ];
  await using server = await sharedServer();
  for (const { name, change, expected } of cases) {
    await t.step(name, async () => {
      const scene = await newScene(server);
      await changeRoom(scene, change);
      const { status, price, paymentStatus, currency } =
        (await reschedule(scene, (await newLongTimeslot(scene)).id)).booking;
      assert.deepEqual({ status, price, paymentStatus, currency }, { status: "pending", ...expected });
    });
  }
});

Deno.test("rescheduleBooking: free booking to a timeslot with a price -> unpaid", async () => {
  await using server = await sharedServer();
  const scene = await newScene(server, { hourlyRate: null });
  await changeRoom(scene, { hourlyRate: 0.01 });
  const { price, paymentStatus } = (await reschedule(scene, scene.next.id)).booking;
  assert.deepEqual({ price, paymentStatus }, { price: 0.01, paymentStatus: "unpaid" });
});

Deno.test("rescheduleBooking: pending booking to a free timeslot of a room with autoConfirm -> confirmed", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const scene = await newScene(server, { autoConfirm: true });
  await changeRoom(scene, { hourlyRate: 0 });
  const { booking } = await reschedule(scene, scene.next.id);
  const { status, price, paymentStatus, amountPaid, holdExpiresAt } = booking;
  assert.deepEqual({ status, price, paymentStatus, amountPaid, holdExpiresAt }, {
    status: "confirmed",
    price: 0,
    paymentStatus: "not_required",
    amountPaid: 0,
    holdExpiresAt: null,
  });
  assert.deepEqual(await eventTypes(server, booking), ["created", "rescheduled", "confirmed"]);
  // A confirmed booking stays confirmed.
  await changeRoom(scene, { autoConfirm: false });
  assert.equal((await reschedule(scene, scene.afterNext.id)).booking.status, "confirmed");
  assert.deepEqual(await eventTypes(server, booking), ["created", "rescheduled", "confirmed", "rescheduled"]);
});

Deno.test("rescheduleBooking: held booking -> the hold keeps its end, at most the new start", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox", HOLD_MINUTES: "90" } });
  server.clock.set("2026-03-09T07:50:00.000Z");
  const scene = await newScene(server);
  // The first timeslot starts before the hold of 90 minutes ends.
  assert.equal(scene.booking.holdExpiresAt, "2026-03-09T09:00:00.000Z");
  const later = await reschedule(scene, scene.next.id);
  assert.equal(later.booking.holdExpiresAt, "2026-03-09T09:00:00.000Z");
  const bobs = await newBooking(server, "bob", scene.afterNext);
  assert.equal(bobs.holdExpiresAt, "2026-03-09T09:20:00.000Z");
  const earlier = await reschedule({ ...scene, booking: bobs }, scene.booking.timeslotId, "bob");
  assert.equal(earlier.booking.holdExpiresAt, "2026-03-09T09:00:00.000Z");
});

Deno.test("rescheduleBooking: hold has expired and the sweep is late -> 400 booking_not_reschedulable", async () => {
  await using server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const { booking, next } = await newScene(server);
  const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
  server.clock.set(booking.holdExpiresAt ?? assert.fail());
  const move = { ...request, body: { newTimeslotId: next.id } };
  const { detail } = await server.refused("booking_not_reschedulable", "rescheduleBooking", move);
  assert.equal(detail, "The hold of the booking has expired. Book the timeslot again.");
  assert.deepEqual(await server.ok("getBooking", request), booking);
});

Deno.test("rescheduleBooking: payments end elsewhere after the booking -> no hold, as a new booking has none", async () => {
  await using before = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const scene = await newScene(before);
  assert(scene.booking.holdExpiresAt !== null);
  await using server = await startServer({ database: { url: before.databaseUrl }, env: { PAYMENT_PROVIDER: "none" } });
  const token = await before.token("alice");
  const move = { token, params: { bookingId: scene.booking.id }, body: { newTimeslotId: scene.next.id } };
  const { status, holdExpiresAt } = (await server.ok("rescheduleBooking", move)).booking;
  assert.deepEqual([status, holdExpiresAt], ["pending", null]);
});

Deno.test("rescheduleBooking: RESCHEDULE_NOTICE_HOURS -> moved until then, refused a millisecond later", async (t) => {
  await using server = await sharedServer({ env: { RESCHEDULE_NOTICE_HOURS: "24" } });
  for (const isConfirmed of [false, true]) {
    await t.step(isConfirmed ? "confirmed" : "pending", async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const scene = await newScene(server);
      if (isConfirmed) await confirm(server, scene.booking);
      // 24 elapsed hours before 09:00.
      server.clock.set("2026-03-08T09:00:00.000Z");
      const { booking } = await reschedule(scene, scene.next.id);
      await reschedule(scene, scene.booking.timeslotId);
      server.clock.set("2026-03-08T09:00:00.001Z");
      const request = { token: await server.token("alice"), params: { bookingId: booking.id } };
      const move = { ...request, body: { newTimeslotId: scene.afterNext.id } };
      const { detail } = await server.refused("booking_not_reschedulable", "rescheduleBooking", move);
      assert.equal(detail, "A booking can be rescheduled until 24 hours before its start. You may still cancel it.");
      assert.equal((await server.ok("getBooking", request)).timeslotId, scene.booking.timeslotId);
      await server.ok("cancelBooking", request);
    });
  }
});

Deno.test("rescheduleBooking: confirmed booking, same price -> moved, still paid", async () => {
  await using server = await sharedServer();
  const scene = await newScene(server);
  const confirmed = await confirm(server, scene.booking);
  // Twice as long at half the rate is the same price.
  await changeRoom(scene, { hourlyRate: 30 });
  const slot = await newLongTimeslot(scene);
  const { booking } = await reschedule(scene, slot.id);
  assert.deepEqual(booking, { ...confirmed, timeslotId: slot.id, timeslot: slot });
  assert.equal(booking.amountPaid, 60);
});

Deno.test("rescheduleBooking: last millisecond before both timeslots start -> moved", async () => {
  await using server = await sharedServer();
  const scene = await newScene(server);
  server.clock.set("2026-03-09T08:59:59.999Z");
  await reschedule(scene, scene.next.id);
  server.clock.set("2026-03-09T09:59:59.999Z");
  assert.equal((await reschedule(scene, scene.afterNext.id)).booking.timeslotId, scene.afterNext.id);
});

Deno.test("rescheduleBooking: unusable timeslot -> 400, the booking is unchanged", async (t) => {
  interface Case {
    name: string;
    code: ProblemCode;
    /** Prepares the refusal and returns the id of the new timeslot. */
    target: (scene: Scene) => number | Promise<number>;
  }
  const cases: Case[] = [
    { name: "unknown", code: "unknown_timeslot", target: () => Number.MAX_SAFE_INTEGER },
    {
      name: "of another room",
      code: "timeslot_not_in_room",
      target: async ({ server }) => (await newScene(server)).next.id,
    },
    {
      name: "booked",
      code: "timeslot_unavailable",
      target: async ({ server, next }) => (await newBooking(server, "bob", next)).timeslotId,
    },
    {
      name: "booked by the same user",
      code: "timeslot_unavailable",
      target: async ({ server, next }) => (await newBooking(server, "alice", next)).timeslotId,
    },
    { name: "the booking's own", code: "timeslot_unavailable", target: ({ booking }) => booking.timeslotId },
    {
      name: "starts now",
      code: "timeslot_unavailable",
      target: async (scene) => {
        await reschedule(scene, scene.afterNext.id);
        scene.server.clock.set(scene.next.startTime);
        return scene.next.id;
      },
    },
    {
      name: "room deactivated",
      code: "room_inactive",
      target: async (scene) => {
        await changeRoom(scene, { isActive: false });
        return scene.next.id;
      },
    },
    {
      name: "confirmed booking, longer timeslot",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        return (await newLongTimeslot(scene)).id;
      },
    },
    {
      name: "confirmed booking, one cent more",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        await changeRoom(scene, { hourlyRate: 60.01 });
        return scene.next.id;
      },
    },
    {
      name: "confirmed booking, same amount in another currency",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        await changeRoom(scene, { currency: "USD" });
        return scene.next.id;
      },
    },
  ];
  await using server = await sharedServer();
  for (const { name, code, target } of cases) {
    await t.step(`${name} -> ${code}`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const scene = await newScene(server);
      // Later than the booking was created, so that a change shows in updatedAt.
      server.clock.set("2026-03-02T11:00:00.000Z");
      const newTimeslotId = await target(scene);
      const request = { token: await server.token("alice"), params: { bookingId: scene.booking.id } };
      const before = await server.ok("getBooking", request);
      const problem = await server.refused(code, "rescheduleBooking", { ...request, body: { newTimeslotId } });
      assert.equal(problem.status, 400);
      assert.deepEqual(await server.ok("getBooking", request), before);
    });
  }
});

Deno.test("rescheduleBooking: started, cancelled, completed or no_show -> 400 booking_not_reschedulable", async (t) => {
  const over: BookingStatus[] = ["cancelled", "completed", "no_show"];
  await using server = await sharedServer();
  for (const status of ["pending", "confirmed", ...over]) {
    await t.step(status, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const { booking, next } = await newScene(server);
      const params = { bookingId: booking.id };
      if (status !== "pending") await confirm(server, booking);
      server.clock.set("2026-03-09T09:00:00.000Z");
      if (over.some((each) => each === status)) {
        const token = await server.token("admin", "admin");
        await server.ok("updateBookingStatus", { token, params, body: { status } });
        // Before the start again, so that only the status is a reason to refuse.
        server.clock.set("2026-03-03T00:00:00.000Z");
      }
      const request = { token: await server.token("alice"), params };
      const before = await server.ok("getBooking", request);
      const body = { newTimeslotId: next.id };
      assert.equal(
        (await server.refused("booking_not_reschedulable", "rescheduleBooking", { ...request, body })).status,
        400,
      );
      assert.deepEqual(await server.ok("getBooking", request), before);
    });
  }
});

Deno.test("rescheduleBooking: another user or an admin -> 403 not_booking_owner, unknown booking -> 404", async () => {
  await using server = await sharedServer();
  const { booking, next } = await newScene(server);
  const body = { newTimeslotId: next.id };
  const params = { bookingId: booking.id };
  for (const token of [await server.token("bob"), await server.token("admin", "admin")]) {
    assert.equal((await server.refused("not_booking_owner", "rescheduleBooking", { token, params, body })).status, 403);
  }
  const token = await server.token("alice");
  assert.deepEqual(await server.ok("getBooking", { token, params }), booking);
  const unknown = { token, params: { bookingId: missingId }, body };
  assert.equal((await server.refused("booking_not_found", "rescheduleBooking", unknown)).status, 404);
});
