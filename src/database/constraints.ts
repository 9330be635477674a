/** Names of constraints and indexes that the migrations give and that queries turn into problems. */
export const liveTimeslotKey = "bookings_live_timeslot_key";
export const bookingTimeslotForeignKey = "bookings_timeslot_fkey";
