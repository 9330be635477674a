import { type RawBuilder, sql } from "kysely";

/** Whether the timeslot with the id in `column` has a live booking, one that is not cancelled. */
export function isTaken(column: string): RawBuilder<boolean> {
  return sql<boolean>`exists (
    select from bookings as live where live.timeslot_id = ${sql.ref(column)} and live.status <> 'cancelled'
  )`;
}

/** Whether the timeslot with the alias `timeslot` is neither withdrawn nor taken. Its time may be over. */
export function isFree(timeslot: string): RawBuilder<boolean> {
  return sql<boolean>`(${sql.ref(`${timeslot}.withdrawn_at`)} is null and not ${isTaken(`${timeslot}.id`)})`;
}
