/**
 * Requests that ask the payment provider after their change is committed. Until that is done the key is still running.
 * tests/long/idempotency_crash_points_test.ts kills a server meanwhile.
 */
import assert from "node:assert/strict";
import type { Booking, BookingCreated, Operations } from "../../generated/contract.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import type { Call, TestServer } from "../support/server.ts";
import { newHeldBooking, startWorld, type World } from "../payments/world.ts";
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
/** What a request may take for what is done outside of its transaction. */
const timeLimit = "15 seconds";

// That answers are as the contract has them is tested elsewhere.
const created = ({ text }: Sent): BookingCreated => JSON.parse(text);
const checkoutOf = ({ text }: Sent): Operations["createCheckout"]["answer"]["body"] => JSON.parse(text);

async function newCall(server: TestServer): Promise<Call> {
  const { timeslot: { id: timeslotId, roomId } } = await newRoomWithTimeslot(server);
  return { token: await server.token("alice"), body: { roomId, timeslotId } };
}

async function bookingsOf(server: TestServer, { token }: Call): Promise<Booking[]> {
  return (await server.ok("listBookings", { token: token ?? "" })).items;
}

/** Sends a request whose provider is asked and does not answer before `stripe.release()`. */
async function sendIntoWait(
  { server, stripe }: World,
  id: "createBooking" | "createCheckout",
  call: Call,
  key: string,
  kind: "slow" | "drip" = "slow",
): Promise<{ first: Promise<Sent> }> {
  stripe.fault = { kind, on: sessions, times: 1 };
  const asked = stripe.nextRequest(sessions);
  const first = sendWithKey(server, id, call, key);
  // An answer that comes instead says why.
  const early = await Promise.race([asked.then(() => undefined), first]);
  assert(early === undefined, early?.text);
  return { first };
}

Deno.test("a booking whose provider is being asked is still running, and is then replayed with its checkoutUrl", async () => {
  await using world = await startWorld();
  const { server, stripe } = world;
  const [call, key] = [await newCall(server), newKey()];
  const { first } = await sendIntoWait(world, "createBooking", call, key);
  // The booking is there for everyone, and its key is not free.
  const [booking] = await bookingsOf(server, call);
  for (let time = 0; time < 3; time++) assertInProgress(await sendWithKey(server, "createBooking", call, key));
  const other = { ...call, body: { ...call.body as object, notes: "another" } };
  assertRefused(await sendWithKey(server, "createBooking", other, key), "idempotency_key_reused");
  stripe.release();
  const done = await first;
  assertDone(done);
  assert.equal(created(done).booking.id, booking?.id);
  assert.equal(created(done).checkoutUrl, [...stripe.sessions.values()][0]?.url);
  assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
  await age(server.db, timeLimit);
  assertReplayed(done, await sendWithKey(server, "createBooking", call, key));
  assert.equal((await bookingsOf(server, call)).length, 1);
  assert.equal(stripe.sessions.size, 1);
});

Deno.test("a checkout whose provider is being asked is still running, and is then replayed", async () => {
  await using world = await startWorld();
  const { server, stripe } = world;
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  const { first } = await sendIntoWait(world, "createCheckout", call, key);
  for (let time = 0; time < 3; time++) assertInProgress(await sendWithKey(server, "createCheckout", call, key));
  stripe.release();
  const done = await first;
  assertDone(done);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
  await age(server.db, timeLimit);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
  assert.equal(stripe.sessions.size, 2);
});

Deno.test("a booking whose provider fails is replayed without a checkoutUrl", async () => {
  await using world = await startWorld();
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

Deno.test("a checkout whose provider fails is not stored, and works when it is sent again with its key", async () => {
  await using world = await startWorld();
  const { server, stripe } = world;
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  for (const kind of [503, "close", "garbage"] as const) {
    stripe.fault = { kind, on: sessions };
    const failed = await sendWithKey(server, "createCheckout", call, key);
    assert.equal(failed.status, 503);
    assertRefused(failed, "payment_provider_unavailable");
    assert.equal(await countKeys(server.db), 0);
  }
  stripe.fault = undefined;
  const done = await sendWithKey(server, "createCheckout", call, key);
  assertDone(done);
  assertReplayed(done, await sendWithKey(server, "createCheckout", call, key));
});

Deno.test("a checkout that the provider refuses is replayed as the refusal of then", async () => {
  await using world = await startWorld();
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

Deno.test("an answer that was replayed because its request took too long stays the answer when that ends after all", async () => {
  await using world = await startWorld();
  const { server, stripe } = world;
  const [call, key] = [await newCall(server), newKey()];
  const { first } = await sendIntoWait(world, "createBooking", call, key);
  await age(server.db, timeLimit);
  const replay = await sendWithKey(server, "createBooking", call, key);
  assert.deepEqual([replay.status, replay.isReplay, created(replay).checkoutUrl], [201, true, null]);
  stripe.release();
  assertDone(await first);
  assertReplayed(replay, await sendWithKey(server, "createBooking", call, key));
  assert.equal((await bookingsOf(server, call)).length, 1);
});

interface Overtaken extends AsyncDisposable {
  call: Call;
  key: string;
  /** Two servers on one database, each with a provider of its own, which is asked by its request. */
  worlds: [World, World];
  /** The requests for a checkout, of which the second was sent when the time of the first was over. */
  first: Promise<Sent>;
  second: Promise<Sent>;
}

async function newOvertaken(kind: "slow" | "drip"): Promise<Overtaken> {
  await using stack = new AsyncDisposableStack();
  const world = stack.use(await startWorld());
  const other = stack.use(await startWorld({ database: { url: world.server.databaseUrl } }));
  const { booking } = await newHeldBooking(world);
  const [call, key] = [{ token: await world.server.token("alice"), params: { bookingId: booking.id } }, newKey()];
  const { first } = await sendIntoWait(world, "createCheckout", call, key, kind);
  await age(world.server.db, timeLimit);
  const { first: second } = await sendIntoWait(other, "createCheckout", call, key);
  const whole = stack.move();
  return { call, key, worlds: [world, other], first, second, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

Deno.test("a checkout that took too long does not put its answer in the place of the one that was done anew", async () => {
  await using overtaken = await newOvertaken("slow");
  const { call, key, worlds: [world, other], first, second } = overtaken;
  world.stripe.release();
  await first;
  other.stripe.release();
  const stands = await second;
  assertDone(stands);
  const replay = await sendWithKey(other.server, "createCheckout", call, key);
  assertReplayed(stands, replay);
  // That of the other is closed.
  const open = await world.server.db.selectFrom("checkouts").select("reference").where("closed_at", "is", null)
    .execute();
  assert.deepEqual(open.map(({ reference }) => reference), [checkoutOf(replay).checkoutUrl?.split("/").at(-1)]);
});

Deno.test("a checkout that took too long and fails does not forget the one that was done anew", async () => {
  await using overtaken = await newOvertaken("drip");
  const { call, key, worlds: [, other], first, second } = overtaken;
  assertRefused(await first, "payment_provider_unavailable");
  other.stripe.release();
  const stands = await second;
  assertDone(stands);
  assertReplayed(stands, await sendWithKey(other.server, "createCheckout", call, key));
});
