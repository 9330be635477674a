/**
 * Requests that ask the payment provider after their commit. Their keys are in progress until the provider has answered.
 * tests/long/idempotency_crash_points_test.ts kills a server in that time.
 */
import assert from "node:assert/strict";
import type { Booking, BookingCreated, Operations } from "../../generated/contract.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import type { Call, TestServer } from "../support/server.ts";
import { newHeldBooking, sessionsOf, sharedWorld, startWorld, type World } from "../payments/world.ts";
import {
  age,
  assertDone,
  assertInProgress,
  assertRefused,
  assertReplayed,
  countKeys,
  newKey,
  sendWithKey,
  type Sent,
} from "./keyed_requests.ts";

const sessions = /POST \/v1\/checkout\/sessions$/;
/** Limit of the work after the commit of a request. */
const timeLimit = "15 seconds";

// Other tests validate answers against the contract.
const created = ({ text }: Sent): BookingCreated => JSON.parse(text);
const checkoutOf = ({ text }: Sent): Operations["createCheckout"]["answer"]["body"] => JSON.parse(text);

async function newCall(server: TestServer): Promise<Call> {
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  return { token: await server.token("alice"), body: { roomId, timeslotId } };
}

async function bookingsOf(server: TestServer, { token }: Call): Promise<Booking[]> {
  return (await server.ok("listBookings", { token: token ?? "" })).items;
}

/** Sends a request and waits until Stripe is asked. Stripe answers after `stripe.release()`. */
async function sendUntilAsked(
  { server, stripe }: World,
  id: "createBooking" | "createCheckout",
  call: Call,
  key: string,
): Promise<{ first: Promise<Sent> }> {
  stripe.fault = { kind: "slow", on: sessions, times: 1 };
  const asked = stripe.nextRequest(sessions);
  const first = sendWithKey(server, id, call, key);
  // An early answer gives the reason.
  const early = await Promise.race([asked.then(() => undefined), first]);
  assert(early === undefined, early?.text);
  return { first };
}

Deno.test("createBooking: same key while Stripe is asked -> idempotency_in_progress, then replayed with its checkoutUrl", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const [call, key] = [await newCall(server), newKey()];
  const { first } = await sendUntilAsked(world, "createBooking", call, key);
  // The booking is committed, and its key is in use.
  const [booking] = await bookingsOf(server, call);
  assert(booking);
  for (let time = 0; time < 3; time++) assertInProgress(await sendWithKey(server, "createBooking", call, key));
  const other = { ...call, body: { ...call.body as object, notes: "another" } };
  assertRefused(await sendWithKey(server, "createBooking", other, key), "idempotency_key_reused");
  stripe.release();
  const done = await first;
  assertDone(done);
  assert.equal(created(done).booking.id, booking.id);
  assert.equal(created(done).checkoutUrl, sessionsOf(world, booking.id)[0]?.url);
  assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
  await age(server.db, timeLimit);
  assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
  assert.equal((await bookingsOf(server, call)).length, 1);
  assert.equal(sessionsOf(world, booking.id).length, 1);
});

Deno.test("createCheckout: same key while Stripe is asked -> idempotency_in_progress, then replayed", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  const { first } = await sendUntilAsked(world, "createCheckout", call, key);
  for (let time = 0; time < 3; time++) assertInProgress(await sendWithKey(server, "createCheckout", call, key));
  stripe.release();
  const done = await first;
  assertDone(done);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
  await age(server.db, timeLimit);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
  assert.equal(sessionsOf(world, booking.id).length, 2);
});

Deno.test("createBooking: Stripe fails -> replayed without a checkoutUrl", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const [call, key] = [await newCall(server), newKey()];
  stripe.fault = { kind: "close", on: sessions };
  const done = await sendWithKey(server, "createBooking", call, key);
  assertDone(done);
  assert.equal(created(done).checkoutUrl, null);
  stripe.fault = undefined;
  assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
  assert.equal((await bookingsOf(server, call)).length, 1);
});

