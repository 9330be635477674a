/** Counts bookings, their revenue, and the booked time. */
import type { BookingStats } from "../../generated/contract.ts";
import { Problem } from "../contract/problems.ts";
import { toCents } from "../money.ts";
import { findKnownRoom } from "../rooms/rooms.ts";
import { type Bound, instantIn } from "../time/calendar.ts";
import { type Range, rangeIn } from "../time/ranges.ts";
import type { BookingRules } from "./booking.ts";
import { type BookingCount, countBookings, type Counts, type MinuteCount } from "./stats_queries.ts";

/** Longest range in days that is reported day by day. */
const maxDays = 366;

/**
 * Counts the bookings made in `range`. Without an end, it ends now. Without a start, it starts on the first day of the
 * month in which it ends.
 *
 * @throws {Problem} `invalid_date_range` when it ends before it starts, or `unknown_room`.
 */
export async function getBookingStats(
  { db, clock, config }: Pick<BookingRules, "db" | "clock" | "config">,
  { range, roomId }: { range: Range<Bound["at"]>; roomId: number | undefined },
): Promise<BookingStats> {
  const zone = config.defaultTimeZone;
  const { from: start, to = { operator: "<=", at: clock.now().toTemporalInstant() } } = rangeIn(zone, range);
  if (range.to === undefined && start !== undefined && Temporal.Instant.compare(start.at, to.at) > 0) {
    throw new Problem("invalid_date_range", "fromDate is in the future. Give a toDate after it, too.");
  }
  const lastDay = dayOf(zone, to.operator === "<" ? to.at.subtract({ nanoseconds: 1 }) : to.at);
  const from: Bound<Temporal.Instant> = start ?? { operator: ">=", at: instantIn(zone, lastDay.with({ day: 1 })) };
  const days = daysBetween(dayOf(zone, from.at), lastDay);
  const dayStarts = days.map((day) => instantIn(zone, day));
  const counts = await countBookings(db, { range: { from, to }, roomId, dayStarts });
  if (roomId !== undefined && counts.rooms.length === 0) await findKnownRoom(db, roomId);
  return toStats(days, counts);
}

function dayOf(zone: string, at: Temporal.Instant): Temporal.PlainDate {
  return at.toZonedDateTimeISO(zone).toPlainDate();
}

/** Both days included. Empty for more than {@link maxDays}. */
function daysBetween(first: Temporal.PlainDate, last: Temporal.PlainDate): Temporal.PlainDate[] {
  const count = first.until(last).days + 1;
  return count > maxDays ? [] : Array.from({ length: Math.max(0, count) }, (_, index) => first.add({ days: index }));
}

function toStats(days: Temporal.PlainDate[], { bookings, minutes, rooms }: Counts): BookingStats {
  const ofAll = ({ room_id, day }: BookingCount | MinuteCount) => room_id === null && day === null;
  const [all, allMinutes] = [bookings.filter(ofAll), minutes.filter(ofAll)];
  const countOf = (matches: (count: BookingCount) => boolean) => sum(all.filter(matches).map(({ count }) => count));
  const cents: Record<string, number> = {};
  for (const { currency, revenue } of all) {
    if (currency !== null) cents[currency] = (cents[currency] ?? 0) + toCents(revenue);
  }
  const [noShows, completed] = [
    countOf(({ status }) => status === "no_show"),
    countOf(({ status }) => status === "completed"),
  ];
  const notExpired = all.filter((each) => each.has_expired === false);
  const [byDay, byRoom] = [sharesBy("day", { bookings, minutes }), sharesBy("room_id", { bookings, minutes })];
  return {
    ...shareOf(all, allMinutes),
    revenueByCurrency: Object.fromEntries(Object.entries(cents).map(([currency, amount]) => [currency, amount / 100])),
    cancellationRate: rate(
      sum(notExpired.filter(({ status }) => status === "cancelled").map(({ count }) => count)),
      sum(notExpired.map(({ count }) => count)),
    ),
    noShowRate: rate(noShows, noShows + completed),
    byDay: days.map((day, index) => ({ date: day.toString(), ...byDay(index + 1) })),
    byRoom: rooms.map(({ id, name }) => ({ roomId: id, name, ...byRoom(id) })),
  };
}

type Share = Pick<
  BookingStats,
  "total" | "byStatus" | "revenue" | "bookableMinutes" | "bookedMinutes" | "occupancy"
>;

/** The figures of the whole range, of a day or of a room. */
function shareOf(bookings: BookingCount[], minutes: MinuteCount[]): Share {
  const byStatus = { pending: 0, confirmed: 0, cancelled: 0, completed: 0, no_show: 0 };
  for (const { status, count } of bookings) byStatus[status] += count;
  const bookableMinutes = sum(minutes.map(({ bookable }) => bookable));
  const bookedMinutes = sum(minutes.map(({ booked }) => booked));
  return {
    total: sum(Object.values(byStatus)),
    byStatus,
    revenue: sum(bookings.map(({ revenue }) => toCents(revenue))) / 100,
    bookableMinutes,
    bookedMinutes,
    occupancy: rate(bookedMinutes, bookableMinutes),
  };
}

/** Returns a function from a day or room to its share. */
function sharesBy(key: "day" | "room_id", { bookings, minutes }: Omit<Counts, "rooms">): (value: number) => Share {
  const counts = Map.groupBy(bookings, (each) => each[key]);
  const lengths = Map.groupBy(minutes, (each) => each[key]);
  return (value) => shareOf(counts.get(value) ?? [], lengths.get(value) ?? []);
}

function sum(amounts: number[]): number {
  return amounts.reduce((total, amount) => total + amount, 0);
}

/** Rounded to four decimal places. */
function rate(part: number, whole: number): number | null {
  return whole === 0 ? null : Math.round(part / whole * 10_000) / 10_000;
}
