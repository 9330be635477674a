/** What does not compile with the SDK: the compiler complains of each line, or else of the comment above it. */
import { type Client, isProblem, type Room } from "@slotkeeper/client";

export async function mistakes(client: Client): Promise<void> {
  // @ts-expect-error there is no such path
  await client.GET("/api/v1/booking");
  // @ts-expect-error nor is it deleted
  await client.DELETE("/api/v1/bookings");
  // @ts-expect-error an id is a number
  await client.POST("/api/v1/bookings", { body: { roomId: "1", timeslotId: 17 } });
  // @ts-expect-error the timeslot is missing
  await client.POST("/api/v1/bookings", { body: { roomId: 1 } });
  // @ts-expect-error the body is missing
  await client.POST("/api/v1/bookings");
  // @ts-expect-error the date is missing
  await client.GET("/api/v1/bookings/rooms/{roomId}/timeslots", { params: { path: { roomId: 1 } } });
  // @ts-expect-error the booking is missing
  await client.GET("/api/v1/bookings/{bookingId}");
  // @ts-expect-error it has no such filter
  await client.GET("/api/v1/bookings/rooms", { params: { query: { colour: "red" } } });
  // @ts-expect-error a parameter that is given has a value
  await client.GET("/api/v1/bookings/rooms", { params: { query: { active: undefined } } });

  const { data, error } = await client.GET("/api/v1/me");
  // @ts-expect-error it may have been refused
  console.log(data.id);
  // @ts-expect-error there is no such code
  console.log(isProblem(error, "timeslot_gone"));
  // @ts-expect-error only an invalid request tells of its fields
  if (isProblem(error, "token_missing")) console.log(error.errors.length);
  if (isProblem(error, "validation_failed")) console.log(error.errors.length);

  // @ts-expect-error one booking is no list
  client.items("/api/v1/bookings/{bookingId}");
  // @ts-expect-error the pages of the feed have cursors
  client.items("/api/v1/events");
  // @ts-expect-error which page is for `items` to say
  client.items("/api/v1/bookings", { query: { page: 2 } });
  // @ts-expect-error there is no such status
  client.items("/api/v1/bookings", { query: { status: "gone" } });
  // @ts-expect-error those are bookings
  const rooms: AsyncIterable<Room> = client.items("/api/v1/bookings");
  // @ts-expect-error a room is named by its id
  for await (const event of client.subscribe({ roomId: "1" })) console.log(rooms, event.cursor);
  // @ts-expect-error a subscription sends nothing
  client.subscribe().send("ping");
}
