/** Renders stored events for clients. */
import { BookingEventType, type FeedEvent, type TimeslotChange, TimeslotChangeType } from "../../generated/contract.ts";
import { bookingFromJson } from "../bookings/booking.ts";
import { isoOf } from "../database/instants.ts";
import { formatCursor } from "../events/cursors.ts";
import type { EventRow } from "../events/queries.ts";

/** A text for people. The event also has the time of the booking. */
const reminderMessage = "Your appointment is coming up!";

/**
 * Renders an event as the contract declares it. Its serializer validates it. Throws for an unknown type of event, which is
 * our bug.
 */
export function toFeedEvent(row: EventRow, generation: string): FeedEvent {
  const common = {
    cursor: formatCursor(generation, { transactionId: row.transaction_id, id: row.id }),
    occurredAt: row.occurred_at,
  };
  if (row.type === "reminder") {
    const data = { booking: bookingFromJson(row.data), message: reminderMessage };
    return { event: "booking_reminder", ...common, data };
  }
  const timeslotChange = TimeslotChangeType.safeParse(row.type);
  if (timeslotChange.success) {
    return { event: "timeslot_update", ...common, data: toTimeslotChange(row, timeslotChange.data) };
  }
  const data = { type: BookingEventType.parse(row.type), booking: bookingFromJson(row.data) };
  return { event: "booking_update", ...common, data };
}

function toTimeslotChange({ room_id, data }: EventRow, change: TimeslotChangeType): TimeslotChange {
  const time = (value: unknown) => typeof value === "string" ? isoOf(value) : null;
  return {
    roomId: room_id,
    timeslotId: typeof data.timeslot_id === "number" ? data.timeslot_id : null,
    isAvailable: data.is_available === true,
    change,
    startTime: time(data.starts_at),
    endTime: time(data.ends_at),
  };
}
