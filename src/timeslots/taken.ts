import { type RawBuilder, sql } from "kysely";

/** Whether the timeslot with the id in `column` has a live booking, one that is not cancelled. */
export function isTaken(column: string): RawBuilder<boolean> {
  return sql<boolean>`exists (
    select from bookings as live where live.timeslot_id = ${sql.ref(column)} and live.status <> 'cancelled'
  )`;
}
