/** `admin events`. */
import {
  type Client,
  type SubscriptionEvent,
  type SubscriptionOptions,
  type SubscriptionState,
  unwrap,
} from "@slotkeeper/client";
import { Option } from "commander";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { Interrupted } from "./failures.ts";
import { present, whole } from "./options.ts";
import { print, printJson, printNote, type Shell } from "./shell.ts";
import { localTime, plain } from "./texts.ts";

interface TailOptions extends JsonOption {
  user?: number | "all";
  room?: number;
  after?: string;
}

export function events(program: AdminCommand, shell: Shell): void {
  program.command("events").description("Follow events")
    .operation("tail", "Print events as they happen, until Ctrl-C", [
      "",
      "--room 1",
      "--after k3v9x2q1.abc4.1z --json",
    ])
    .option(
      "--user <id|all>",
      "Bookings of this user. Admins: all, also without the option",
      (text: string) => text === "all" ? text : whole(text),
    )
    .addOption(
      new Option("--room <id>", "Timeslots of this room instead of bookings").argParser(whole).conflicts("user"),
    )
    .option("--after <cursor>", "Begin with the events after this cursor")
    .action((options: TailOptions) => tail(shell, options));
}

async function tail(shell: Shell, { user: userId, room: roomId, after, json }: TailOptions): Promise<void> {
  using interruption = shell.listenForInterrupt();
  const { signal } = interruption;
  const client = connect(shell);
  const { timeZone, ...target } = await findTarget(client, { userId, roomId, signal });
  const describeState = stateTexts();
  const subscription = client.subscribe({
    ...target,
    ...present({ after }),
    signal,
    onState(state) {
      const text = describeState(state);
      if (!signal.aborted && text !== undefined) printNote(shell, text);
    },
  });
  let isRead = true;
  try {
    for await (const event of subscription) {
      if (event.event === "gap") printNote(shell, "Gap: older events were removed. Read the current state again.");
      if (json) isRead = printJson(shell, event, { indent: 0 });
      else if (event.event !== "gap") isRead = print(shell, eventText(event, timeZone));
      if (!isRead) return;
    }
  } finally {
    const { cursor } = subscription;
    if (isRead && cursor !== undefined) printNote(shell, `Resume with --after ${cursor}`);
  }
  throw new Interrupted();
}

interface TargetOptions {
  userId: number | "all" | undefined;
  roomId: number | undefined;
  signal: AbortSignal;
}

/**
 * Finds what to subscribe to, and the zone of its times. This request fails at once if the server refuses it or cannot be
 * reached. A subscription would retry without end.
 */
async function findTarget(
  client: Client,
  { userId, roomId, signal }: TargetOptions,
): Promise<Pick<SubscriptionOptions, "userId" | "roomId"> & { timeZone: string }> {
  if (roomId !== undefined) {
    const init = { params: { path: { roomId } }, signal };
    const { timeZone } = await unwrap(client.GET("/api/v1/bookings/rooms/{roomId}", init));
    return { roomId, timeZone };
  }
  const me = await unwrap(client.GET("/api/v1/me", { signal }));
  return { ...present({ userId: userId ?? (me.role === "admin" ? "all" : undefined) }), timeZone: "UTC" };
}

/** Returns a function that describes each state. Attempts that fail are described once for each reason. */
function stateTexts(): (state: SubscriptionState) => string | undefined {
  const reasons = new Set<string>();
  return ({ status, reason = "" }) => {
    if (status === "live") {
      reasons.clear();
      return "Live.";
    }
    if (status === "connecting") return reasons.size === 0 ? "Connecting." : undefined;
    if (status === "closed" || reasons.has(reason)) return undefined;
    reasons.add(reason);
    return `Not connected: ${plain(reason.replace(/\.$/, ""))}. Trying again until the server answers. Ctrl-C ends.`;
  };
}

type Event = Exclude<SubscriptionEvent, { event: "gap" }>;

/** An event in one line. It begins with the time in UTC, so that events of all rooms line up. */
function eventText(event: Event, timeZone: string): string {
  const [change, subject] = describe(event, timeZone);
  const at = Temporal.Instant.from(event.occurredAt).toString({ smallestUnit: "second" });
  return `${at}  ${change.padEnd(14)}  ${subject}`;
}

function describe(event: Event, timeZone: string): [change: string, subject: string] {
  if (event.event === "timeslot_update") {
    const { timeslotId, change, startTime, endTime } = event.data;
    const span = [startTime, endTime].filter((time) => time !== null).map((time) => localTime(time, timeZone));
    const when = span.length === 0 ? "" : ` ${span.join(" to ")} ${timeZone}`;
    return [change, `${timeslotId === null ? "the room" : `timeslot ${timeslotId}`}${when}`];
  }
  const { booking } = event.data;
  const change = event.event === "booking_reminder" ? "reminder" : event.data.type;
  const { id, userId, room, timeslot } = booking;
  const when = `${localTime(timeslot.startTime, room.timeZone)} ${room.timeZone}`;
  return [change, `booking ${id} of user ${userId}, ${plain(room.name)}, ${when}`];
}
