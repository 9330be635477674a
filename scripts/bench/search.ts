/**
 * Measures the search of 50 rooms over 7 days on this machine. Run `deno task bench:search`, about 40 seconds.
 *
 * The server and Postgres (fsync on) are processes, the client is this process. All share the cores.
 */
import connectTo from "postgres";
import { exitAfter } from "../../src/boot/exit.ts";
import { describeMachine, startPostgres, startServer } from "./processes.ts";

const rooms = 50;
/** Each room has 16 timeslots of half an hour a day. Two in five are booked. */
const days = 250;
const requests = 400;
const warmUps = 20;
/** Simultaneous requests, one run each. */
const crowds = [1, 8];
const secret = "a secret of the benchmark, 32 bytes or more";

async function fill(databaseUrl: string): Promise<void> {
  const sql = connectTo(databaseUrl, { max: 1, onnotice: () => {} });
  try {
    await sql`insert into users (subject) select 'user ' || n from generate_series(1, 500) n`;
    await sql`
      insert into rooms (name, capacity, room_type, hourly_rate, currency, time_zone, auto_confirm, is_active, metadata,
        created_at, updated_at)
      select 'Room ' || n, 8, 'meeting', 60, 'EUR', (array['UTC', 'Europe/Berlin', 'America/New_York'])[1 + n % 3], false,
        true, '{}', now(), now()
      from generate_series(1, ${rooms}) n`;
    await sql`
      insert into timeslots (room_id, starts_at, ends_at)
      select r.id, s.starts_at, s.starts_at + interval '30 minutes'
      from rooms r, generate_series(date_trunc('day', now()), now() + make_interval(days => ${days}), '1 day') day,
        lateral (select day + interval '9 hours' + n * interval '30 minutes' as starts_at from generate_series(0, 15) n) s`;
    await sql`
      insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
        amount_refunded, refund_amount, cancellation_tiers, created_at, updated_at)
      select 1 + id % 500, room_id, id, 'confirmed', 30, 'EUR', 'paid', 30, 0, 0, '[]', now(), now()
      from timeslots where hashint8(id) % 5 in (0, 1, -1)`;
    await sql`vacuum analyze`;
  } finally {
    await sql.end();
  }
}

/** Runs the requests and returns their times in ms, shortest first. */
async function measure(address: URL, atOnce: number): Promise<number[]> {
  const times: number[] = [];
  let left = requests;
  await Promise.all(Array.from({ length: atOnce }, async () => {
    while (left-- > 0) {
      const start = performance.now();
      await ask(address);
      times.push(performance.now() - start);
    }
  }));
  return times.sort((a, b) => a - b);
}

async function ask(address: URL): Promise<{ rooms: number; timeslots: number; bytes: number }> {
  const response = await fetch(address);
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${text}`);
  const { items }: { items: { timeslots: unknown[] }[] } = JSON.parse(text);
  return { rooms: items.length, timeslots: items.flatMap(({ timeslots }) => timeslots).length, bytes: text.length };
}

async function bench(): Promise<void> {
  for (const line of await describeMachine()) console.log(line);
  await using postgres = await startPostgres();
  const databaseUrl = postgres.url("postgres");
  const server = await startServer({ DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret, RATE_LIMIT: "off" });
  try {
    await fill(databaseUrl);
    const address = new URL("/api/v1/bookings/rooms/available", server.url);
    const day = (ahead: number) => Temporal.Now.plainDateISO("UTC").add({ days: ahead }).toString();
    address.search = new URLSearchParams({ from: day(30), to: day(36) }).toString();
    for (let request = 0; request < warmUps; request++) await ask(address);
    const { rooms: found, timeslots, bytes } = await ask(address);
    console.log(
      `${rooms} rooms, ${
        rooms * 7 * 16
      } timeslots in 7 days; found ${found} rooms with ${timeslots} free ones, ${bytes} bytes`,
    );
    for (const atOnce of crowds) {
      const times = await measure(address, atOnce);
      const at = (part: number) => `${times[Math.ceil(times.length * part) - 1]?.toFixed(1)} ms`;
      console.log(`${requests} requests, ${atOnce} at a time: p50 ${at(0.5)}, p99 ${at(0.99)}`);
    }
    for (const complaint of server.complaints()) console.log(complaint);
  } finally {
    await server.stop();
  }
}

await exitAfter(bench);
