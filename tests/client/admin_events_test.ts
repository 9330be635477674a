/** `deno task admin events`. */
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { admin, anonymous, lines, startAdmin } from "../support/admin.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** An address that leads to one server, then to another one, and nowhere in between. */
async function newSwitch(): Promise<AsyncDisposable & { url: string; leadTo(server: TestServer | undefined): void }> {
  let target: number | undefined;
  const ends = new Set<Socket>();
  const listener = createServer((client) => {
    if (target === undefined) return void client.destroy();
    const server = connect(target, "127.0.0.1");
    for (const [end, other] of [[client, server], [server, client]] as const) {
      ends.add(end);
      end.on("error", () => end.destroy());
      end.on("close", () => {
        ends.delete(end);
        other.destroy();
      });
      end.pipe(other);
    }
  });
  await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
  return {
    url: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    leadTo: (server) => target = server === undefined ? undefined : Number(new URL(server.url).port),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => listener.close(done));
      ends.forEach((end) => end.destroy());
      await closed;
    },
  };
}

Deno.test("admin events tail tells all events in order, each once, while one server goes away and another one comes", async () => {
  await using base = await startServer();
  const room = await newRoom(base, { name: "Spree", timeZone: "Europe/Berlin" });
  const [first, second, third] = await newTimeslots(base, room, { date: "2026-03-09" });
  assert(first && second && third);
  const token = await base.token("admin", "admin");
  const { cursor: start } = await base.ok("listEvents", { token, query: { after: "latest" } });
  const booking = await newBooking(base, "alice", first);
  await using way = await newSwitch();
  const command = `events tail --after ${start}`;
  const told = (what: string, id: number, hour: string) =>
    `2026-03-02T10:00:00Z  ${
      what.padEnd(14)
    }  booking ${id} of user ${booking.userId}, Spree, 2026-03-09 ${hour}:00 Europe/Berlin`;

  const [running, inJson] = await (async () => {
    await using doomed = await startServer({ database: { url: base.databaseUrl } });
    way.leadTo(doomed);
    const running = await Promise.all([command, `${command} --json`].map((text) => startAdmin(base, text, way)));
    await Promise.all(running.map((each) => each.until(/created.+booking.+1.+\n/)));
    way.leadTo(undefined);
    return running;
  })();
  assert(running && inJson);
  await using _running = running;
  await using _inJson = inJson;
  await newBooking(base, "alice", second);
  await using next = await startServer({ database: { url: base.databaseUrl } });
  way.leadTo(next);
  await Promise.all([running.until(/booking 2 .+\n/), inJson.until(/"id":2,.+\n/)]);
  await newBooking(next, "alice", third);
  await confirm(next, booking);
  await Promise.all([running, inJson].map((each) => each.until(/confirmed.+\n/)));

  const { items } = await base.ok("listEvents", { token, query: { after: start } });
  const events = items.filter(({ event }) => event === "booking_update");
  const ends = await Promise.all([running, inJson].map((each) => {
    each.signal("SIGINT");
    return each.end().then(anonymous);
  }));
  const out = [
    lines(told("created", 1, "09"), told("created", 2, "10"), told("created", 3, "11"), told("confirmed", 1, "09")),
    lines(...events.map((event) => JSON.stringify(event))),
  ];
  // How often it tried in between is left to chance.
  const err = new RegExp(
    "^Connecting\\.\nLive\\.\nWaiting to connect again: the socket was closed with 1012.*\\.\nConnecting\\.\n" +
      `(Waiting to connect again: .+\\.\nConnecting\\.\n)*Live\\.\nGo on from here with --after ${
        events.at(-1)?.cursor
      }\n$`,
  );
  for (const [index, { code, stdout, stderr }] of ends.entries()) {
    assert.deepEqual({ code, stdout }, { code: 130, stdout: out[index] });
    assert.match(stderr, err);
  }
});

Deno.test("admin events tail --room tells of a room's timeslots in its time, and refuses what cannot be followed", async () => {
  await using server = await startServer();
  const room = await newRoom(server, { timeZone: "Europe/Berlin" });
  const token = await server.token("admin", "admin");
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot);
  await newBooking(server, "alice", slot);
  await server.ok("deleteRoom", { token, params: { roomId: 1 } });
  await using running = await startAdmin(server, `events tail --room 1 --after ${cursor}`);
  await running.until(/room_closed.+\n/);
  running.signal("SIGINT");
  const { code, stdout } = await running.end();
  assert.deepEqual({ code, stdout }, {
    code: 130,
    stdout: lines(
      "2026-03-02T10:00:00Z  generated       the room 2026-03-09 09:00 to 2026-03-09 17:00 Europe/Berlin",
      "2026-03-02T10:00:00Z  taken           timeslot 1 2026-03-09 09:00 to 2026-03-09 10:00 Europe/Berlin",
      "2026-03-02T10:00:00Z  room_closed     the room",
    ),
  });

  const unknown = await admin(server, "events tail --room 9");
  const [title, detail] = ["Refused: Room not found (room_not_found)", "Room not found: there is no room 9."];
  assert.deepEqual(unknown, { code: 1, stdout: "", stderr: lines(title, detail, "Request REQUEST") });
  const foreign = await admin(server, "events tail --user all --json", { token: await server.token("alice") });
  assert.deepEqual({ code: foreign.code, stdout: foreign.stdout }, { code: 1, stdout: "" });
  assert.match(foreign.stderr, /^Connecting\.\n\{"code":"forbidden","detail":".+"\}\n$/);
});
