/** `admin rooms`. */
import { type components, type Room, unwrap } from "@slotkeeper/client";
import { Option } from "commander";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { UsageError } from "./failures.ts";
import { amount, present, whole } from "./options.ts";
import { confirmed, print, printJson, printNote, type Shell } from "./shell.ts";
import { fields, table } from "./tables.ts";
import { count, money } from "./texts.ts";

type RoomType = components["schemas"]["RoomType"];

interface ListOptions extends JsonOption {
  type?: RoomType;
  all?: boolean;
}

interface DetailOptions {
  description?: string;
  capacity?: number;
  hourlyRate?: number | "none";
  currency?: string;
  timeZone?: string;
  autoConfirm?: boolean;
}

interface CreateOptions extends DetailOptions, JsonOption {
  name: string;
  type: RoomType;
}

interface UpdateOptions extends Partial<CreateOptions> {
  active?: boolean;
}

const typeOption = (description: string) => {
  const types: RoomType[] = ["office", "consultation", "meeting", "treatment"];
  return new Option("--type <type>", description).choices(types);
};

export function rooms(program: AdminCommand, shell: Shell): void {
  const group = program.command("rooms").description("List, create, update and deactivate rooms");

  group.operation("list", "List the rooms", ["", "--type meeting --all --json"])
    .addOption(typeOption("Only rooms of this type"))
    .option("--all", "Deactivated rooms too")
    .action(async ({ type, all, json }: ListOptions) => {
      const query = { ...present({ type }), ...(all ? { active: false } : {}), sort: "name" } as const;
      const client = connect(shell);
      // The server ignores a token on a public operation, so the list alone would hide that the token is wrong.
      await unwrap(client.GET("/api/v1/me"));
      const rooms = await Array.fromAsync(client.items("/api/v1/bookings/rooms", { query }));
      if (json) return void printJson(shell, rooms);
      if (rooms.length > 0) print(shell, roomTable(rooms));
      printNote(shell, `${count(rooms.length, "room")}.`);
    });

  const create = group.operation("create", "Create a room", [
    "--name 'Sky Lounge' --type meeting --capacity 8",
    "--name Den --type office --hourly-rate 45 \\\n    --time-zone Europe/Berlin",
  ])
    .requiredOption("--name <text>", "Name of the room")
    .addOption(typeOption("Type of the room").makeOptionMandatory());
  withDetails(create).action(async ({ type: roomType, json, ...options }: CreateOptions) => {
    const body = { ...toFields(options), roomType };
    const room = await unwrap(connect(shell).POST("/api/v1/admin/rooms", { body }));
    if (json) return void printJson(shell, room);
    print(shell, `Room ${room.id} was created.\n${roomFields(room)}`);
  });

  const update = group.operation("update", "Update a room", ["5 --hourly-rate 50 --capacity 10", "5 --active"])
    .argument("<id>", "Id of the room", whole)
    .option("--name <text>", "Name of the room")
    .addOption(typeOption("Type of the room"));
  withDetails(update)
    .option("--active", "Accept bookings again")
    .option("--no-active", "Accept no more bookings")
    .action(async (roomId: number, { type: roomType, active: isActive, json, ...options }: UpdateOptions) => {
      const body = { ...toFields(options), ...present({ roomType, isActive }) };
      if (Object.keys(body).length === 0) throw new UsageError("Give at least one option to change");
      const init = { params: { path: { roomId } }, body };
      const room = await unwrap(connect(shell).PUT("/api/v1/admin/rooms/{roomId}", init));
      if (json) return void printJson(shell, room);
      print(shell, `Room ${room.id} was updated.\n${roomFields(room)}`);
    });

  group.operation("deactivate", "Deactivate a room, so that it accepts no more bookings", ["5", "5 --yes"])
    .argument("<id>", "Id of the room", whole)
    .option("--yes", "Do not ask")
    .action(async (roomId: number, { yes = false, json }: JsonOption & { yes?: boolean }) => {
      if (!await confirmed(shell, `Deactivate room ${roomId}? Its bookings are kept.`, { isSure: yes })) return;
      const init = { params: { path: { roomId } } };
      const answer = await unwrap(connect(shell).DELETE("/api/v1/admin/rooms/{roomId}", init));
      if (json) return void printJson(shell, answer);
      print(shell, `Room ${roomId} was deactivated. Its bookings are kept.`);
    });
}

function withDetails(command: AdminCommand): AdminCommand {
  return command
    .option("--description <text>", "Description for users")
    .option("--capacity <people>", "Number of people", whole)
    .option("--hourly-rate <amount>", "Price of an hour, or none", amount)
    .option("--currency <code>", "ISO 4217 code, such as EUR")
    .option("--time-zone <zone>", "Time zone, such as Europe/Berlin")
    .option("--auto-confirm", "Confirm bookings without a price at once")
    .option("--no-auto-confirm", "Leave their confirmation to an admin");
}

/** The fields of a room. An empty description and the rate `none` remove theirs. */
function toFields<Options extends DetailOptions>({ description, hourlyRate, ...options }: Options) {
  return {
    ...options,
    ...present({
      description: description === "" ? null : description,
      hourlyRate: hourlyRate === "none" ? null : hourlyRate,
    }),
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
    "state": state(room),
  });
}
