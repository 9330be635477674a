import assert from "node:assert/strict";
import type { Booking, BookingStatus, ProblemCode, Room, Timeslot } from "../../generated/contract.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

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

async function move({ server, booking }: Scene, newTimeslotId: number): Promise<{ booking: Booking; message: string }> {
  const token = await server.token("alice");
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

/** A timeslot of two hours, so twice the price. */
async function longTimeslot({ server, room }: Scene): Promise<Timeslot> {
  const [slot] = await newTimeslots(server, room, { date: "2026-03-10", slotDuration: 120 });
  assert(slot);
  return slot;
}

Deno.test("rescheduleBooking moves a booking, keeps the rest of it, and frees the old timeslot at once", async () => {
  await using server = await startServer();
  const scene = await newScene(server);
  const { booking, next } = scene;
  server.clock.set("2026-03-03T08:00:00.000Z");
  const freeBefore = await freeIds(scene);
  const moved = await move(scene, next.id);
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

Deno.test("rescheduleBooking moves a booking to and fro as often as its owner likes", async () => {
  await using server = await startServer({ pool: 1 });
  const scene = await newScene(server);
  for (let times = 0; times < 5; times++) {
    assert.equal((await move(scene, scene.next.id)).booking.timeslotId, scene.next.id);
    const { booking } = await move(scene, scene.booking.timeslotId);
    assert.deepEqual(booking, scene.booking);
  }
});

Deno.test("rescheduleBooking prices a pending booking again", async (t) => {
  const unpaid = { paymentStatus: "unpaid", currency: "EUR" };
  const cases = [
    { name: "for a longer timeslot", change: {}, expected: { price: 120, ...unpaid } },
    { name: "at a rate that rose", change: { hourlyRate: 33.33 }, expected: { price: 66.66, ...unpaid } },
    { name: "in another currency", change: { currency: "USD" }, expected: { price: 120, ...unpaid, currency: "USD" } },
    {
      name: "without a rate",
      change: { hourlyRate: null },
      expected: { price: 0, paymentStatus: "not_required", currency: "EUR" },
    },
  ];
  await using server = await startServer();
  for (const { name, change, expected } of cases) {
    await t.step(name, async () => {
      const scene = await newScene(server);
      await changeRoom(scene, change);
      const { status, price, paymentStatus, currency } = (await move(scene, (await longTimeslot(scene)).id)).booking;
      assert.deepEqual({ status, price, paymentStatus, currency }, { status: "pending", ...expected });
    });
  }
});

Deno.test("rescheduleBooking asks a pending booking to be paid that cost nothing before", async () => {
  await using server = await startServer();
  const scene = await newScene(server, { hourlyRate: null });
  await changeRoom(scene, { hourlyRate: 0.01 });
  const { price, paymentStatus } = (await move(scene, scene.next.id)).booking;
  assert.deepEqual({ price, paymentStatus }, { price: 0.01, paymentStatus: "unpaid" });
});

Deno.test("rescheduleBooking moves a confirmed booking to a timeslot of the same price, paid as it is", async () => {
  await using server = await startServer();
  const scene = await newScene(server);
  const confirmed = await confirm(server, scene.booking);
  // Twice as long at half the rate is the same price.
  await changeRoom(scene, { hourlyRate: 30 });
  const slot = await longTimeslot(scene);
  const { booking } = await move(scene, slot.id);
  assert.deepEqual(booking, { ...confirmed, timeslotId: slot.id, timeslot: slot });
  assert.equal(booking.amountPaid, 60);
});

Deno.test("rescheduleBooking works until the last millisecond before both timeslots start", async () => {
  await using server = await startServer();
  const scene = await newScene(server);
  server.clock.set("2026-03-09T08:59:59.999Z");
  await move(scene, scene.next.id);
  server.clock.set("2026-03-09T09:59:59.999Z");
  assert.equal((await move(scene, scene.afterNext.id)).booking.timeslotId, scene.afterNext.id);
});

Deno.test("rescheduleBooking refuses a timeslot that cannot be had and leaves the booking where it is", async (t) => {
  interface Case {
    name: string;
    code: ProblemCode;
    /** Prepares the refusal and names the timeslot to ask for. */
    target: (scene: Scene) => number | Promise<number>;
  }
  const cases: Case[] = [
    { name: "one that is not there", code: "unknown_timeslot", target: () => Number.MAX_SAFE_INTEGER },
    {
      name: "one of another room",
      code: "timeslot_not_in_room",
      target: async ({ server }) => (await newScene(server)).next.id,
    },
    {
      name: "one that is taken",
      code: "timeslot_unavailable",
      target: async ({ server, next }) => (await newBooking(server, "bob", next)).timeslotId,
    },
    {
      name: "one of the same user",
      code: "timeslot_unavailable",
      target: async ({ server, next }) => (await newBooking(server, "alice", next)).timeslotId,
    },
    { name: "the booking's own", code: "timeslot_unavailable", target: ({ booking }) => booking.timeslotId },
    {
      name: "one that starts now",
      code: "timeslot_unavailable",
      target: async (scene) => {
        await move(scene, scene.afterNext.id);
        scene.server.clock.set(scene.next.startTime);
        return scene.next.id;
      },
    },
    {
      name: "one of the room when it is deactivated",
      code: "room_inactive",
      target: async (scene) => {
        await changeRoom(scene, { isActive: false });
        return scene.next.id;
      },
    },
    {
      name: "a longer one when it is confirmed",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        return (await longTimeslot(scene)).id;
      },
    },
    {
      name: "one a cent dearer when it is confirmed",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        await changeRoom(scene, { hourlyRate: 60.01 });
        return scene.next.id;
      },
    },
    {
      name: "one of the same number in another currency when it is confirmed",
      code: "price_differs",
      target: async (scene) => {
        await confirm(scene.server, scene.booking);
        await changeRoom(scene, { currency: "USD" });
        return scene.next.id;
      },
    },
  ];
  await using server = await startServer();
  for (const { name, code, target } of cases) {
    await t.step(`${name}: ${code}`, async () => {
      server.clock.set("2026-03-02T10:00:00.000Z");
      const scene = await newScene(server);
      // Later than the booking was made, so that a change would show in updatedAt.
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

Deno.test("rescheduleBooking answers booking_not_reschedulable once the booking has started or is over", async (t) => {
  const over: BookingStatus[] = ["cancelled", "completed", "no_show"];
  await using server = await startServer();
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
        // Back before the start, so that nothing but the status stands in the way.
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

Deno.test("rescheduleBooking answers 403 not_booking_owner to others, admins too, and 404 for no booking", async () => {
  await using server = await startServer();
  const { booking, next } = await newScene(server);
  const body = { newTimeslotId: next.id };
  const params = { bookingId: booking.id };
  for (const token of [await server.token("bob"), await server.token("admin", "admin")]) {
    assert.equal((await server.refused("not_booking_owner", "rescheduleBooking", { token, params, body })).status, 403);
  }
  const token = await server.token("alice");
  assert.deepEqual(await server.ok("getBooking", { token, params }), booking);
  const nowhere = { token, params: { bookingId: booking.id + 1 }, body };
  assert.equal((await server.refused("booking_not_found", "rescheduleBooking", nowhere)).status, 404);
});
