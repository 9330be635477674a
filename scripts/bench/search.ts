/**
 * Measures the search over 7 days on this machine, for 50 and for 2,000 rooms. Run `deno task bench:search`, about a minute.
 *
 * The server and Postgres (fsync on) are processes, the client is this process. All share the cores.
 */
import { assertNoArguments } from "../../src/boot/arguments.ts";
import { exitAfter } from "../../src/boot/exit.ts";
import { fillData, timeslotsPerDay } from "./data.ts";
import { describeMachine, startPostgres, startServer, watchCpu } from "./processes.ts";

interface Case {
  rooms: number;
  /** Days with timeslots. */
  days: number;
  /** First day of the search, counted from today. */
  firstDay: number;
  requests: number;
  /** Simultaneous requests, one run each. */
  crowds: number[];
}

const cases: Case[] = [
  { rooms: 50, days: 250, firstDay: 30, requests: 400, crowds: [1, 8] },
  // The search looks at all rooms, but a page has 50 of them.
  { rooms: 2_000, days: 10, firstDay: 2, requests: 100, crowds: [1] },
];
/** Two in five timeslots are booked. */
const booked = "hashint8(id) % 5 in (0, 1, -1)";
const warmUps = 20;
const secret = "a secret of the benchmark, 32 bytes or more";

/** Runs the requests and returns their times in ms, shortest first. */
async function measure(address: URL, { requests, atOnce }: { requests: number; atOnce: number }): Promise<number[]> {
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

async function measureCase({ rooms, days, firstDay, requests, crowds }: Case): Promise<void> {
  await using postgres = await startPostgres();
  const databaseUrl = postgres.url("postgres");
  const server = await startServer({ DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret, RATE_LIMIT: "off" });
  try {
    await fillData(databaseUrl, { users: 500, rooms, days, booked });
    const address = new URL("/api/v1/bookings/rooms/available", server.url);
    const day = (ahead: number) => Temporal.Now.plainDateISO("UTC").add({ days: ahead }).toString();
    address.search = new URLSearchParams({ from: day(firstDay), to: day(firstDay + 6) }).toString();
    for (let request = 0; request < warmUps; request++) await ask(address);
    const { rooms: found, timeslots, bytes } = await ask(address);
    console.log(
      `${rooms} rooms, ${
        rooms * 7 * timeslotsPerDay
      } timeslots in 7 days; found ${found} rooms with ${timeslots} free ones, ${bytes} bytes`,
    );
    for (const atOnce of crowds) {
      const cpu = await watchCpu({ server: server.pid, postgres: postgres.pid });
      const times = await measure(address, { requests, atOnce });
      const used = await cpu();
      const at = (part: number) => `${times[Math.ceil(times.length * part) - 1]?.toFixed(1)} ms`;
      const each = (seconds: number) => `${(seconds * 1_000 / requests).toFixed(1)} ms`;
      console.log(
        `${requests} requests, ${atOnce} at a time: p50 ${at(0.5)}, p99 ${at(0.99)}; CPU a request: Postgres ${
          each(used.postgres)
        }, server ${each(used.server)}, client ${each(used.clients)}`,
      );
    }
    for (const complaint of server.complaints()) console.log(complaint);
  } finally {
    await server.stop();
  }
}

async function bench(): Promise<void> {
  for (const line of await describeMachine()) console.log(line);
  for (const each of cases) await measureCase(each);
}

assertNoArguments("Usage: deno task bench:search\n\nMeasures the search of 50 rooms over 7 days on this machine.");
await exitAfter(bench);
