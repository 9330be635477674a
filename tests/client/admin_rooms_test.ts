/** `deno task admin rooms`. */
import assert from "node:assert/strict";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { newRoom } from "../support/builders.ts";
import { startServer } from "../support/server.ts";

Deno.test("admin rooms makes a room, changes what is given, deactivates it and brings it back", async () => {
  await using server = await startServer();
  const options = [
    "--description",
    "Twelfth floor.",
    "--time-zone",
    "Asia/Tokyo",
    "--currency",
    "JPY",
    "--auto-confirm",
  ];
  const details = "rooms create --type meeting --capacity 8 --hourly-rate 4500";
  assert.deepEqual(await admin(server, details, "--name", "Sky Lounge", ...options), {
    code: 0,
    stdout: lines(
      "Room 1 is made.",
      "name           Sky Lounge",
      "type           meeting",
      "description    Twelfth floor.",
      "holds          8",
      "an hour        4500 JPY",
      "time zone      Asia/Tokyo",
      "free bookings  confirmed at once",
      "state          active",
    ),
    stderr: "",
  });
  const made = await server.ok("getRoom", { params: { roomId: 1 } });
  assert.equal(made.description, "Twelfth floor.");

  const changes = "rooms update 1 --no-auto-confirm --hourly-rate none --description= --no-active --capacity 9";
  const changed = await adminJson(server, changes);
  const expected = { autoConfirm: false, hourlyRate: null, description: null, isActive: false, capacity: 9 };
  assert.deepEqual(changed, { ...made, ...expected });
  const back = await admin(server, "rooms update 1 --active --name Attic --type office --currency EUR");
  assert.match(back.stdout, /^Room 1 is changed\.\nname +Attic\ntype +office\n/);

  // Signs that are two columns wide are shown, too, as long as there is room.
  await newRoom(server, { name: "会議室東京タワー" });
  assert.match((await admin(server, "rooms list")).stdout, /^ 2 {2}会議室東京タワー {2}meeting/m);

  const unsure = await admin(server, "rooms deactivate 1");
  const ask = "There is no terminal to ask on: give --yes. See deno task admin rooms deactivate --help";
  assert.deepEqual(unsure, { code: 2, stdout: "", stderr: lines(ask) });
  assert((await server.ok("getRoom", { params: { roomId: 1 } })).isActive);
  const stdout = lines("Room 1 is deactivated. Its bookings stand.");
  assert.deepEqual(await admin(server, "rooms deactivate 1 --yes"), { code: 0, stdout, stderr: "" });
  assert(!(await server.ok("getRoom", { params: { roomId: 1 } })).isActive);
  assert.deepEqual(await adminJson(server, "rooms deactivate 1 --yes"), { message: "Room deactivated" });
});

Deno.test("admin rooms list shows rooms in a table of at most 80 columns, or as JSON", async () => {
  await using server = await startServer();
  const names = [
    "Aula",
    "Booth \u001b[31m\u202ered\u0007 with quite some more to its name than fits",
    "Closet 中文 😀",
  ];
  for (const name of names) await newRoom(server, { name, timeZone: "America/Argentina/Buenos_Aires" });
  await newRoom(server, { name: "Den", roomType: "consultation", hourlyRate: null, isActive: false });

  const all = await admin(server, "rooms list --all");
  assert.deepEqual(all, {
    code: 0,
    stdout: lines(
      "id  name            type          holds    an hour  time zone        state",
      " 1  Aula            meeting           1  60.00 EUR  America/Argent…  active",
      " 2  Booth \ufffd[31m\ufffdr…  meeting           1  60.00 EUR  America/Argent…  active",
      " 3  Closet 中文 😀  meeting           1  60.00 EUR  America/Argent…  active",
      " 4  Den             consultation      1       free  UTC              deactivated",
    ),
    stderr: lines("4 rooms."),
  });
  assertFits(all.stdout);
  const { items } = await server.ok("listRooms", { query: { active: false } });
  assert.deepEqual(await adminJson(server, "rooms list --all --type meeting"), items.slice(0, 3));
  assert.deepEqual(await adminJson(server, "rooms list"), items.slice(0, 3));
  assert.deepEqual(await admin(server, "rooms list --type office"), { code: 0, stdout: "", stderr: lines("0 rooms.") });
});

Deno.test("admin tells why the server refuses something: in sentences, or as the problem with --json", async () => {
  await using server = await startServer();
  assert.deepEqual(await admin(server, "rooms update 7 --capacity 3"), {
    code: 1,
    stdout: "",
    stderr: lines(
      "Refused: Room not found (room_not_found)",
      "Room not found: there is no room 7.",
      "Request REQUEST",
    ),
  });
  const fields = "rooms create --name Attic --type office --capacity 0 --currency euros";
  assert.deepEqual(await admin(server, fields), {
    code: 1,
    stdout: "",
    stderr: lines(
      "Refused: Request is not valid (validation_failed)",
      "The request is not valid: body.capacity must be at least 1.",
      "  capacity: must be at least 1",
      "  currency: must be: ISO 4217 code. The server's default when left out",
      "Request REQUEST",
    ),
  });
  const { code, stdout, stderr } = await admin(server, `${fields} --json`);
  const body = { name: "Attic", roomType: "office", capacity: 0, currency: "euros" };
  const token = await server.token("admin", "admin");
  const problem = await server.refused("validation_failed", "createRoom", { token, body });
  assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
  assert.deepEqual(JSON.parse(stderr), { ...problem, requestId: "REQUEST" });
});
