/**
 * Measures the search of 50 rooms over 7 days on this machine. Run `deno task bench:search`, about 40 seconds.
 *
 * The server and Postgres (fsync on) are processes, the client is this process. All share the cores.
 */
import { exitAfter } from "../../src/boot/exit.ts";
import { fillData, timeslotsPerDay } from "./data.ts";
import { describeMachine, startPostgres, startServer } from "./processes.ts";

const rooms = 50;
/** Two in five timeslots are booked. */
const data = { users: 500, rooms, days: 250, booked: "hashint8(id) % 5 in (0, 1, -1)" };
const requests = 400;
const warmUps = 20;
/** Simultaneous requests, one run each. */
const crowds = [1, 8];
const secret = "a secret of the benchmark, 32 bytes or more";

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
    await fillData(databaseUrl, data);
    const address = new URL("/api/v1/bookings/rooms/available", server.url);
    const day = (ahead: number) => Temporal.Now.plainDateISO("UTC").add({ days: ahead }).toString();
    address.search = new URLSearchParams({ from: day(30), to: day(36) }).toString();
    for (let request = 0; request < warmUps; request++) await ask(address);
    const { rooms: found, timeslots, bytes } = await ask(address);
    console.log(
      `${rooms} rooms, ${
        rooms * 7 * timeslotsPerDay
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
