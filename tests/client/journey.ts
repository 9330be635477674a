/** What an application does with the SDK, from the first room to the last event. Runs in Deno, Node and browsers. */
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
  /** For runtimes without one. */
  WebSocket?: NonNullable<ClientOptions["WebSocket"]>;
}

/** What was seen on the way. */
export interface Journey {
  booked: number[];
  /** Ids as they came from the list. */
  listed: number[];
  /** The code of the second booking of the same timeslot, and of one that does not exist. */
  refusals: string[];
  /** The `type` and booking of each event. */
  events: string[];
}

export async function journey({ token, roomName, date, ...options }: JourneyOptions): Promise<Journey> {
  const client = createClient({ ...options, token: () => Promise.resolve(token), timeoutMs: undefined });
  const { items: rooms } = await unwrap(client.GET("/api/v1/bookings/rooms", { params: { query: { active: true } } }));
  const room = rooms.find(({ name }) => name === roomName);
  if (room === undefined) throw new Error(`There is no ${roomName}`);
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
  if (first === undefined) throw new Error("There were no timeslots");
  const refusals: string[] = [];
  const again = await client.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId: first.timeslotId } });
  if (isProblem(again.error, "timeslot_unavailable")) {
    const code: "timeslot_unavailable" = again.error.code;
    refusals.push(code);
  }
  try {
    await unwrap(client.GET("/api/v1/bookings/{bookingId}", { params: { path: { bookingId: 2 ** 40 } } }));
  } catch (failure) {
    if (failure instanceof ProblemError && isProblem(failure)) refusals.push(failure.code);
  }

  const listed: number[] = [];
  for await (const { id, timeslot } of client.items("/api/v1/bookings", { query: { status: "pending", limit: 1 } })) {
    if (timeslot.startTime.startsWith(date)) listed.push(id);
  }
  const path = { bookingId: first.id };
  await unwrap(client.PUT("/api/v1/bookings/{bookingId}/cancel", { params: { path } }));
  await following;
  return { booked: booked.map(({ id }) => id), listed, refusals, events };
}

/** Takes events down up to the first cancellation. */
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
