/** `admin stats`. */
import { type BookingStatus, type components, unwrap } from "@slotkeeper/client";
import { type Bar, chart } from "./charts.ts";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { present, time, whole } from "./options.ts";
import { print, printJson, printNote, type Shell } from "./shell.ts";
import { fields } from "./tables.ts";
import { money } from "./texts.ts";

type Stats = components["schemas"]["BookingStats"];
type DayStats = components["schemas"]["DayStats"];

/** Longer ranges are shown by month instead of by day. */
const mostDays = 62;
const statuses: BookingStatus[] = ["pending", "confirmed", "cancelled", "completed", "no_show"];

interface StatsOptions extends JsonOption {
  from?: string;
  to?: string;
  room?: number;
}

export function stats(program: AdminCommand, shell: Shell): void {
  program.operation("stats", "Show counts of bookings, revenue and occupancy", [
    "",
    "--from 2027-01-01 --to 2027-03-31 --room 1",
  ])
    .option("--from <time>", "First day or instant (default: start of this month)", time)
    .option("--to <time>", "Last day or instant (default: now)", time)
    .option("--room <id>", "Only this room", whole)
    .action(async ({ from: fromDate, to: toDate, room: roomId, json }: StatsOptions) => {
      const query = present({ fromDate, toDate, roomId });
      const stats = await unwrap(connect(shell).GET("/api/v1/admin/bookings/stats", { params: { query } }));
      if (json) return void printJson(shell, stats);
      print(shell, [summary(stats, roomId), ...charts(stats)].join("\n\n"));
      if (stats.byDay.length === 0) printNote(shell, "Days are shown for ranges of at most 366 days only.");
    });
}

function summary(stats: Stats, roomId: number | undefined): string {
  const [first, last] = [stats.byDay.at(0)?.date, stats.byDay.at(-1)?.date];
  const revenue = Object.entries(stats.revenueByCurrency).map(([currency, amount]) => money(amount, currency));
  const minutes = `${stats.bookedMinutes} of ${stats.bookableMinutes} minutes`;
  return fields({
    ...(first === undefined ? {} : { "days": first === last ? first : `${first} to ${last}` }),
    "room": roomId === undefined ? "all" : String(roomId),
    "bookings made": String(stats.total),
    "revenue": revenue.length === 0 ? "none" : revenue.join(", "),
    "occupancy": stats.occupancy === null ? "nothing to book" : `${percent(stats.occupancy)}, ${minutes}`,
    "cancellation rate": percent(stats.cancellationRate),
    "no-show rate": percent(stats.noShowRate),
  });
}

function charts(stats: Stats): string[] {
  const { byStatus, byDay, byRoom } = stats;
  const bookings = { head: "bookings", align: "right" } as const;
  const columns = [bookings, { head: "occupancy", align: "right" }] as const;
  const bars = statuses.map((status) => {
    const length = byStatus[status];
    return { name: status, length, figures: [String(length)] };
  });
  const isLong = byDay.length > mostDays;
  const days = (isLong ? byMonth(byDay) : byDay).map((day) => bar(day.date, day));
  return [
    chart("status", { columns: [bookings], bars }),
    ...(days.length === 0 ? [] : [chart(isLong ? "month" : "day", { columns: [...columns], bars: days })]),
    ...(byRoom.length === 0 ? [] : [
      chart("room", { columns: [...columns], bars: byRoom.map((room) => bar(room.name, room)) }),
    ]),
  ];
}

type Counted = Pick<DayStats, "total" | "bookableMinutes" | "bookedMinutes">;

function bar(name: string, { total, bookableMinutes, bookedMinutes }: Counted): Bar {
  const occupancy = bookableMinutes === 0 ? "" : percent(bookedMinutes / bookableMinutes);
  return { name, length: total, figures: [String(total), occupancy] };
}

/** Adds the days of each month up. `date` is the month. */
function byMonth(days: DayStats[]): (Counted & { date: string })[] {
  const months = Object.entries(Object.groupBy(days, ({ date }) => date.slice(0, "2027-03".length)));
  return months.map(([date, days = []]) => {
    const sum = (of: keyof Counted) => days.reduce((total, day) => total + day[of], 0);
    return {
      date,
      total: sum("total"),
      bookableMinutes: sum("bookableMinutes"),
      bookedMinutes: sum("bookedMinutes"),
    };
  });
}

/** Formats a part of 1. Null is a part of 0. */
function percent(part: number | null): string {
  return part === null ? "-" : `${(part * 100).toFixed(1)} %`;
}
