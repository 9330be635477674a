/** `admin events`. */
import {
  type Client,
  type SubscriptionEvent,
  type SubscriptionOptions,
  type SubscriptionState,
  unwrap,
} from "@slotkeeper/client";
import { type Command, command, type Group, group } from "./command.ts";
import { connect } from "./connection.ts";
import { Interrupted, UsageError } from "./failures.ts";
import { present } from "./given.ts";
import { hearInterruption, printLine } from "./terminal.ts";
import { localTime, plain } from "./texts.ts";

const tail: Command = command({
  summary: "Tell what happens as it happens, until Ctrl-C",
  examples: ["", "--room 1", "--after k3v9x2q1.abc4.1z --json"],
  args: {
    user: { type: "string", valueHint: "id|all", description: "Whose bookings; all, for an admin" },
    room: { type: "string", valueHint: "id", description: "The timeslots of a room, in the place of bookings" },
    after: { type: "string", valueHint: "cursor", description: "What came behind this cursor first" },
  },
  async run(given) {
    const roomId = given.whole("room");
    const user = given.text("user");
    if (user !== undefined && roomId !== undefined) throw new UsageError("Give --user or --room, not both");
    const userId = user === "all" ? user : given.whole("user");
    const json = given.flag("json") ?? false;
    using interruption = hearInterruption();
    const { signal } = interruption;
    const client = connect();
    const { timeZone, ...whose } = await findOut(client, { userId, roomId, signal });
    const subscription = client.subscribe({
      ...whose,
      ...present({ after: given.text("after") }),
      signal,
      onState: (state) => tellState(state, { wasInterrupted: signal.aborted }),
    });
    try {
      for await (const event of subscription) {
        if (event.event === "gap") console.error("A gap: what happened before is no longer kept. Read it afresh.");
        if (json) printLine(JSON.stringify(event));
        else if (event.event !== "gap") printLine(line(event, timeZone));
      }
    } finally {
      const { cursor } = subscription;
      if (cursor !== undefined) console.error(`Go on from here with --after ${cursor}`);
    }
    throw new Interrupted();
  },
});

export const events: Group = group("Follow what happens", { tail });

interface Wanted {
  userId: number | "all" | undefined;
  roomId: number | undefined;
  signal: AbortSignal;
}

/** What to follow, and the zone of its times. A subscription would try again for ever what cannot be reached or is refused. */
async function findOut(
  client: Client,
  { userId, roomId, signal }: Wanted,
): Promise<Pick<SubscriptionOptions, "userId" | "roomId"> & { timeZone: string }> {
  if (roomId !== undefined) {
    const init = { params: { path: { roomId } }, signal };
    const { timeZone } = await unwrap(client.GET("/api/v1/bookings/rooms/{roomId}", init));
    return { roomId, timeZone };
  }
  const me = await unwrap(client.GET("/api/v1/me", { signal }));
  return { ...present({ userId: userId ?? (me.role === "admin" ? "all" : undefined) }), timeZone: "UTC" };
}

function tellState({ status, reason = "" }: SubscriptionState, { wasInterrupted }: { wasInterrupted: boolean }): void {
  if (wasInterrupted) return;
  if (status === "connecting") console.error("Connecting.");
  if (status === "live") console.error("Live.");
  if (status === "waiting") console.error(`Waiting to connect again: ${plain(reason.replace(/\.$/, ""))}.`);
}

/** An event in a line. When it happened is in UTC, as the lines of all rooms stand below each other. */
function line(event: Exclude<SubscriptionEvent, { event: "gap" }>, timeZone: string): string {
  const [what, about] = told(event, timeZone);
  const at = Temporal.Instant.from(event.occurredAt).toString({ smallestUnit: "second" });
  return `${at}  ${what.padEnd(14)}  ${about}`;
}

function told(event: Exclude<SubscriptionEvent, { event: "gap" }>, timeZone: string): [string, string] {
  if (event.event === "timeslot_update") {
    const { timeslotId, change, startTime, endTime } = event.data;
    const span = [startTime, endTime].filter((time) => time !== null).map((time) => localTime(time, timeZone));
    const when = span.length === 0 ? "" : ` ${span.join(" to ")} ${timeZone}`;
    return [change, `${timeslotId === null ? "the room" : `timeslot ${timeslotId}`}${when}`];
  }
  const { booking } = event.data;
  const what = event.event === "booking_reminder" ? "reminder" : event.data.type;
  const { id, userId, room, timeslot } = booking;
  const when = `${localTime(timeslot.startTime, room.timeZone)} ${room.timeZone}`;
  return [what, `booking ${id} of user ${userId}, ${plain(room.name)}, ${when}`];
}
