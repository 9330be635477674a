/** Names of constraints and indexes in the migrations. A violation of one becomes a problem. */
export const liveTimeslotKey = "bookings_live_timeslot_key";
export const bookingTimeslotForeignKey = "bookings_timeslot_fkey";
export const idempotencyKey = "idempotency_keys_pkey";
