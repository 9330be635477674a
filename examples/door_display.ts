/**
 * A display beside a door: prints the free times of a room today, and again after each change, until Ctrl-C.
 *
 *     deno run --allow-net --allow-env examples/door_display.ts <roomId>
 *
 * `SLOTKEEPER_URL` is the address of Slotkeeper, `SLOTKEEPER_TOKEN` a token or an API key with `events:read`.
 */
import { createClient, unwrap } from "@slotkeeper/client";

interface Options {
  env: Record<string, string>;
  /** Ends the program. */
  signal?: AbortSignal;
  now?: () => Date;
}

export async function main(
  [room]: string[],
  { env, signal, now = () => new Date() }: Options,
): Promise<void> {
  if (room === undefined) throw new Error("Usage: deno run --allow-net --allow-env examples/door_display.ts <roomId>");
  const client = createClient({ baseUrl: env.SLOTKEEPER_URL ?? "http://127.0.0.1:8000", token: env.SLOTKEEPER_TOKEN });
  const roomId = Number(room);
  const { name, timeZone } = await unwrap(
    client.GET("/api/v1/bookings/rooms/{roomId}", { params: { path: { roomId } } }),
  );

  // Sweden writes dates as YYYY-MM-DD.
  const day = new Intl.DateTimeFormat("sv-SE", { timeZone });
  const clock = (instant: string) => {
    const at = Temporal.Instant.from(instant).toZonedDateTimeISO(timeZone);
    const [first, second] = (["earlier", "later"] as const).map((disambiguation) =>
      at.toPlainDateTime().toZonedDateTime(timeZone, { disambiguation }).offset
    );
    const time = at.toPlainTime().toString({ smallestUnit: "minute" });
    // An hour comes twice in the night when the clocks are set back.
    return first === second ? time : `${time} ${at.offset}`;
  };
  const show = async () => {
    const { timeslots } = await unwrap(
      client.GET("/api/v1/bookings/rooms/{roomId}/timeslots", {
        params: { path: { roomId }, query: { date: day.format(now()), duration: 1 } },
      }),
    );
    const times = timeslots.map(({ startTime }) => clock(startTime));
    console.log(`${name}: ${times.length === 0 ? "nothing free today" : `free at ${times.join(", ")}`}`);
  };

  // First the place in the feed, then the list. So no change between the two is missed.
  const { cursor } = await unwrap(client.GET("/api/v1/events", { params: { query: { after: "latest" } } }));
  await show();
  // The SDK reconnects and resumes. A `gap` means that events are missing, and the list is read again as well.
  for await (const _event of client.subscribe({ roomId, after: cursor, ...(signal ? { signal } : {}) })) await show();
}

if (import.meta.main) {
  await main(Deno.args, { env: Deno.env.toObject() }).catch((error: Error) => {
    console.error(error.message);
    Deno.exit(1);
  });
}
