/** `admin bookings`. */
import { type Booking, type BookingStatus, type Client, isProblem, unwrap } from "@slotkeeper/client";
import { type Command, command, type Definition, type Group, group, yes } from "./command.ts";
import { connect } from "./connection.ts";
import { reportProblem, SomeRefused, UsageError } from "./failures.ts";
import { type Given, present } from "./given.ts";
import { fields, printJson, table } from "./tables.ts";
import { confirmed } from "./terminal.ts";
import { count, exactTime, localTime, money, plain } from "./texts.ts";

const statuses: BookingStatus[] = ["pending", "confirmed", "cancelled", "completed", "no_show"];
const defaultLimit = 50;

const list: Command = command({
  summary: "List bookings, the newest first",
  examples: ["--status pending", "--room 1 --from 2027-03-01 --limit 500 --json"],
  args: {
    status: { type: "enum", options: statuses, valueHint: "status", description: "Only" },
    room: { type: "string", valueHint: "id", description: "Only of this room" },
    user: { type: "string", valueHint: "id", description: "Only of this user" },
    from: { type: "string", valueHint: "time", description: "Only made on or after this day or instant" },
    to: { type: "string", valueHint: "time", description: "Only made on or before this day or instant" },
    limit: { type: "string", valueHint: "number", description: `How many at most; ${defaultLimit}` },
  },
  async run(given) {
    const limit = given.whole("limit") ?? defaultLimit;
    if (limit === 0) throw new UsageError("--limit must be 1 or more");
    const status = statuses.find((status) => status === given.text("status"));
    const range = { fromDate: given.time("from"), toDate: given.time("to") };
    const filters = present({ status, roomId: given.whole("room"), userId: given.whole("user"), ...range });
    const query = { ...filters, limit: Math.min(100, limit + 1) };
    const bookings: Booking[] = [];
    let hasMore = false;
    for await (const booking of connect().items("/api/v1/admin/bookings", { query })) {
      hasMore = bookings.length === limit;
      if (hasMore) break;
      bookings.push(booking);
    }
    if (given.flag("json")) return printJson(bookings);
    if (bookings.length > 0) console.log(bookingTable(bookings));
    const zones = bookings.length > 0 ? " Times are those where the room is." : "";
    const rest = hasMore ? " There are more: give a higher --limit." : "";
    console.error(`${count(bookings.length, "booking")}.${zones}${rest}`);
  },
});

const show: Command = command({
  summary: "Show a booking",
  examples: ["42", "42 --json"],
  args: { id: { type: "positional", description: "The booking" } },
  async run(given) {
    const path = { bookingId: given.id() };
    const booking = await unwrap(connect().GET("/api/v1/bookings/{bookingId}", { params: { path } }));
    if (given.flag("json")) return printJson(booking);
    console.log(bookingFields(booking));
  },
});

const bookingIds = { type: "positional", several: true, description: "The bookings" } satisfies Definition;

/** A command that gives bookings a status. */
function decision(status: BookingStatus, { summary, examples }: { summary: string; examples: string[] }): Command {
  return command({ summary, examples, args: { ids: bookingIds }, run: (given) => decide(given, status) });
}

const cancel: Command = command({
  summary: "Cancel bookings; all that was paid is refunded",
  examples: ["42", "42 43 --yes"],
  args: { ids: bookingIds, yes },
  async run(given) {
    const bookings = `booking${given.ids().length === 1 ? "" : "s"} ${given.ids().join(", ")}`;
    const question = `Cancel ${bookings}? All that was paid is refunded.`;
    if (await confirmed(question, given.flag("yes"))) await decide(given, "cancelled");
  },
});

export const bookings: Group = group("Look at bookings and decide on them", {
  list,
  show,
  confirm: decision("confirmed", {
    summary: "Confirm pending bookings; a price counts as paid",
    examples: ["42", "42 43 --json"],
  }),
  cancel,
  complete: decision("completed", {
    summary: "Say that bookings took place, once they have started",
    examples: ["42"],
  }),
  "no-show": decision("no_show", {
    summary: "Say that nobody came, once bookings have started",
    examples: ["42"],
  }),
});

/** Gives each booking the status. One that is refused does not keep the next ones from it. */
async function decide(given: Given<"json">, status: BookingStatus): Promise<void> {
  const ids = given.ids();
  const json = given.flag("json") ?? false;
  const client = connect();
  const changed: Booking[] = [];
  let isAnyRefused = false;
  try {
    for (const id of ids) {
      try {
        const booking = await setStatus(client, { id, status });
        changed.push(booking);
        if (!json) console.log(sentence(booking));
      } catch (failure) {
        if (!isProblem(failure, "booking_not_found", "invalid_status_transition") || ids.length === 1) throw failure;
        reportProblem(failure, { json, about: `Booking ${id}` });
        isAnyRefused = true;
      }
    }
  } finally {
    if (json) printJson(changed);
  }
  if (isAnyRefused) throw new SomeRefused();
}

async function setStatus(client: Client, { id, status }: { id: number; status: BookingStatus }): Promise<Booking> {
  const init = { params: { path: { bookingId: id } }, body: { status } };
  return await unwrap(client.PUT("/api/v1/admin/bookings/{bookingId}/status", init));
}

function sentence({ id, status, room, timeslot, refundAmount, currency }: Booking): string {
  const refund = refundAmount > 0 ? ` ${money(refundAmount, currency)} goes back.` : "";
  const when = `${localTime(timeslot.startTime, room.timeZone)} ${room.timeZone}`;
  return `Booking ${id} is ${status}: ${plain(room.name)}, ${when}.${refund}`;
}

function bookingTable(bookings: Booking[]): string {
  return table(
    [
      { head: "id", align: "right" },
      { head: "status" },
      { head: "room", mayShrink: true },
      { head: "user", align: "right" },
      { head: "starts" },
      { head: "time zone", mayShrink: true },
      { head: "price", align: "right" },
    ],
    bookings.map(({ id, status, room, userId, timeslot, price, currency }) => [
      ...[String(id), status, room.name, String(userId)],
      ...[localTime(timeslot.startTime, room.timeZone), room.timeZone, money(price, currency)],
    ]),
  );
}

function bookingFields(booking: Booking): string {
  const { room, timeslot, currency } = booking;
  const time = (instant: string | null) => instant === null ? "" : exactTime(instant, room.timeZone);
  const shown = {
    "booking": String(booking.id),
    "status": booking.status,
    "room": `${room.name} (${room.id}, ${room.roomType})`,
    "starts": time(timeslot.startTime),
    "ends": time(timeslot.endTime),
    "user": String(booking.userId),
    "type": booking.bookingType ?? "",
    "notes": booking.notes ?? "",
    "price": money(booking.price, currency),
    "payment": booking.paymentStatus,
    "paid": money(booking.amountPaid, currency),
    "refunded": `${money(booking.amountRefunded, currency)} of ${money(booking.refundAmount, currency)}`,
    "held until": time(booking.holdExpiresAt),
    "cancelled": time(booking.cancelledAt),
    "because": booking.cancellationReason ?? "",
    "made": time(booking.createdAt),
    "changed": time(booking.updatedAt),
  };
  return fields(Object.fromEntries(Object.entries(shown).filter(([, text]) => text !== "")));
}
