/** `deno task admin rooms`. */
import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import type { Room } from "../../generated/contract.ts";
import { admin, adminJson, assertFits, lines } from "../support/admin.ts";
import { newRoom } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

/** Creates a room and returns its id. */
const newRoomId = async (server: TestServer, fields: Record<string, unknown> = {}): Promise<number> =>
  (await newRoom(server, fields)).id;

Deno.test("admin rooms create: all options -> room with them, shown as fields", async () => {
  await using server = await sharedServer();
  const details = "rooms create --type meeting --capacity 8 --hourly-rate 4500 --currency JPY --auto-confirm";
  const texts = ["--name", "Sky Lounge", "--description", "Twelfth floor.", "--time-zone", "Asia/Tokyo"];
  const { stdout, ...ended } = await admin(server, details, ...texts);
  const [, id] = /^Room (\d+) was created\.\n/.exec(stdout) ?? [];
  assert.equal(
    stdout,
    lines(
      `Room ${id} was created.`,
      "name           Sky Lounge",
      "type           meeting",
      "description    Twelfth floor.",
      "holds          8",
      "an hour        4500 JPY",
      "time zone      Asia/Tokyo",
      "free bookings  confirmed at once",
      "state          active",
    ),
  );
  assert.deepEqual(ended, { code: 0, stderr: "" });
  const room = await server.ok("getRoom", { params: { roomId: id } });
  assert.equal(room.description, "Twelfth floor.");
  assert(room.autoConfirm);
});

Deno.test("admin rooms update: negated, empty and none values -> these fields change, others stay", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server, { description: "Twelfth floor.", autoConfirm: true });
  const changes =
    `rooms update ${room.id} --no-auto-confirm --hourly-rate none --description= --no-active --capacity 9`;
  const expected = { autoConfirm: false, hourlyRate: null, description: null, isActive: false, capacity: 9 };
  assert.deepEqual(await adminJson(server, changes), { ...room, ...expected });
  const updated = await admin(server, `rooms update ${room.id} --active --name Attic --type office --currency EUR`);
  assert.match(updated.stdout, /^Room \d+ was updated\.\nname +Attic\ntype +office\n/);
});

Deno.test("admin rooms deactivate: without a terminal -> 2, with --yes -> room deactivated", async () => {
  await using server = await sharedServer();
  const roomId = await newRoomId(server);
  const isActive = async () => (await server.ok("getRoom", { params: { roomId } })).isActive;
  const refusal = "There is no terminal to ask on: give --yes. See deno task admin rooms deactivate --help";
  assert.deepEqual(await admin(server, `rooms deactivate ${roomId}`), { code: 2, stdout: "", stderr: lines(refusal) });
  assert(await isActive());
  const stdout = lines(`Room ${roomId} was deactivated. Its bookings are kept.`);
  assert.deepEqual(await admin(server, `rooms deactivate ${roomId} --yes`), { code: 0, stdout, stderr: "" });
  assert(!await isActive());
  assert.deepEqual(await adminJson(server, `rooms deactivate ${roomId} --yes`), { message: "Room deactivated" });
});

Deno.test("admin rooms deactivate: answers no, then yes -> nothing changes, then room deactivated", async () => {
  await using server = await sharedServer();
  const roomId = await newRoomId(server);
  const questions: string[] = [];
  const answering = (answer: boolean) => ({
    ask(question: string) {
      questions.push(question);
      return Promise.resolve(answer);
    },
  });
  const kept = await admin(server, `rooms deactivate ${roomId}`, answering(false));
  assert.deepEqual(kept, { code: 0, stdout: "", stderr: lines("Nothing was changed.") });
  assert((await server.ok("getRoom", { params: { roomId } })).isActive);
  assert.equal((await admin(server, `rooms deactivate ${roomId}`, answering(true))).code, 0);
  assert(!(await server.ok("getRoom", { params: { roomId } })).isActive);
  const question = `Deactivate room ${roomId}? Its bookings are kept.`;
  assert.deepEqual(questions, [question, question]);
});

Deno.test("admin rooms create: values that begin with a dash -> room with them", async () => {
  await using server = await sharedServer();
  const args = ["--name", "-x", "--description", "--- closed in May ---", "--type=office"];
  const room = await adminJson(server, "rooms create", ...args) as Room;
  assert.deepEqual([room.name, room.description], ["-x", "--- closed in May ---"]);
  const renamed = await adminJson(
    server,
    `rooms update ${room.id}`,
    "--name",
    "--draft",
    "--description=--json",
  ) as Room;
  assert.deepEqual([renamed.name, renamed.description], ["--draft", "--json"]);
});

Deno.test("admin rooms list: long and hostile names -> table of at most 80 columns without control characters", async () => {
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
  const colored = await admin(server, "rooms list --all", { hasColors: true });
  assert(colored.stdout.startsWith("\u001b[1mid\u001b[22m "), colored.stdout);
  assert.equal(stripVTControlCharacters(colored.stdout), all.stdout);
  const { items } = await server.ok("listRooms", { query: { active: false } });
  assert.deepEqual(await adminJson(server, "rooms list --all --type meeting"), items.slice(0, 3));
  assert.deepEqual(await adminJson(server, "rooms list"), items.slice(0, 3));
  assert.deepEqual(await admin(server, "rooms list --type office"), { code: 0, stdout: "", stderr: lines("0 rooms.") });
});

Deno.test("admin rooms list: name with characters of two columns -> shown in full", async () => {
  await using server = await sharedServer();
  const name = `会議室東京${crypto.randomUUID().slice(0, 4)}`;
  const id = await newRoomId(server, { name });
  assert.match((await admin(server, "rooms list")).stdout, new RegExp(`^ *${id} {2}${name} {2}`, "m"));
});

Deno.test("admin rooms update: unknown room -> 1 and the problem in sentences", async () => {
  await using server = await sharedServer();
  const stderr = lines(
    "Refused: Room not found (room_not_found)",
    "Room not found: there is no room 99999.",
    "Request REQUEST",
  );
  assert.deepEqual(await admin(server, "rooms update 99999 --capacity 3"), { code: 1, stdout: "", stderr });
});

Deno.test("admin rooms create: invalid fields -> 1 and each field, or the problem with --json", async () => {
  await using server = await sharedServer();
  const command = "rooms create --name Attic --type office --capacity 0 --currency euros";
  const body = { name: "Attic", roomType: "office", capacity: 0, currency: "euros" };
  const token = await server.token("admin", "admin");
  const problem = await server.refused("validation_failed", "createRoom", { token, body });
  assert.deepEqual(problem.errors?.map(({ path }) => path), ["capacity", "currency"]);
  assert.deepEqual(await admin(server, command), {
    code: 1,
    stdout: "",
    stderr: lines(
      "Refused: Request is not valid (validation_failed)",
      problem.detail,
      ...(problem.errors ?? []).map(({ path, message }) => `  ${path}: ${message}`),
      "Request REQUEST",
    ),
  });
  const { code, stdout, stderr } = await admin(server, `${command} --json`);
  assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
  assert.deepEqual(JSON.parse(stderr), { ...problem, requestId: "REQUEST" });
});
