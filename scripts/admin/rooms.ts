/** `admin rooms`. */
import { type components, type Room, unwrap } from "@slotkeeper/client";
import { type Command, command, type Definition, type Group, group, yes } from "./command.ts";
import { connect } from "./connection.ts";
import { UsageError } from "./failures.ts";
import { type Given, present } from "./given.ts";
import { fields, printJson, table } from "./tables.ts";
import { confirmed } from "./terminal.ts";
import { count, money, plain } from "./texts.ts";

type RoomType = components["schemas"]["RoomType"];

const roomTypes: RoomType[] = ["office", "consultation", "meeting", "treatment"];

const type = { type: "enum", options: roomTypes, valueHint: "type" } satisfies Definition;
const roomId = { type: "positional", description: "The room" } satisfies Definition;

const details = {
  "description": { type: "string", description: "What people read about it" },
  "capacity": { type: "string", valueHint: "people", description: "How many people it holds" },
  "hourly-rate": { type: "string", valueHint: "amount", description: "The price of an hour, or none" },
  "currency": { type: "string", valueHint: "code", description: "ISO 4217, such as EUR" },
  "time-zone": { type: "string", valueHint: "zone", description: "Where it is, such as Europe/Berlin" },
  "auto-confirm": {
    type: "boolean",
    description: "Confirm bookings that cost nothing at once",
    negativeDescription: "Leave that to an admin",
  },
} satisfies Record<string, Definition>;

const list = command({
  summary: "List the rooms",
  examples: ["", "--type meeting --all --json"],
  args: {
    type: { ...type, description: "Only" },
    all: { type: "boolean", description: "Deactivated ones, too" },
  },
  async run(given) {
    const query = { ...present({ type: givenType(given) }), ...(given.flag("all") ? { active: false } : {}) };
    const rooms = await Array.fromAsync(connect().items("/api/v1/bookings/rooms", { query }));
    if (given.flag("json")) return printJson(rooms);
    if (rooms.length > 0) console.log(roomTable(rooms));
    console.error(`${count(rooms.length, "room")}.`);
  },
});

const create: Command = command({
  summary: "Make a room",
  examples: [
    "--name 'Sky Lounge' --type meeting --capacity 8",
    "--name Den --type office --hourly-rate 45 --time-zone Europe/Berlin",
  ],
  args: {
    name: { type: "string", required: true, description: "What it is called" },
    type: { ...type, required: true, description: "One of" },
    ...details,
  },
  async run(given) {
    const body = {
      ...present(givenDetails(given)),
      name: given.need("name", given.text("name")),
      roomType: given.need("type", givenType(given)),
    };
    const room = await unwrap(connect().POST("/api/v1/admin/rooms", { body }));
    if (given.flag("json")) return printJson(room);
    console.log(`Room ${room.id} is made.\n${roomFields(room)}`);
  },
});

const update: Command = command({
  summary: "Change a room",
  examples: ["5 --hourly-rate 50 --capacity 10", "5 --active"],
  args: {
    id: roomId,
    name: { type: "string", description: "What it is called" },
    type: { ...type, description: "One of" },
    ...details,
    active: {
      type: "boolean",
      description: "Let it take bookings again",
      negativeDescription: "Let it take no more bookings",
    },
  },
  async run(given) {
    const path = { roomId: given.id() };
    const all = { name: given.text("name"), roomType: givenType(given), isActive: given.flag("active") };
    const body = present({ ...all, ...givenDetails(given) });
    if (Object.keys(body).length === 0) throw new UsageError("Nothing to change was given");
    const room = await unwrap(connect().PUT("/api/v1/admin/rooms/{roomId}", { params: { path }, body }));
    if (given.flag("json")) return printJson(room);
    console.log(`Room ${room.id} is changed.\n${roomFields(room)}`);
  },
});

const deactivate: Command = command({
  summary: "Let a room take no more bookings",
  examples: ["5", "5 --yes"],
  args: { id: roomId, yes },
  async run(given) {
    const path = { roomId: given.id() };
    if (!await confirmed(`Deactivate room ${path.roomId}? Its bookings stand.`, given.flag("yes"))) return;
    const answer = await unwrap(connect().DELETE("/api/v1/admin/rooms/{roomId}", { params: { path } }));
    if (given.flag("json")) return printJson(answer);
    console.log(`Room ${path.roomId} is deactivated. Its bookings stand.`);
  },
});

export const rooms: Group = group("Make, change and deactivate rooms", { list, create, update, deactivate });

function givenType(given: Given<"type">): RoomType | undefined {
  const text = given.text("type");
  return roomTypes.find((type) => type === text);
}

function givenDetails(given: Given<keyof typeof details>) {
  const description = given.text("description");
  return {
    description: description === "" ? null : description,
    capacity: given.whole("capacity"),
    hourlyRate: given.amount("hourly-rate"),
    currency: given.text("currency"),
    timeZone: given.text("time-zone"),
    autoConfirm: given.flag("auto-confirm"),
  };
}

const rate = ({ hourlyRate, currency }: Room): string => hourlyRate === null ? "free" : money(hourlyRate, currency);
const state = ({ isActive }: Room): string => isActive ? "active" : "deactivated";

function roomTable(rooms: Room[]): string {
  return table(
    [
      { head: "id", align: "right" },
      { head: "name", mayShrink: true },
      { head: "type" },
      { head: "holds", align: "right" },
      { head: "an hour", align: "right" },
      { head: "time zone", mayShrink: true },
      { head: "state" },
    ],
    rooms.map((room) => [
      ...[String(room.id), room.name, room.roomType, String(room.capacity)],
      ...[rate(room), room.timeZone, state(room)],
    ]),
  );
}

function roomFields(room: Room): string {
  return fields({
    "name": room.name,
    "type": room.roomType,
    "description": room.description ?? "",
    "holds": String(room.capacity),
    "an hour": rate(room),
    "time zone": room.timeZone,
    "free bookings": room.autoConfirm ? "confirmed at once" : "wait for an admin",
    "state": plain(state(room)),
  });
}
