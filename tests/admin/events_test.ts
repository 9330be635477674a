/** `deno task admin events`. */
import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { admin, anonymous, lines, startAdmin } from "../support/admin.ts";
import { confirm, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** An address that leads to one server, later to another one. In between it closes connections. */
async function newSwitch(): Promise<
  AsyncDisposable & { url: string; refused(): number; leadTo(server: TestServer | undefined): void }
> {
  let refused = 0;
  let target: number | undefined;
  const ends = new Set<Socket>();
  const listener = createServer((client) => {
    if (target === undefined) {
      refused++;
      return void client.destroy();
    }
    const upstream = connect(target, "127.0.0.1");
    for (const [end, other] of [[client, upstream], [upstream, client]] as const) {
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
    refused: () => refused,
    leadTo: (server) => target = server === undefined ? undefined : Number(new URL(server.url).port),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((done) => listener.close(done));
      ends.forEach((end) => end.destroy());
      await closed;
    },
  };
}

Deno.test("admin events tail: server replaced by another -> every event once and in order", async () => {
  await using server = await startServer();
  const room = await newRoom(server, { name: "Spree", timeZone: "Europe/Berlin" });
  const [first, second, third] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(first && second && third);
  const token = await server.token("admin", "admin");
  const { cursor: start } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const booking = await newBooking(server, "alice", first);
  await using address = await newSwitch();
  const command = `events tail --after ${start}`;
  const text = (change: string, id: number, hour: string) =>
    `2026-03-02T10:00:00Z  ${
      change.padEnd(14)
    }  booking ${id} of user ${booking.userId}, Spree, 2026-03-09 ${hour}:00 Europe/Berlin`;

  const [running, inJson] = await (async () => {
    await using first = await startServer({ database: { url: server.databaseUrl } });
    address.leadTo(first);
    const running = await Promise.all([command, `${command} --json`].map((text) => startAdmin(server, text, address)));
    await Promise.all(running.map((each) => each.until(/created.+\n/)));
    address.leadTo(undefined);
    return running;
  })();
  assert(running && inJson);
  await using _running = running;
  await using _inJson = inJson;
  const { id: secondId } = await newBooking(server, "alice", second);
  await eventually(() => Promise.resolve(address.refused() >= 5));
  await using next = await startServer({ database: { url: server.databaseUrl } });
  address.leadTo(next);
  const hasSecond = [
    running.until(new RegExp(`booking ${secondId} .+\n`)),
    inJson.until(new RegExp(`"id":${secondId},.+\n`)),
  ];
  await Promise.all(hasSecond);
  const { id: thirdId } = await newBooking(next, "alice", third);
  await confirm(next, booking);
  await Promise.all([running, inJson].map((each) => each.until(/confirmed.+\n/)));

  const { items } = await server.ok("listEvents", { token, query: { after: start } });
  const events = items.filter(({ event }) => event === "booking_update");
  const ends = await Promise.all([running, inJson].map((each) => {
    each.interrupt();
    return each.end().then(anonymous);
  }));
  const out = [
    lines(
      text("created", booking.id, "09"),
      text("created", secondId, "10"),
      text("created", thirdId, "11"),
      text("confirmed", booking.id, "09"),
    ),
    lines(...events.map((event) => JSON.stringify(event))),
  ];
  // The number of attempts in between depends on timing. Each reason is said once.
  const waiting = "Not connected: .+\\. Trying again until the server answers\\. Ctrl-C ends\\.\n";
  const err = new RegExp(
    `^Connecting\\.\nLive\\.\n((?:${waiting})+)Live\\.\nResume with --after ${events.at(-1)?.cursor}\n$`,
  );
  for (const [index, { code, stdout, stderr }] of ends.entries()) {
    assert.deepEqual({ code, stdout }, { code: 130, stdout: out[index] });
    const reasons = err.exec(stderr)?.[1]?.split("\n");
    assert(reasons, stderr);
    assert.match(reasons[0] ?? "", /^Not connected: the socket was closed with 1012/);
    assert.equal(new Set(reasons).size, reasons.length, stderr);
  }
});

Deno.test("admin events tail --room: timeslots generated and booked, room closed -> each event in the room's time zone", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { timeZone: "Europe/Berlin" });
  const token = await server.token("admin", "admin");
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const [slot] = await newTimeslots(server, room, { date: "2026-03-09" });
  assert(slot);
  await newBooking(server, "alice", slot);
  await server.ok("deleteRoom", { token, params: { roomId: room.id } });
  await using running = await startAdmin(server, `events tail --room ${room.id} --after ${cursor}`);
  await running.until(/room_closed.+\n/);
  running.interrupt();
  const { code, stdout } = await running.end();
  assert.deepEqual({ code, stdout }, {
    code: 130,
    stdout: lines(
      "2026-03-02T10:00:00Z  generated       the room 2026-03-09 09:00 to 2026-03-09 17:00 Europe/Berlin",
      `2026-03-02T10:00:00Z  taken           timeslot ${slot.id} 2026-03-09 09:00 to 2026-03-09 10:00 Europe/Berlin`,
      "2026-03-02T10:00:00Z  room_closed     the room",
    ),
  });
});

Deno.test("admin events tail: reader closes standard output -> ends with 0 and no cursor", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  // Until the feed has the events of earlier tests, they would follow `latest`.
  await server.settled();
  const { cursor } = await server.ok("listEvents", { token, query: { after: "latest" } });
  const [first, second] = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  assert(first && second);
  for (const slot of [first, second]) await newBooking(server, "alice", slot);
  const { code, stdout, stderr } = await admin(server, `events tail --after ${cursor}`, { closeAfter: 1 });
  assert.deepEqual({ code, stderr }, { code: 0, stderr: lines("Connecting.", "Live.") });
  assert.match(stdout, /^.+ created .+\n$/);
});

Deno.test("admin events tail: unknown room, or all users without the role admin -> 1 and the problem", async () => {
  await using server = await sharedServer();
  const unknown = await admin(server, "events tail --room 99999");
  const [title, detail] = ["Refused: Room not found (room_not_found)", "Room not found: there is no room 99999."];
  assert.deepEqual(unknown, { code: 1, stdout: "", stderr: lines(title, detail, "Request REQUEST") });
  const forbidden = await admin(server, "events tail --user all --json", { token: await server.token("alice") });
  assert.deepEqual({ code: forbidden.code, stdout: forbidden.stdout }, { code: 1, stdout: "" });
  assert.match(forbidden.stderr, /^Connecting\.\n\{"code":"forbidden","detail":".+"\}\n$/);
});
