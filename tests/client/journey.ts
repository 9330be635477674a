/** An application that uses the SDK, from the first room to the last event. Runs in Deno, Node and browsers. */
import {
  type Booking,
  type ClientOptions,
  createClient,
  isProblem,
  ProblemError,
  type SubscriptionEvent,
  unwrap,
} from "@slotkeeper/client";

export interface JourneyOptions {
  baseUrl: string;
  token: string;
  /** A room with three or more free timeslots on `date`. */
  roomName: string;
  date: string;
  /** For runtimes without a `WebSocket`. */
  WebSocket?: NonNullable<ClientOptions["WebSocket"]>;
}

/** Results of the application. */
export interface Journey {
  booked: number[];
  /** Ids in the order of the list. */
  listed: number[];
  /** Codes of two problems: a second booking of a timeslot, and an unknown booking. */
  problems: string[];
  /** The `type` and booking of each event. */
  events: string[];
}

export async function journey({ token, roomName, date, ...options }: JourneyOptions): Promise<Journey> {
  const client = createClient({ ...options, token: () => Promise.resolve(token), timeoutMs: undefined });
  const { items: rooms } = await unwrap(client.GET("/api/v1/bookings/rooms", { params: { query: { active: true } } }));
  const room = rooms.find(({ name }) => name === roomName);
  if (room === undefined) throw new Error(`No room has the name ${roomName}`);
  const { timeslots } = await unwrap(
    client.GET("/api/v1/bookings/rooms/{roomId}/timeslots", { params: { path: { roomId: room.id }, query: { date } } }),
  );

  const live = deferred<void>();
  const subscription = client.subscribe({ onState: ({ status }) => status === "live" && live.resolve() });
  const events: string[] = [];
  const following = follow(subscription, events);
  await live.promise;

  const booked: Booking[] = [];
  for (const { id: timeslotId } of timeslots.slice(0, 3)) {
    const { booking } = await unwrap(client.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId } }));
    booked.push(booking);
  }
  const [first] = booked;
  if (first === undefined) throw new Error("The room has no free timeslots");
  const problems: string[] = [];
  const again = await client.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId: first.timeslotId } });
  if (isProblem(again.error, "timeslot_unavailable")) {
    const code: "timeslot_unavailable" = again.error.code;
    problems.push(code);
  }
  try {
    await unwrap(client.GET("/api/v1/bookings/{bookingId}", { params: { path: { bookingId: 2 ** 40 } } }));
  } catch (failure) {
    if (failure instanceof ProblemError && isProblem(failure)) problems.push(failure.code);
  }

  const listed: number[] = [];
  for await (const { id, timeslot } of client.items("/api/v1/bookings", { query: { status: "pending", limit: 1 } })) {
    if (timeslot.startTime.startsWith(date)) listed.push(id);
  }
  const path = { bookingId: first.id };
  await unwrap(client.PUT("/api/v1/bookings/{bookingId}/cancel", { params: { path } }));
  await following;
  return { booked: booked.map(({ id }) => id), listed, problems, events };
}

/** Adds the events to `events`, up to the first cancellation. */
async function follow(subscription: AsyncIterable<SubscriptionEvent>, events: string[]): Promise<void> {
  for await (const event of subscription) {
    if (event.event !== "booking_update") continue;
    const { type, booking } = event.data;
    events.push(`${type} ${booking.id}`);
    if (type === "cancelled") return;
  }
}

function deferred<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {};
  const promise = new Promise<Value>((resolved) => resolve = resolved);
  return { promise, resolve };
}
