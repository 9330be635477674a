/** From a stored event to the one that is told. */
import {
  BookingEventType as BookingUpdateType,
  FeedEvent,
  type TimeslotChange,
  TimeslotChangeType,
} from "../../generated/contract.ts";
import { bookingFromJson } from "../bookings/booking.ts";
import { formatCursor } from "../events/cursors.ts";
import type { EventRow } from "../events/queries.ts";

/** For a person to read; the time of the booking stands beside it. */
const reminder = "Your appointment is coming up!";

/** The event as the contract has it. Throws when it is none: that is our bug. */
export function toFeedEvent(row: EventRow, generation: string): FeedEvent {
  const place = {
    cursor: formatCursor(generation, { transactionId: row.transaction_id, id: row.id }),
    occurredAt: row.occurred_at.toISOString(),
  };
  if (row.type === "reminder") {
    const data = { booking: bookingFromJson(row.data), message: reminder };
    return FeedEvent.parse({ event: "booking_reminder", ...place, data });
  }
  const timeslots = TimeslotChangeType.safeParse(row.type);
  if (timeslots.success) {
    return FeedEvent.parse({ event: "timeslot_update", ...place, data: toTimeslotChange(row, timeslots.data) });
  }
  const data = { type: BookingUpdateType.parse(row.type), booking: bookingFromJson(row.data) };
  return FeedEvent.parse({ event: "booking_update", ...place, data });
}

function toTimeslotChange({ room_id, data }: EventRow, change: TimeslotChangeType): TimeslotChange {
  const time = (value: unknown) => typeof value === "string" ? new Date(value).toISOString() : null;
  return {
    roomId: room_id,
    timeslotId: typeof data.timeslot_id === "number" ? data.timeslot_id : null,
    isAvailable: data.is_available === true,
    change,
    startTime: time(data.starts_at),
    endTime: time(data.ends_at),
  };
}
