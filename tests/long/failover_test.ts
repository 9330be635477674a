/** Two servers on one database: one of them is killed or drains. */
import assert from "node:assert/strict";
import { mintToken } from "../../src/auth/tokens.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { eventually, type ServerProcess, startServerProcess } from "../support/process.ts";
import { send, startServer, testSecret, type TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

const subscribers = 10;

interface World {
  base: TestServer;
  victim: ServerProcess;
  survivor: ServerProcess;
}

async function killOne({ base, victim, survivor }: World): Promise<void> {
  const date = Temporal.Now.plainDateISO("UTC").add({ days: 30 }).toString();
  const slots = await newTimeslots(base, await newRoom(base), { date, slotDuration: 5 });
  const slotCount = slots.length;
  const auth = { secret: testSecret, jwksUrl: undefined, issuer: undefined, audience: undefined };
  const subjects = Array.from({ length: subscribers }, (_, index) => `user ${index}`);
  const tokens = await Promise.all(
    subjects.map((subject) => mintToken(auth, { subject, role: "user", lifetimeSeconds: 600 })),
  );
  const sockets = await Promise.all(tokens.map((token) => openSocket(victim, { token })));
  const starts: string[] = [];
  for (const socket of sockets) {
    socket.send({ action: "join_booking_room" });
    starts.push((await socket.expect("joined")).cursor);
  }

  /** Ids of the answered bookings, by user. Unanswered ones of the killed server may exist. */
  const answered = subjects.map((): number[] => []);
  let made = 0;
  const half = Promise.withResolvers<void>();
  const resumedAll = Promise.withResolvers<void>();
  const book = async (user: number) => {
    for (let slot = slots.pop(); slot !== undefined; slot = slots.pop()) {
      // The last quarter waits until the subscribers have resumed.
      if (made >= slotCount * 0.75) await resumedAll.promise;
      const target = made < slotCount / 2 && user % 2 === 0 ? victim : survivor;
      const call = { token: tokens[user] ?? "", body: { roomId: slot.roomId, timeslotId: slot.id } };
      const answer = await send(target.url, "createBooking", call).catch(() => undefined);
      if (answer?.status === 201) answered[user]?.push(JSON.parse(answer.text).booking.id);
      if (++made === Math.floor(slotCount / 2)) half.resolve();
    }
  };
  const writing = Promise.all(subjects.map((_, user) => book(user)));
  await half.promise;
  await eventually(() => Promise.resolve(sockets.some((socket) => socket.events().length > 0)));
  victim.signal("SIGKILL");
  await Promise.all(sockets.map((socket) => socket.closed));

  const resumed = await Promise.all(sockets.map(async (old, user) => {
    const socket = await openSocket(survivor, { token: tokens[user] ?? "" });
    socket.send({ action: "join_booking_room", after: old.events().at(-1)?.cursor ?? starts[user] ?? "" });
    await socket.expect("joined");
    return socket;
  }));
  resumedAll.resolve();
  await writing;
  // Unanswered bookings may wait for a transaction of another test.
  await base.settled();
  const ids = (socket: TestSocket | undefined) =>
    (socket?.events() ?? []).map(({ data }) => "booking" in data ? data.booking.id : 0);
  for (const [user, socket] of resumed.entries()) {
    let expected: number[] = [];
    // The feed sends an event when no older transaction runs, also of another test.
    await eventually(async () => {
      const { text } = await send(survivor.url, "listEvents", { token: tokens[user] ?? "", query: { limit: 100 } });
      expected = (JSON.parse(text).items as { data: { booking: { id: number } } }[]).map(({ data }) => data.booking.id);
      return (answered[user] ?? []).every((id) => expected.includes(id));
    });
    await socket.until(() => ids(sockets[user]).length + ids(socket).length >= expected.length);
    assert.deepEqual([...ids(sockets[user]), ...ids(socket)], expected);
    socket.close();
    await socket.closed;
  }
  assert(sockets.some((socket) => socket.events().length > 0) && resumed.some((socket) => socket.events().length > 0));
}

async function drainOther({ base, survivor: server }: World): Promise<void> {
  const token = await base.token("alice");
  const sockets = await Promise.all(Array.from({ length: 10 }, () => openSocket(server, { token })));
  const { cursor } = JSON.parse((await send(server.url, "listEvents", { token })).text);
  const waiting = send(server.url, "listEvents", { token, query: { after: cursor, wait: 30 } });
  // When a later request is answered, the server has received the poll.
  await send(server.url, "getHealth", {});
  server.signal("SIGTERM");
  for (const socket of sockets) assert.equal((await socket.closed).code, 1012);
  assert.equal((await waiting).status, 200);
  assert.equal((await server.end()).code, 0);
}

Deno.test("failover: one of two servers killed, the other drained -> no event lost, clients sent away", async (t) => {
  // The processes use the system clock.
  await using base = await startServer({ now: Temporal.Now.instant().toString() });
  const noLimits = { RATE_LIMIT: "off", MAX_PENDING_BOOKINGS: "0" };
  const env = { DATABASE_URL: base.databaseUrl, AUTH_JWT_SECRET: testSecret, ...noLimits };
  await using victim = await startServerProcess("serve", env);
  await using survivor = await startServerProcess("serve", env);
  const world = { base, victim, survivor };
  await t.step("server killed -> subscribers resume at another one, each event once", () => killOne(world));
  await t.step(
    "SIGTERM with open sockets and a long poll -> 1012, the poll is answered, exit 0",
    () => drainOther(world),
  );
});
