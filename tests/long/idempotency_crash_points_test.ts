/** Servers that are killed just before or after a commit, or while the payment provider is asked. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, BookingCreated, Room, Timeslot } from "../../generated/contract.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type DatabaseProxy, type Moment, newDatabaseProxy } from "../support/database_proxy.ts";
import { eventually, type ServerProcess, startServerProcess } from "../support/process.ts";
import { type Call, type OperationId, startServer, testSecret, type TestServer } from "../support/server.ts";
import { startStripe } from "../support/stripe_stand_in.ts";
import {
  age,
  assertDone,
  assertInProgress,
  assertReplayed,
  everythingElse,
  newKey,
  sendWithKey,
  type Sent,
} from "../idempotency/keyed_requests.ts";

const sessions = /POST \/v1\/checkout\/sessions$/;
/** Limit of the work after the commit of a request. */
const timeLimit = "15 seconds";

// Other tests validate answers against the contract.
const created = ({ text }: Sent): BookingCreated => JSON.parse(text);

interface World extends AsyncDisposable {
  /** A server on the same database that stays alive, to read from. */
  base: TestServer;
  room: Room;
  slots: Timeslot[];
  /** Between `server` and its database. */
  proxy: DatabaseProxy;
  server: ServerProcess;
  /** Kills the server and starts the next one. */
  restart(): Promise<void>;
}

async function newWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  // The processes use the system clock.
  const base = stack.use(await startServer({ now: Temporal.Now.instant().toString() }));
  const room = await newRoom(base);
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const slots = await newTimeslots(base, room, { date });
  const proxy = stack.use(await newDatabaseProxy(base.databaseUrl));
  const env = {
    DATABASE_URL: proxy.url,
    AUTH_JWT_SECRET: testSecret,
    DATABASE_POOL: "12",
    RATE_LIMIT: "off",
    MAX_PENDING_BOOKINGS: "0",
    PAYMENT_PROVIDER: "none",
  };
  const end = async () => {
    world.server.signal("SIGKILL");
    await world.server.end();
  };
  const world: World = {
    base,
    room,
    slots,
    proxy,
    server: await startServerProcess("serve", env),
    async restart() {
      await end();
      world.server = await startServerProcess("serve", env);
    },
    async [Symbol.asyncDispose]() {
      await end();
      await whole.disposeAsync();
    },
  };
  const whole = stack.move();
  return world;
}

interface Change {
  id: OperationId;
  call: Call;
  /** The statement that stores the answer or the result. */
  statement: RegExp;
}

const ofTransaction = /insert into "idempotency_keys"/;
/** Also the change itself. */
const alone = /insert into idempotency_keys/;

/** One change of each kind: creation, update and refusal, with and without an audit entry. */
async function newChanges({ base, room, slots }: World): Promise<Change[]> {
  const [token, admin] = [await base.token("alice"), await base.token("admin", "admin")];
  const nextSlot = (): Timeslot => {
    const slot = slots.pop();
    assert(slot);
    return slot;
  };
  const book = (): Promise<Booking> => newBooking(base, "alice", nextSlot());
  const paramsOf = ({ id }: Booking) => ({ bookingId: id });
  const [booked, cancelled, confirmed] = [await book(), await book(), await book()];
  return [
    { id: "createBooking", call: { token, body: { roomId: room.id, timeslotId: nextSlot().id } }, statement: alone },
    // Refused: timeslot_unavailable.
    {
      id: "createBooking",
      call: { token, body: { roomId: room.id, timeslotId: booked.timeslotId } },
      statement: ofTransaction,
    },
    { id: "cancelBooking", call: { token, params: paramsOf(cancelled) }, statement: alone },
    {
      id: "updateBookingStatus",
      call: { token: admin, params: paramsOf(confirmed), body: { status: "confirmed" } },
      statement: ofTransaction,
    },
    {
      id: "createRoom",
      call: { token: admin, body: { name: "Another", roomType: "office", hourlyRate: 1 } },
      statement: ofTransaction,
    },
  ];
}

/** Sends a change, and resolves when its server is held at the commit. */
async function sendInto(
  { server, proxy }: World,
  moment: Moment,
  { id, call, statement }: Change,
): Promise<{ key: string; cut: Promise<void> }> {
  const key = newKey();
  const held = proxy.hold(moment, statement);
  const cut = sendWithKey(server, id, call, key).then(
    ({ text }) => assert.fail(`${id} was answered: ${text}`),
    (failure) => assert(failure instanceof TypeError),
  );
  // Fails if the answer comes first.
  await Promise.race([held, cut]);
  return { key, cut };
}

/** The number of keys that have an answer or a result. */
async function countStoredKeys({ base }: World): Promise<number> {
  return (await sql`select from idempotency_keys where status is not null or result is not null`.execute(base.db)).rows
    .length;
}

