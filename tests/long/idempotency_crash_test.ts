/**
 * 2,000 bookings while servers are killed at random. Clients send each booking with its key until it is answered.
 *
 * `CRASH_SEED` sets the seed of the kills, which the test prints. The requests that run at a kill differ from run to run.
 */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { BookingCreated } from "../../generated/contract.ts";
import { newRoom } from "../support/builders.ts";
import { eventually, type ServerProcess, startServerProcess } from "../support/process.ts";
import { type Call, startServer, testSecret, type TestServer } from "../support/server.ts";
import { assertRefused, sendWithKey, type Sent } from "../idempotency/keyed_requests.ts";

const bookingCount = 2_000;
/** Pairs of bookings of the same timeslot. */
const contestedCount = 150;
const clientCount = 32;
const userCount = 40;
/** Attempts per booking while servers are killed. An answer 409 does not count. */
const attempts = 5;
/** Share of the answered bookings that are sent again. */
const resentShare = 0.2;
/** A server is killed after `leastLife` requests, and up to `lifeSpread` more. */
const leastLife = 200;
const lifeSpread = 200;

/** Numbers from 0 to below 1 that follow from a seed (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A booking that a client sends until it is answered. */
interface Wish {
  key: string;
  subject: string;
  timeslotId: number;
  call: Call;
  wasCutOff: boolean;
  answer: Sent | undefined;
}

interface Figures {
  kills: number;
  /** Requests that a killed server did not answer. The next two count their later answers. */
  cutOff: number;
  doneBefore: number;
  doneAnew: number;
  /** Answers 409. */
  stillRunning: number;
  /** Bookings without an answer after all attempts. */
  leftOver: number;
  /** Answered requests that were sent again. */
  resent: number;
}

/** Two servers on one database. Each is killed after some requests and started again, until {@link Herd.stopKills}. */
class Herd implements AsyncDisposable {
  private readonly alive = new Set<ServerProcess>();
  private readonly keepers: Promise<void>[];
  private readonly lives: () => number;
  private readonly choices: () => number;
  private readonly env: Record<string, string>;
  private readonly left = new Map<ServerProcess, { requests: number; die: () => void }>();
  private hasStoppedKills = false;
  private isOver = false;
  private readonly end = Promise.withResolvers<void>();
  private hasOne = Promise.withResolvers<void>();

  constructor({ databaseUrl }: TestServer, seed: number, private readonly figures: Figures) {
    // Two generators, so that lives do not depend on the number of choices.
    this.lives = randomNumbers(seed);
    this.choices = randomNumbers(seed + 1);
    this.env = {
      DATABASE_URL: databaseUrl,
      AUTH_JWT_SECRET: testSecret,
      MAX_PENDING_BOOKINGS: "0",
      RATE_LIMIT: "off",
      PAYMENT_PROVIDER: "none",
      DATABASE_POOL: "12",
    };
    this.keepers = [this.keep(), this.keep()];
  }

  /** Keeps one server running, as a supervisor does. */
  private async keep(): Promise<void> {
    while (!this.isOver) {
      const server = await startServerProcess("serve", this.env);
      const death = Promise.withResolvers<void>();
      const requests = leastLife + Math.floor(this.lives() * lifeSpread);
      this.left.set(server, { requests, die: death.resolve });
      this.alive.add(server);
      this.hasOne.resolve();
      await Promise.race([death.promise, this.end.promise]);
      server.signal("SIGKILL");
      await server.end();
    }
  }

  /** A server that is alive now. */
  private async pick(): Promise<ServerProcess> {
    for (;;) {
      const servers = [...this.alive];
      const server = servers[Math.floor(this.choices() * servers.length)];
      if (server !== undefined) return server;
      await this.hasOne.promise;
    }
  }

  /** Sends a booking to one of the servers. Returns undefined if that was killed before it answered. */
  async send({ call, key }: Wish): Promise<Sent | undefined> {
    const server = await this.pick();
    const answer = sendWithKey(server, "createBooking", call, key);
    this.count(server);
    try {
      return await answer;
    } catch (failure) {
      if (!(failure instanceof TypeError) || this.alive.has(server)) throw failure;
      this.figures.cutOff++;
      return undefined;
    }
  }

  private count(server: ServerProcess): void {
    const left = this.left.get(server);
    if (this.hasStoppedKills || left === undefined || --left.requests !== 0) return;
    // It gets no new request. The running ones are at different points.
    this.alive.delete(server);
    if (this.alive.size === 0) this.hasOne = Promise.withResolvers();
    this.figures.kills++;
    setTimeout(left.die, Math.floor(this.lives() * 40));
  }

  /** Stops the kills. */
  stopKills(): void {
    this.hasStoppedKills = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.isOver = true;
    this.end.resolve();
    await Promise.all(this.keepers);
  }
}

async function newWishes(base: TestServer): Promise<Wish[]> {
  const token = await base.token("admin", "admin");
  const { id: roomId } = await newRoom(base);
  const today = Temporal.Now.plainDateISO("UTC");
  const [startDate, endDate] = [2, 31].map((days) => today.add({ days }).toString());
  const workingHours = { start: "00:00", end: "24:00" };
  await base.ok("generateTimeslots", { token, body: { roomId, startDate, endDate, slotDuration: 15, workingHours } });
  const slots = await base.db.selectFrom("timeslots").select("id").orderBy("id").execute();
  const subjects = Array.from({ length: userCount }, (_, index) => `user ${index}`);
  const tokens = await Promise.all(subjects.map((subject) => base.token(subject)));
  return Array.from({ length: bookingCount }, (_, index) => {
    // The two of a pair are neighbours, from different users.
    const slot = slots[index < 2 * contestedCount ? index >> 1 : index];
    const user = index % userCount;
    assert(slot && tokens[user]);
    const call = { token: tokens[user], body: { roomId, timeslotId: slot.id } };
    return {
      key: crypto.randomUUID(),
      subject: `user ${user}`,
      timeslotId: slot.id,
      call,
      wasCutOff: false,
      answer: undefined,
    };
  });
}

