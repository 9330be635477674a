/** Calendar months. */

export interface Month {
  /** `2027-03`. */
  month: string;
  /** The first and the last day within the range. */
  first: Temporal.PlainDate;
  last: Temporal.PlainDate;
}

/** The months from one day to another, both included. */
export function monthsBetween(from: Temporal.PlainDate, to: Temporal.PlainDate): Month[] {
  const months: Month[] = [];
  for (let first = from; Temporal.PlainDate.compare(first, to) <= 0;) {
    const end = first.with({ day: first.daysInMonth });
    const last = Temporal.PlainDate.compare(end, to) < 0 ? end : to;
    months.push({ month: first.toPlainYearMonth().toString(), first, last });
    first = end.add({ days: 1 });
  }
  return months;
}
