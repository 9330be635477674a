/**
 * Servers that are killed, end or lose their database between a booking and its refund. The next server and a client that retries
 * finish it: one booking, paid once, refunded once.
 */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import type { Webhook } from "../../src/payments/provider.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { type DatabaseProxy, type Moment, newDatabaseProxy } from "../support/database_proxy.ts";
import { openOnce } from "../support/open_once.ts";
import { eventually, type ServerProcess, startServerProcess } from "../support/process.ts";
import { type Call, type OperationId, send, startServer, testSecret, type TestServer } from "../support/server.ts";
import { startStripe, type StripeStandIn } from "../support/stripe_stand_in.ts";

interface Life extends AsyncDisposable {
  server: ServerProcess;
  /** Between the server and its database. */
  proxy: DatabaseProxy;
}

interface World extends AsyncDisposable {
  /** A server on the same database that stays alive, to read from. It neither sweeps nor works. */
  base: TestServer;
  stripe: StripeStandIn;
  slots: Timeslot[];
  /** The server that runs now. */
  life: Life;
  /** Kills the server, makes its jobs an hour older, and starts the next server. */
  restart(): Promise<void>;
}

async function startLife({ databaseUrl }: TestServer, stripe: StripeStandIn): Promise<Life> {
  await using stack = new AsyncDisposableStack();
  const proxy = stack.use(await newDatabaseProxy(databaseUrl));
  const noLimits = { RATE_LIMIT: "off", MAX_PENDING_BOOKINGS: "0" };
  const env = { ...stripe.env, ...noLimits, DATABASE_URL: proxy.url, AUTH_JWT_SECRET: testSecret, DATABASE_POOL: "6" };
  const server = await startServerProcess("serve", env);
  stack.defer(async () => {
    server.signal("SIGKILL");
    await server.end();
  });
  const whole = stack.move();
  return { server, proxy, [Symbol.asyncDispose]: () => whole.disposeAsync() };
}

async function newWorld(): Promise<World> {
  await using stack = new AsyncDisposableStack();
  // The processes use the system clock.
  const base = stack.use(await startServer({ now: Temporal.Now.instant().toString() }));
  const stripe = stack.use(await startStripe());
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const slots = await newTimeslots(base, await newRoom(base), { date, slotDuration: 30 });
  const life = await startLife(base, stripe);
  const whole = stack.move();
  const world: World = {
    base,
    stripe,
    slots,
    life,
    async restart() {
      await world.life[Symbol.asyncDispose]();
      await loseWorkers(world);
      world.life = await startLife(base, stripe);
    },
    async [Symbol.asyncDispose]() {
      await world.life[Symbol.asyncDispose]();
      await whole.disposeAsync();
    },
  };
  return world;
}

/** Makes the locks of running jobs an hour older. */
async function loseWorkers({ base }: Pick<World, "base">): Promise<void> {
  await sql`update graphile_worker._private_jobs set locked_at = locked_at - interval '1 hour'`.execute(base.db);
}

/** A client that wants a timeslot and continues from the state that the server knows. */
interface Client {
  subject: string;
  slot: Timeslot;
  /** The session of the last checkout. */
  session: string;
  /** The webhook of the payment. */
  message: Webhook | undefined;
}

function newClient({ slots }: World, subject: string): Client {
  const slot = slots.pop();
  assert(slot);
  return { subject, slot, session: "", message: undefined };
}

/** The server was killed before it answered. */
class NoAnswer extends Error {}

async function ask<Body>({ life }: World, id: OperationId, call: Call): Promise<Body> {
  const answer = await send(life.server.url, id, call).catch((cause) => {
    throw new NoAnswer(id, { cause });
  });
  assert(answer.status < 400, `${id} answered ${answer.status}: ${answer.text}\n${life.server.stdout()}`);
  // Other tests validate answers against the contract.
  return JSON.parse(answer.text) as Body;
}

async function listBookings(world: World, { subject }: Client): Promise<Booking[]> {
  const { items } = await ask<{ items: Booking[] }>(world, "listBookings", { token: await world.base.token(subject) });
  return items;
}

/** A step of a client. It can be repeated when its result is unknown. */
type Step = (world: World, client: Client) => Promise<void>;