/** Sends a booking until it is answered or has no attempts left. */
async function pursue(herd: Herd, wish: Wish, figures: Figures): Promise<void> {
  for (let left = attempts; left > 0;) {
    const answer = await herd.send(wish);
    if (answer?.status === 409) {
      // The transaction of a killed server ends with its connection.
      figures.stillRunning++;
      continue;
    }
    left--;
    if (answer === undefined) {
      wish.wasCutOff = true;
      continue;
    }
    assert(answer.status === 201 || answer.status === 400, answer.text);
    if (answer.status === 400) assertRefused(answer, "timeslot_unavailable");
    if (wish.wasCutOff) figures[answer.isReplay ? "doneBefore" : "doneAnew"]++;
    assert(wish.wasCutOff || !answer.isReplay, "the first answer is no replay");
    wish.answer = answer;
    return;
  }
}

/** Sends an answered booking again. The answer must be the same, unless a server is killed first. */
async function resend(herd: Herd, wish: Wish, figures: Figures): Promise<void> {
  const again = await herd.send(wish);
  if (again === undefined) return;
  if (again.status === 409) {
    // An unanswered attempt may hold the key only now.
    figures.stillRunning++;
    return resend(herd, wish, figures);
  }
  figures.resent++;
  assert.deepEqual([again.status, again.text, again.isReplay], [wish.answer?.status, wish.answer?.text, true]);
}

/** Runs `work` for all wishes, {@link clientCount} at a time. */
async function eachOf(wishes: Iterable<Wish>, work: (wish: Wish) => Promise<void>): Promise<void> {
  const queue = wishes[Symbol.iterator]();
  const client = async () => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: clientCount }, client));
}

async function assertEachOnce({ db }: TestServer, wishes: Wish[]): Promise<void> {
  const expected = wishes.flatMap(({ answer, subject, timeslotId }) => {
    assert(answer, "an answer was lost");
    if (answer.status !== 201) return [];
    // Other tests validate answers against the contract.
    const { booking } = JSON.parse(answer.text) as BookingCreated;
    assert.equal(booking.timeslotId, timeslotId);
    return [{ id: booking.id, subject, timeslotId }];
  }).toSorted((a, b) => a.id - b.id);
  const { rows: bookings } = await sql`
    select b.id, u.subject, b.timeslot_id as "timeslotId" from bookings b join users u on u.id = b.user_id order by b.id
  `.execute(db);
  assert.deepEqual(bookings, expected, "bookings differ from answers");
  assert.equal(
    new Set(expected.map(({ timeslotId }) => timeslotId)).size,
    expected.length,
    "a timeslot was booked twice",
  );
  assert.equal(expected.length, bookingCount - contestedCount, "a wanted timeslot was not booked");
  const { rows: events } = await sql`
    select booking_id as id from booking_events where type = 'created' order by booking_id
  `.execute(db);
  assert.deepEqual(events, expected.map(({ id }) => ({ id })), "events differ from bookings");
  const { rows: keys } = await sql`
    select count(*)::int as count, count(pending_until)::int as pending from idempotency_keys
  `.execute(db);
  assert.deepEqual(keys, [{ count: bookingCount, pending: 0 }]);
}

async function run(seed: number): Promise<Figures> {
  const random = randomNumbers(seed + 2);
  const figures = { kills: 0, cutOff: 0, doneBefore: 0, doneAnew: 0, stillRunning: 0, leftOver: 0, resent: 0 };
  // The processes use the system clock.
  await using base = await startServer({ now: Temporal.Now.instant().toString() });
  const wishes = await newWishes(base);
  await using herd = new Herd(base, seed, figures);
  await eachOf(wishes, async (wish) => {
    await pursue(herd, wish, figures);
    if (wish.answer !== undefined && random() < resentShare) await resend(herd, wish, figures);
  });
  herd.stopKills();
  // Clients without an answer get one now.
  const leftOver = wishes.filter(({ answer }) => answer === undefined);
  figures.leftOver = leftOver.length;
  await eachOf(leftOver, (wish) =>
    eventually(async () => {
      await pursue(herd, wish, figures);
      return wish.answer !== undefined;
    }));
  await eachOf(wishes.filter((_, index) => index % 8 === 0), (wish) => resend(herd, wish, figures));
  await assertEachOnce(base, wishes);
  return figures;
}

Deno.test("idempotency: 2,000 bookings, servers killed at random -> each booked once, no answer lost", async (t) => {
  const seed = Number(Deno.env.get("CRASH_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  const start = performance.now();
  try {
    const figures = await run(seed);
    const seconds = Math.round((performance.now() - start) / 100) / 10;
    // Parallel tests can only print names of steps.
    await t.step(JSON.stringify({ seed, seconds, ...figures }), () => assert(figures.cutOff > 0));
  } catch (cause) {
    throw new Error(`with CRASH_SEED=${seed}`, { cause });
  }
});
