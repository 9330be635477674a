/** Calls of the SDK that must not compile. The compiler reports a comment whose next line does compile. */
import { type Client, isProblem, type Room } from "@slotkeeper/client";

export async function mistakes(client: Client): Promise<void> {
  // @ts-expect-error unknown path
  await client.GET("/api/v1/booking");
  // @ts-expect-error the path has no DELETE
  await client.DELETE("/api/v1/bookings");
  // @ts-expect-error an id must be a number
  await client.POST("/api/v1/bookings", { body: { roomId: "1", timeslotId: 17 } });
  // @ts-expect-error the timeslot is missing
  await client.POST("/api/v1/bookings", { body: { roomId: 1 } });
  // @ts-expect-error the body is missing
  await client.POST("/api/v1/bookings");
  // @ts-expect-error the date is missing
  await client.GET("/api/v1/bookings/rooms/{roomId}/timeslots", { params: { path: { roomId: 1 } } });
  // @ts-expect-error the booking is missing
  await client.GET("/api/v1/bookings/{bookingId}");
  // @ts-expect-error unknown filter
  await client.GET("/api/v1/bookings/rooms", { params: { query: { colour: "red" } } });
  // @ts-expect-error a parameter must not be undefined
  await client.GET("/api/v1/bookings/rooms", { params: { query: { active: undefined } } });

  const { data, error } = await client.GET("/api/v1/me");
  // @ts-expect-error `data` may be undefined
  console.log(data.id);
  // @ts-expect-error unknown code
  console.log(isProblem(error, "timeslot_gone"));
  // @ts-expect-error only `validation_failed` has `errors`
  if (isProblem(error, "token_missing")) console.log(error.errors.length);
  if (isProblem(error, "validation_failed")) console.log(error.errors.length);

  // @ts-expect-error one booking is not a list
  client.items("/api/v1/bookings/{bookingId}");
  // @ts-expect-error events have a cursor instead of pages
  client.items("/api/v1/events");
  // @ts-expect-error `items` sets the page
  client.items("/api/v1/bookings", { query: { page: 2 } });
  // @ts-expect-error unknown status
  client.items("/api/v1/bookings", { query: { status: "gone" } });
  // @ts-expect-error the items are bookings
  const rooms: AsyncIterable<Room> = client.items("/api/v1/bookings");
  // @ts-expect-error a room id must be a number
  for await (const event of client.subscribe({ roomId: "1" })) console.log(rooms, event.cursor);
  // @ts-expect-error a subscription cannot send
  client.subscribe().send("ping");
}