/** Books the timeslot, or creates another checkout for the existing booking. */
const book: Step = async (world, client) => {
  const [known] = await listBookings(world, client);
  const token = await world.base.token(client.subject);
  const body = { roomId: client.slot.roomId, timeslotId: client.slot.id };
  const { checkoutUrl } = known === undefined
    ? await ask<{ checkoutUrl: string }>(world, "createBooking", { token, body })
    : await ask<{ checkoutUrl: string }>(world, "createCheckout", { token, params: { bookingId: known.id } });
  client.session = checkoutUrl.split("/").at(-1) ?? "";
};

/** Another user cannot book the timeslot. */
const meetRival: Step = async ({ base, life }, { slot: { id: timeslotId, roomId } }) => {
  const call = { token: await base.token("rival"), body: { roomId, timeslotId } };
  const { text } = await send(life.server.url, "createBooking", call);
  assert.equal(JSON.parse(text).code, "timeslot_unavailable", text);
};

/** Pays at Stripe, which sends its webhook until it is answered. */
const pay: Step = async (world, client) => {
  if (client.message === undefined) {
    world.stripe.pay(client.session);
    client.message = await world.stripe.completed(client.session);
  }
  const { body, headers } = client.message;
  const call = { params: { provider: "stripe" }, body, headers: Object.fromEntries(headers) };
  await ask(world, "receivePaymentEvent", call);
};

const cancel: Step = async (world, client) => {
  const [booking] = await listBookings(world, client);
  assert(booking);
  if (booking.status === "cancelled") return;
  const token = await world.base.token(client.subject);
  await ask(world, "cancelBooking", { token, params: { bookingId: booking.id } });
};

const way: Step[] = [book, meetRival, pay, cancel];