Deno.test("createCheckout: Stripe fails -> not stored, succeeds when sent again with its key", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  for (const kind of [503, "close", "garbage"] as const) {
    stripe.fault = { kind, on: sessions };
    const failed = await sendWithKey(server, "createCheckout", call, key);
    assert.equal(failed.status, 503);
    assertRefused(failed, "payment_provider_unavailable");
    assert.equal(await countKeys(server.db, server.subject("alice")), 0);
  }
  stripe.fault = undefined;
  const done = await sendWithKey(server, "createCheckout", call, key);
  assertDone(done);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
});

Deno.test("createCheckout: Stripe refuses -> same refusal is replayed", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  stripe.fault = { kind: 400, code: "amount_too_small", on: sessions };
  const refused = await sendWithKey(server, "createCheckout", call, key);
  const { requestId } = assertRefused(refused, "booking_not_payable");
  assert.equal(refused.headers.get("X-Request-Id"), requestId);
  stripe.fault = undefined;
  assertReplayed(refused, await sendWithKey(server, "createCheckout", call, key));
});

Deno.test("createBooking: replayed after the time limit, then the first request ends -> same answer is replayed", async () => {
  const world = await sharedWorld();
  const { server, stripe } = world;
  const [call, key] = [await newCall(server), newKey()];
  const { first } = await sendUntilAsked(world, "createBooking", call, key);
  await age(server.db, timeLimit);
  const replay = await sendWithKey(server, "createBooking", call, key);
  assert.deepEqual([replay.status, replay.isReplay, created(replay).checkoutUrl], [201, true, null]);
  stripe.release();
  assertDone(await first);
  assertReplayed(replay, await sendWithKey(server, "createBooking", call, key));
  assert.equal((await bookingsOf(server, call)).length, 1);
});

interface OvertakenRequests extends AsyncDisposable {
  call: Call;
  key: string;
  bookingId: number;
  /** The server of the first request. */
  world: World;
  /** A server on the same database with an account of its own, for the second request. */
  other: World;
  /** Requests for a checkout. The second was sent after the time limit of the first. */
  first: Promise<Sent>;
  second: Promise<Sent>;
}

async function newOvertakenRequests(): Promise<OvertakenRequests> {
  const world = await sharedWorld();
  const other = await startWorld({ database: { url: world.server.databaseUrl } });
  const { booking: { id: bookingId } } = await newHeldBooking(world);
  const [call, key] = [{ token: await world.server.token("alice"), params: { bookingId } }, newKey()];
  const { first } = await sendUntilAsked(world, "createCheckout", call, key);
  await age(world.server.db, timeLimit);
  const { first: second } = await sendUntilAsked(other, "createCheckout", call, key);
  const dispose = () => other[Symbol.asyncDispose]();
  return { call, key, bookingId, world, other, first, second, [Symbol.asyncDispose]: dispose };
}

Deno.test("createCheckout: first request ends late, after a second with its key started -> answer of the second is replayed", async () => {
  await using requests = await newOvertakenRequests();
  const { call, key, bookingId, world, other, first, second } = requests;
  world.stripe.release();
  await first;
  other.stripe.release();
  const done = await second;
  assertDone(done);
  const replay = await sendWithKey(other.server, "createCheckout", call, key);
  assertReplayed(done, replay);
  // The checkout of the first is closed.
  const open = await world.server.db.selectFrom("checkouts").select("reference").where("booking_id", "=", bookingId)
    .where("closed_at", "is", null).execute();
  assert.deepEqual(open.map(({ reference }) => reference), [checkoutOf(replay).checkoutUrl?.split("/").at(-1)]);
});

Deno.test("createCheckout: first request fails late, after a second with its key started -> answer of the second is replayed", async () => {
  await using requests = await newOvertakenRequests();
  const { call, key, world, other, first, second } = requests;
  // The retry fails as well.
  world.stripe.fault = { kind: "close", on: sessions };
  world.stripe.drop();
  assertRefused(await first, "payment_provider_unavailable");
  other.stripe.release();
  const done = await second;
  assertDone(done);
  assertReplayed(done, await sendWithKey(other.server, "createCheckout", call, key));
});