/** Sends the changes, kills the server at their commits, and sends each again to the next server. */
async function sendTwice(world: World, moment: Moment, changes: Change[]): Promise<Sent[]> {
  const sent = [];
  const keysBefore = await countStoredKeys(world);
  for (const change of changes) sent.push({ change, ...await sendInto(world, moment, change) });
  await world.restart();
  await Promise.all(sent.map(({ cut }) => cut));
  assert.equal(await countStoredKeys(world) - keysBefore, moment === "after" ? changes.length : 0);
  const before = await everythingElse(world.base.db);
  const answers = [];
  for (const { change: { id, call }, key } of sent) {
    let answer = await sendWithKey(world.server, id, call, key);
    // Postgres rolls back when it notices that the connection is closed.
    await eventually(async () => {
      if (answer.status === 409) answer = await sendWithKey(world.server, id, call, key);
      return answer.status !== 409;
    });
    answers.push(answer);
    assertReplayed(answer, await sendWithKey(world.server, id, call, key));
  }
  if (moment === "after") assert.deepEqual(await everythingElse(world.base.db), before);
  return answers;
}

async function countRows({ base }: World): Promise<Record<string, number>> {
  const { rows } = await sql<{ type: string; count: number }>`
    select type::text, count(*)::int as count from booking_events where type is not null group by type
    union all select 'audited', count(*)::int from audit_log
    union all select 'rooms', count(*)::int from rooms
  `.execute(base.db);
  return Object.fromEntries(rows.map(({ type, count }) => [type, count]));
}

Deno.test("idempotency: server killed before or after the commit -> retry does it once or returns the stored answer", async (t) => {
  await using world = await newWorld();
  for (const moment of ["before", "after"] as const) {
    const result = moment === "before" ? "retry does it once" : "retry returns the stored answer";
    await t.step(`${moment} the commit -> ${result}`, async () => {
      const changes = await newChanges(world);
      const before = await countRows(world);
      const answers = await sendTwice(world, moment, changes);
      assert.deepEqual(answers.map(({ status }) => status), [201, 400, 200, 200, 201]);
      for (const { isReplay } of answers) assert.equal(isReplay, moment === "after");
      const after = await countRows(world);
      const added = Object.entries(after).map(([type, count]) => [type, count - (before[type] ?? 0)] as const);
      const happened = Object.fromEntries(added.filter(([, count]) => count > 0));
      assert.deepEqual(
        Object.fromEntries(
          ["created", "cancelled", "confirmed", "audited", "rooms"].map((type) => [type, happened[type]]),
        ),
        { created: 1, cancelled: 1, confirmed: 1, audited: 2, rooms: 1 },
      );
    });
  }
});

Deno.test("idempotency: server killed while it asks the payment provider -> booking replayed, checkout created anew", async () => {
  await using stripe = await startStripe();
  await using server = await startServer({ now: Temporal.Now.instant().toString(), env: stripe.env });
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const [heldSlot, slot] = await newTimeslots(server, await newRoom(server), { date });
  assert(heldSlot && slot);
  const token = await server.token("alice");
  const { booking: held } = await server.ok("createBooking", {
    token,
    body: { roomId: heldSlot.roomId, timeslotId: heldSlot.id },
  });
  const booking = { token, body: { roomId: slot.roomId, timeslotId: slot.id } };
  const checkout = { token, params: { bookingId: held.id } };
  const [bookingKey, checkoutKey] = [newKey(), newKey()];

  const env = { ...stripe.env, DATABASE_URL: server.databaseUrl, AUTH_JWT_SECRET: testSecret, RATE_LIMIT: "off" };
  await using dying = await startServerProcess("serve", env);
  stripe.fault = { kind: "slow", on: sessions };
  const cut = [];
  for (
    const [id, call, key] of [["createBooking", booking, bookingKey], [
      "createCheckout",
      checkout,
      checkoutKey,
    ]] as const
  ) {
    const asked = stripe.nextRequest(sessions);
    cut.push(assert.rejects(sendWithKey(dying, id, call, key), TypeError));
    await asked;
  }
  dying.signal("SIGKILL");
  await Promise.all([...cut, dying.end()]);
  stripe.fault = undefined;

  // For others the server may still be alive.
  assertInProgress(await sendWithKey(server, "createBooking", booking, bookingKey));
  assertInProgress(await sendWithKey(server, "createCheckout", checkout, checkoutKey));
  await age(server.db, timeLimit);
  const replay = await sendWithKey(server, "createBooking", booking, bookingKey);
  assert.deepEqual([replay.status, replay.isReplay, created(replay).checkoutUrl], [201, true, null]);
  assertReplayed(replay, await sendWithKey(server, "createBooking", booking, bookingKey));
  const anew = await sendWithKey(server, "createCheckout", checkout, checkoutKey);
  assertDone(anew);
  assertReplayed(anew, await sendWithKey(server, "createCheckout", checkout, checkoutKey));

  const { id } = created(replay).booking;
  const { items } = await server.ok("listBookings", { token });
  assert.deepEqual(items.map((each) => each.id).toSorted(), [held.id, id].toSorted());
  // The booking can still be paid.
  const call = { token, params: { bookingId: id } };
  assertDone(await sendWithKey(server, "createCheckout", call, newKey()));
});
