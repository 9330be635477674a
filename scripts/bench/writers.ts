/** Steady writes, through the API or directly in the database, and the delay until their events arrive. */
import type { BookingEventType } from "../../generated/contract.ts";
import { markCancelled } from "../../src/bookings/cancellation_writes.ts";
import { insertBooking } from "../../src/bookings/writes.ts";
import { connect } from "../../src/database/connect.ts";
import { Hints } from "../../src/events/hints.ts";
import { createLog } from "../../src/log.ts";
import { delay } from "./processes.ts";
import { type BenchRoom, bookTimeslot, call, type Client, Observer, tokenOf, userIdOf } from "./subscribers.ts";

const writersAtOnce = 200;
const lateFramesMs = 5_000;

/** Books and cancels. A promise resolves after the commit. */
export interface Writer extends AsyncDisposable {
  book(timeslotId: number): Promise<number>;
  cancel(bookingId: number): Promise<void>;
}

/** Writes through the API, like a client. */
export async function apiWriter(client: Client, { id: roomId }: BenchRoom): Promise<Writer> {
  const token = await tokenOf(client, "bench-writer");
  return {
    book: (timeslotId) => bookTimeslot(client, { token, roomId, timeslotId }),
    async cancel(bookingId) {
      await call(client, `/bookings/${bookingId}/cancel`, { method: "PUT", token });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** Writes like another server of the same database: its statements, then a hint. */
export async function databaseWriter(client: Client, room: BenchRoom, databaseUrl: string): Promise<Writer> {
  const userId = await userIdOf(client, await tokenOf(client, "bench-writer"));
  const db = connect({ url: databaseUrl, pool: 4 });
  const hints = new Hints({ db, url: databaseUrl, log: createLog("warn", console.error), onHint: () => {} });
  return {
    async book(timeslotId) {
      const wish = { userId, roomId: room.id, timeslotId, notes: null, bookingType: null };
      const terms = { cancellationTiers: [], maxPendingBookings: 0, checkout: null };
      const row = await insertBooking(db, { ...wish, ...terms, now: new Date() });
      if (row === undefined) throw new Error(`timeslot ${timeslotId} was not booked`);
      hints.send();
      return row.id;
    },
    async cancel(id) {
      const row = await markCancelled(db, { id, cancellation: { by: "user", userId }, now: new Date() });
      if (row === undefined) throw new Error(`booking ${id} was not cancelled`);
      hints.send();
    },
    async [Symbol.asyncDispose]() {
      await hints.close();
      await db.destroy();
    },
  };
}

export interface LatencyRun {
  /** Answers per second. */
  writeRate: number;
  /** Events per second at the observer. */
  eventRate: number;
  /** Milliseconds, one per write. */
  toAnswer: number[];
  /** Milliseconds, one per event, in the order of the answers. */
  fromRequest: number[];
  fromAnswer: number[];
  lost: number;
  failures: string[];
}

interface Write {
  bookingId: number;
  events: BookingEventType[];
  sentAt: number;
  answeredAt: number;
}

/** Books and cancels in turn, `rate` times a second, even if answers are late. `observer` listens meanwhile. */
export async function measureLatency(
  writer: Writer,
  { room, observer, rate, seconds }: { room: BenchRoom; observer: Observer; rate: number; seconds: number },
): Promise<LatencyRun> {
  const free = [...room.timeslots];
  const booked: { bookingId: number; timeslotId: number }[] = [];
  const writes: Write[] = [];
  const failures: string[] = [];

  const book = async (timeslotId: number) => {
    const sentAt = performance.now();
    const bookingId = await writer.book(timeslotId);
    writes.push({ bookingId, events: ["created", "confirmed"], sentAt, answeredAt: performance.now() });
    booked.push({ bookingId, timeslotId });
  };
  const cancel = async ({ bookingId, timeslotId }: { bookingId: number; timeslotId: number }) => {
    const sentAt = performance.now();
    await writer.cancel(bookingId);
    writes.push({ bookingId, events: ["cancelled"], sentAt, answeredAt: performance.now() });
    free.push(timeslotId);
  };
  const next = (number: number): Promise<void> => {
    const old = number % 2 === 1 ? booked.shift() : undefined;
    if (old !== undefined) return cancel(old);
    const timeslotId = free.shift();
    return timeslotId === undefined ? Promise.reject(new Error("no timeslot is left")) : book(timeslotId);
  };

  const start = performance.now();
  const running = new Set<Promise<unknown>>();
  for (let number = 0; number < rate * seconds; number++) {
    const early = start + number * 1_000 / rate - performance.now();
    if (early > 0) await delay(early);
    while (running.size >= writersAtOnce) await Promise.race(running);
    const write: Promise<unknown> = next(number).catch((failure: unknown) => failures.push(String(failure)))
      .finally(() => running.delete(write));
    running.add(write);
  }
  await Promise.all(running);
  const elapsed = (performance.now() - start) / 1_000;
  // Bookings that remain do no harm, because a run has enough timeslots.
  room.timeslots = free;
  return { ...await compare(writes, observer), writeRate: writes.length / elapsed, failures };
}

/** Compares the writes with the received events, after the last frames have arrived. */
async function compare(writes: Write[], { arrivals }: Observer): Promise<Omit<LatencyRun, "writeRate" | "failures">> {
  const expected = writes.flatMap(({ events, bookingId, ...times }) =>
    events.map((type) => ({ key: Observer.key(type, bookingId), ...times }))
  );
  const deadline = performance.now() + lateFramesMs;
  while (performance.now() < deadline && !expected.every(({ key }) => arrivals.has(key))) await delay(50);
  const came = expected.flatMap(({ key, sentAt, answeredAt }) => {
    const at = arrivals.get(key);
    return at === undefined ? [] : [{ at, fromRequest: at - sentAt, fromAnswer: Math.max(0, at - answeredAt) }];
  });
  const times = came.map(({ at }) => at).sort((a, b) => a - b);
  return {
    toAnswer: writes.map(({ sentAt, answeredAt }) => answeredAt - sentAt),
    eventRate: came.length / (((times.at(-1) ?? 0) - (times[0] ?? 0)) / 1_000),
    fromRequest: came.map(({ fromRequest }) => fromRequest),
    fromAnswer: came.map(({ fromAnswer }) => fromAnswer),
    lost: expected.length - came.length,
  };
}
