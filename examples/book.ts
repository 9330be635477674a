/**
 * Books a timeslot from a server, for an order of your shop. A second run for the same order books nothing again.
 *
 *     deno run --allow-net --allow-env examples/book.ts <order> <roomId> <timeslotId>
 *
 * `SLOTKEEPER_URL` is the address of Slotkeeper, `SLOTKEEPER_TOKEN` a token or an API key with `bookings:write`.
 */
import { createClient, isProblem } from "@slotkeeper/client";

/** Prints the booking, or what is free instead. Returns the exit code. */
export async function main([order, roomId, timeslotId]: string[], env: Record<string, string>): Promise<number> {
  if (timeslotId === undefined) {
    console.error("Usage: deno run --allow-net --allow-env examples/book.ts <order> <roomId> <timeslotId>");
    return 2;
  }
  const client = createClient({ baseUrl: env.SLOTKEEPER_URL ?? "http://127.0.0.1:8000", token: env.SLOTKEEPER_TOKEN });

  const { data, error } = await client.POST("/api/v1/bookings", {
    // The order makes the key. So a repeated request gets the first answer, for 24 hours.
    params: { header: { "Idempotency-Key": `order-${order}-${timeslotId}` } },
    body: { roomId: Number(roomId), timeslotId: Number(timeslotId), notes: `Order ${order}` },
  });

  if (data !== undefined) {
    console.log(`Booking ${data.booking.id} is ${data.booking.status}.`);
    // The person who ordered pays here. A booking without a price has no checkout.
    if (data.checkoutUrl) console.log(`Pay at ${data.checkoutUrl}`);
    return 0;
  }
  if (isProblem(error, "timeslot_unavailable")) {
    console.log("The timeslot is taken. Free instead:");
    for (const { id, startTime } of error.alternatives) console.log(`  timeslot ${id} at ${startTime}`);
    return 1;
  }
  // `detail` says what is wrong and what to do next.
  console.error(error.detail);
  return 1;
}

if (import.meta.main) {
  const exitCode = await main(Deno.args, Deno.env.toObject()).catch((error: Error) => {
    console.error(error.message);
    return 1;
  });
  Deno.exit(exitCode);
}