/** The commits: the step of each, and the pattern of its statement for the proxy. */
const commits = {
  booking: { step: book, statement: /insert into "bookings"/ },
  checkoutReference: { step: book, statement: /update "checkouts" set "reference"/ },
  payment: { step: pay, statement: /insert into payment_events/ },
  cancellation: { step: cancel, statement: /\bcancelled_at = [^]*\(refund_amount, / },
  // Statements of the refund's job. The cancellation is answered before.
  jobTaken: { step: cancel, statement: /set\s+attempts = jobs\.attempts \+ 1/ },
  refundSettled: { step: cancel, statement: /update refunds set status = 'succeeded'/ },
} satisfies Record<string, { step: Step; statement: RegExp }>;

type CrashPoint = `${Moment} ${keyof typeof commits}`;

/**
 * Each server is killed at several points at once. The first point is in a job, because a server runs one at a time. Stripe
 * is asked for a refund between jobTaken and refundSettled, and for a session between booking and checkoutReference.
 */
const kills: CrashPoint[][] = [
  ["after jobTaken", "before booking", "before payment", "before cancellation"],
  ["before refundSettled", "after booking", "after payment", "after cancellation"],
  ["after refundSettled", "before checkoutReference", "after checkoutReference"],
];

/** A new client whose next step is the one of `point`. */
async function newClientBefore(
  world: World,
  point: CrashPoint,
): Promise<{ client: Client; point: CrashPoint; steps: Step[] }> {
  const client = newClient(world, point);
  const [, name] = point.split(" ") as [Moment, keyof typeof commits];
  const near = way.indexOf(commits[name].step);
  for (const step of way.slice(0, near)) await step(world, client);
  return { client, point, steps: way.slice(near) };
}

/** Takes the next step until its server is held. Only a server held in a job answers it. */
async function stepInto(
  world: World,
  { client, point, steps: [step] }: { client: Client; point: CrashPoint; steps: Step[] },
): Promise<{ held: Promise<void>; noAnswer: Promise<void> }> {
  assert(step);
  const [moment, name] = point.split(" ") as [Moment, keyof typeof commits];
  const held = world.life.proxy.hold(moment, commits[name].statement);
  const answer = step(world, client);
  if (/job|refund/.test(name)) {
    await answer;
    // Postgres ends idle transactions after 10 seconds, so the job must be held before the others.
    await held;
    return { held, noAnswer: Promise.resolve() };
  }
  return { held, noAnswer: assert.rejects(answer, NoAnswer, point) };
}

/** Waits until all refunds are settled and their jobs are done. */
async function awaitRefunds({ base }: World): Promise<void> {
  await eventually(async () => {
    const { rows } = await sql`
      select from refunds where status = 'pending'
      union all select from graphile_worker.jobs where task_identifier = 'refund_payment'
    `.execute(base.db);
    return rows.length === 0;
  });
}

async function assertDoneOnce({ base, stripe }: World, { subject, slot, session }: Client): Promise<void> {
  const { items } = await base.ok("listBookings", { token: await base.token(subject) });
  const [booking] = items;
  assert(booking);
  const { price } = booking;
  assert.deepEqual(
    items.map(({ timeslotId, status, paymentStatus, amountPaid, amountRefunded }) => ({
      timeslotId,
      status,
      paymentStatus,
      amountPaid,
      amountRefunded,
    })),
    [{ timeslotId: slot.id, status: "cancelled", paymentStatus: "refunded", amountPaid: price, amountRefunded: price }],
    subject,
  );
  const payment = stripe.sessions.get(session)?.payment_intent;
  const refunds = stripe.refunds.filter(({ payment_intent }) => payment_intent === payment);
  assert.deepEqual(refunds.map(({ amount }) => amount), [price * 100], subject);
  const { rows: events } = await sql<{ type: string }>`
    select type from booking_events where booking_id = ${booking.id} order by id
  `.execute(base.db);
  assert.deepEqual(events.map(({ type }) => type), ["created", "confirmed", "cancelled", "refunded"], subject);
  const { rows: stored } = await sql`
    select r.status, r.amount = b.price as "isAll", r.reference
    from bookings b join payments p on p.booking_id = b.id join refunds r on r.payment_id = p.id where b.id = ${booking.id}
  `.execute(base.db);
  assert.deepEqual(stored, [{ status: "succeeded", isAll: true, reference: refunds[0]?.id }], subject);
}

/** Shared by the tests. Each has its own clients. */
const openWorld = openOnce(newWorld);

Deno.test("refund: servers killed at 11 points between booking and refund -> booked, paid and refunded once", async () => {
  const world = await openWorld();
  const clients: Client[] = [];
  const countMoves = () => [world.stripe.payments.size, world.stripe.refunds.length];
  const [paid = 0, refunded = 0] = countMoves();
  for (const points of kills) {
    const near = await Promise.all(points.map((point) => newClientBefore(world, point)));
    const steps = [];
    for (const each of near) steps.push(await stepInto(world, each));
    await Promise.all(steps.map(({ held }) => held));
    await world.restart();
    await Promise.all(steps.map(({ noAnswer }) => noAnswer));
    await Promise.all(near.map(async ({ client, steps: left }) => {
      for (const step of left) await step(world, client);
    }));
    await awaitRefunds(world);
    clients.push(...near.map(({ client }) => client));
  }
  for (const client of clients) await assertDoneOnce(world, client);
  assert.deepEqual(countMoves(), [paid + clients.length, refunded + clients.length]);
});

/** A client whose refund a server has asked Stripe for, without an answer yet. */
async function newHangingRefund(world: World, subject: string): Promise<Client> {
  const { stripe } = world;
  const client = newClient(world, subject);
  stripe.fault = { kind: "slow", on: /POST \/v1\/refunds/, times: 1 };
  const asked = stripe.nextRequest(/POST \/v1\/refunds/);
  for (const step of way) await step(world, client);
  await asked;
  return client;
}

Deno.test("refund: provider slow, database lost or SIGTERM -> refunded once", async (t) => {
  const world = await openWorld();
  const { base: { db }, stripe, life: { server, proxy } } = world;

  await t.step("database lost -> server lives, refunded once", async () => {
    const client = await newHangingRefund(world, "alice");
    proxy.breakConnections();
    stripe.release();
    // If this attempt cannot be settled, a later one finds the refund at Stripe.
    await eventually(async () => {
      await loseWorkers(world);
      return (await db.selectFrom("refunds").select("id").where("status", "=", "pending").execute()).length === 0;
    });
    await assertDoneOnce(world, client);
    const next = newClient(world, "carol");
    for (const step of way) await step(world, next);
    await awaitRefunds(world);
    await assertDoneOnce(world, next);
  });

  await t.step("SIGTERM -> exit 0, refunded once", async () => {
    const client = await newHangingRefund(world, "bob");
    server.signal("SIGTERM");
    await server.until(/"message":"draining"/);
    stripe.release();
    const { code, stderr } = await server.end();
    assert.equal(code, 0, stderr);
    await assertDoneOnce(world, client);
  });
});
