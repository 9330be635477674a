/** `admin bookings`. */
import { type Booking, type BookingStatus, type Client, isProblem, unwrap } from "@slotkeeper/client";
import { Option } from "commander";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { SomeRefused } from "./failures.ts";
import { ids, positive, present, time, whole } from "./options.ts";
import { reportProblem } from "./report.ts";
import { confirmed, print, printJson, printNote, type Shell } from "./shell.ts";
import { fields, table } from "./tables.ts";
import { count, exactTime, localTime, money, plain } from "./texts.ts";

const statuses: BookingStatus[] = ["pending", "confirmed", "cancelled", "completed", "no_show"];

interface ListOptions extends JsonOption {
  status?: BookingStatus;
  room?: number;
  user?: number;
  from?: string;
  to?: string;
  startFrom?: string;
  startTo?: string;
  sort?: "created" | "start";
  order?: "asc" | "desc";
  limit: number;
}

export function bookings(program: AdminCommand, shell: Shell): void {
  const group = program.command("bookings").description("List, show, confirm, cancel and complete bookings");

  group.operation("list", "List bookings, newest first", [
    "--status pending",
    "--start-from 2027-03-09 --sort start",
    "--room 1 --from 2027-03-01 --limit 500 --json",
  ])
    .addOption(new Option("--status <status>", "Only bookings with this status").choices(statuses))
    .option("--room <id>", "Only bookings of this room", whole)
    .option("--user <id>", "Only bookings of this user", whole)
    .option("--from <time>", "Only bookings created at or after this day or instant", time)
    .option("--to <time>", "Only bookings created at or before this day or instant", time)
    .option("--start-from <time>", "Only bookings that start at or after this day or instant", time)
    .option("--start-to <time>", "Only bookings that start at or before this day or instant", time)
    .addOption(new Option("--sort <time>", "Time to sort by").choices(["created", "start"]))
    .addOption(new Option("--order <direction>", "Earliest (asc) or latest (desc) first").choices(["asc", "desc"]))
    .option("--limit <number>", "Most bookings to list", positive, 50)
    .action(async ({ room: roomId, user: userId, from: fromDate, to: toDate, limit, json, ...others }: ListOptions) => {
      const filters = present({ roomId, userId, fromDate, toDate, ...others });
      const query = { ...filters, limit: Math.min(100, limit + 1) };
      const bookings: Booking[] = [];
      let hasMore = false;
      for await (const booking of connect(shell).items("/api/v1/admin/bookings", { query })) {
        hasMore = bookings.length === limit;
        if (hasMore) break;
        bookings.push(booking);
      }
      if (json) return void printJson(shell, bookings);
      if (bookings.length > 0) print(shell, bookingTable(bookings));
      const zones = bookings.length > 0 ? " Times are in the time zone of the room." : "";
      const rest = hasMore ? " There are more: give a higher --limit." : "";
      printNote(shell, `${count(bookings.length, "booking")}.${zones}${rest}`);
    });

  group.operation("show", "Show a booking", ["42", "42 --json"])
    .argument("<id>", "Id of the booking", whole)
    .action(async (bookingId: number, { json }: JsonOption) => {
      const init = { params: { path: { bookingId } } };
      const booking = await unwrap(connect(shell).GET("/api/v1/bookings/{bookingId}", init));
      if (json) return void printJson(shell, booking);
      print(shell, bookingFields(booking));
    });

  const decision = (name: string, description: string, examples: string[]): AdminCommand =>
    group.operation(name, description, examples).argument("<ids...>", "Ids of the bookings", ids);
  const changeTo = (status: BookingStatus) => (bookingIds: number[], { json = false }: JsonOption) =>
    decide(shell, bookingIds, { status, json });

  const confirmation = "Confirm pending bookings (their price counts as paid), or take back completed and no-show";
  decision("confirm", confirmation, ["42", "42 43 --json"])
    .action(changeTo("confirmed"));
  decision("cancel", "Cancel bookings and refund everything paid", ["42", "42 43 --yes"])
    .option("--yes", "Do not ask")
    .action(async (bookingIds: number[], { yes = false, json = false }: JsonOption & { yes?: boolean }) => {
      const bookings = `booking${bookingIds.length === 1 ? "" : "s"} ${bookingIds.join(", ")}`;
      const question = `Cancel ${bookings}? Everything paid is refunded.`;
      if (await confirmed(shell, question, { isSure: yes })) await changeTo("cancelled")(bookingIds, { json });
    });
  decision("complete", "Mark bookings as completed, after their start", ["42"]).action(changeTo("completed"));
  decision("no-show", "Mark bookings as no-show, after their start", ["42"]).action(changeTo("no_show"));
}

/** Sets the status of each booking. A refusal does not stop the next ones. */
async function decide(
  shell: Shell,
  bookingIds: number[],
  { status, json }: { status: BookingStatus; json: boolean },
): Promise<void> {
  const client = connect(shell);
  const changed: Booking[] = [];
  let isAnyRefused = false;
  try {
    for (const id of bookingIds) {
      try {
        const booking = await setStatus(client, { id, status });
        changed.push(booking);
        if (!json) print(shell, statusText(booking));
      } catch (failure) {
        const isRefused = isProblem(failure, "booking_not_found", "invalid_status_transition");
        if (!isRefused || bookingIds.length === 1) throw failure;
        reportProblem(failure, { shell, json, about: `Booking ${id}` });
        isAnyRefused = true;
      }
    }
  } finally {
    if (json) printJson(shell, changed);
  }
  if (isAnyRefused) throw new SomeRefused();
}

async function setStatus(client: Client, { id, status }: { id: number; status: BookingStatus }): Promise<Booking> {
  const init = { params: { path: { bookingId: id } }, body: { status } };
  return await unwrap(client.PUT("/api/v1/admin/bookings/{bookingId}/status", init));
}

function statusText({ id, status, room, timeslot, refundAmount, currency }: Booking): string {
  const refund = refundAmount > 0 ? ` ${money(refundAmount, currency)} is refunded.` : "";
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
    "reason": booking.cancellationReason ?? "",
    "created": time(booking.createdAt),
    "updated": time(booking.updatedAt),
  };
  return fields(Object.fromEntries(Object.entries(shown).filter(([, text]) => text !== "")));
}
