/** Counting bookings and their revenue. */
import type { BookingStats } from "../../generated/contract.ts";
import { type Bound, instantIn } from "../calendar.ts";
import { toCents } from "../money.ts";
import type { BookingRules } from "./bookings.ts";
import { type Range, rangeIn } from "../ranges.ts";
import { type BookingTotals, totalBookings } from "./queries.ts";

/** Bookings made in `range`, counted. Without an end: until now. Without a start: since the month began in which it ends. */
export async function bookingStats(
  { db, clock, config }: BookingRules,
  range: Range<Bound["at"]>,
): Promise<BookingStats> {
  const zone = config.defaultTimeZone;
  const { from, to = { operator: "<=", at: clock.now().toTemporalInstant() } } = rangeIn(zone, range);
  const lastInstant = to.operator === "<" ? to.at.subtract({ nanoseconds: 1 }) : to.at;
  const month = lastInstant.toZonedDateTimeISO(zone).toPlainDate().with({ day: 1 });
  return toStats(await totalBookings(db, { from: from ?? { operator: ">=", at: instantIn(zone, month) }, to }));
}

function toStats(totals: BookingTotals[]): BookingStats {
  const byStatus = { pending: 0, confirmed: 0, cancelled: 0, completed: 0, no_show: 0 };
  const cents: Record<string, number> = {};
  for (const { status, currency, count, revenue } of totals) {
    byStatus[status] += count;
    cents[currency] = (cents[currency] ?? 0) + toCents(revenue);
  }
  const sum = (amounts: number[]) => amounts.reduce((total, amount) => total + amount, 0);
  return {
    total: sum(Object.values(byStatus)),
    byStatus,
    revenue: sum(Object.values(cents)) / 100,
    revenueByCurrency: Object.fromEntries(Object.entries(cents).map(([currency, amount]) => [currency, amount / 100])),
  };
}
