/**
 * The recipients of events. fast-check generates actions of people. A model of a few lines computes the recipients from the
 * answers of the API. A failure prints the seed and the shortest story.
 */
import fc from "fast-check";
import assert from "node:assert/strict";
import type { Booking, ClientFrame, FeedEvent, Timeslot, TimeslotChange } from "../../generated/contract.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { runs } from "../support/properties.ts";
import { sharedServer, type TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

const people = ["alice", "bob", "carol", "dave", "admin"];
const who = fc.nat(people.length - 1);
const roomCount = 2;
const slotsARoom = 4;

/** Bookings of a user or of all, or timeslots of a room. The numbers are indexes of people and rooms. */
type Channel = { of: "user"; user: number } | { of: "all" } | { of: "room"; room: number };
type Step =
  | { does: "join" | "leave"; who: number; channel: Channel }
  | { does: "book"; who: number; slot: number }
  | { does: "cancel" | "confirm" | "move"; who: number; booking: number; slot: number; byRight: boolean };

const channel: fc.Arbitrary<Channel> = fc.oneof(
  fc.record({ of: fc.constant("user"), user: who }),
  fc.record({ of: fc.constant("all") }),
  fc.record({ of: fc.constant("room"), room: fc.nat(roomCount - 1) }),
);
const own = who.map((user): Step => ({ does: "join", who: user, channel: { of: "user", user } }));
const slot = fc.nat(roomCount * slotsARoom - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  own,
  fc.record({ does: fc.constantFrom("join", "leave"), who, channel }),
  fc.record({ does: fc.constant("book"), who, slot }),
  fc.record({
    does: fc.constantFrom("cancel", "confirm", "move"),
    who,
    booking: fc.nat(20),
    slot,
    byRight: fc.boolean(),
  }),
);

/** A story with many events: all people join, and each booking is cancelled. */
const eventful: Step[] = [
  ...people.flatMap((name, user): Step[] => [
    { does: "join", who: user, channel: name === "admin" ? { of: "all" } : { of: "user", user } },
    ...Array.from(
      { length: roomCount },
      (_, room): Step => ({ does: "join", who: user, channel: { of: "room", room } }),
    ),
  ]),
  ...Array.from(
    { length: roomCount * slotsARoom },
    (_, slot): Step => ({ does: "book", who: slot % people.length, slot }),
  ),
  ...Array.from(
    { length: roomCount * slotsARoom },
    (_, booking): Step => ({ does: "cancel", who: 0, booking, slot: 0, byRight: true }),
  ),
];

type EventData = FeedEvent["data"];

/** A person with a socket. */
interface Listener {
  name: string;
  isAdmin: boolean;
  id: number;
  token: string;
  socket: TestSocket;
  /** Joined channels of the model: `user 7`, `room 1`, `all`. */
  joined: Set<string>;
  due: EventData[];
}

const secretOf = (name: string) => `the secret of ${name}`;

class Story {
  private readonly bookings: Booking[] = [];
  private eventCount = 0;

  constructor(
    private readonly server: TestServer,
    private readonly listeners: Listener[],
    private readonly witness: TestSocket,
    private readonly slots: Timeslot[],
  ) {}

  async play(step: Step): Promise<void> {
    const listener = at(this.listeners, step.who);
    if ("channel" in step) await this.enter(listener, step.does, step.channel);
    else if ("booking" in step) await this.change(listener, step);
    else await this.book(listener, at(this.slots, step.slot));
  }

  /** Joins or leaves, and waits for the answer. */
  private async enter(listener: Listener, verb: "join" | "leave", channel: Channel): Promise<void> {
    const { socket, joined, isAdmin, id } = listener;
    const answers = () => socket.frames.filter((frame) => !("occurredAt" in frame));
    const before = answers().length;
    const userId = channel.of === "user" ? at(this.listeners, channel.user).id : "all";
    const roomId = channel.of === "room" ? at(this.slots, channel.room * slotsARoom).roomId : 0;
    const frame: ClientFrame = channel.of === "room"
      ? { action: `${verb}_room`, roomId }
      : { action: `${verb}_booking_room`, userId };
    socket.send(frame);
    await socket.until(() => answers().length > before);
    const answer = answers()[before];
    const isAllowed = isAdmin || channel.of === "room" || userId === id || verb === "leave";
    assert.equal(answer?.event, !isAllowed ? "error" : verb === "join" ? "joined" : "left");
    const key = channel.of === "room" ? `room ${roomId}` : userId === "all" ? "all" : `user ${userId}`;
    if (verb === "leave") joined.delete(key);
    else if (isAllowed) joined.add(key);
  }

  private async book({ name, token }: Listener, slot: Timeslot): Promise<void> {
    const body = { roomId: slot.roomId, timeslotId: slot.id, notes: secretOf(name) };
    if (this.bookings.some(({ timeslotId, status }) => timeslotId === slot.id && status !== "cancelled")) {
      await this.server.refused("timeslot_unavailable", "createBooking", { token, body });
      return;
    }
    const { booking } = await this.server.ok("createBooking", { token, body });
    this.bookings.push(booking);
    await this.record([{ type: "created", booking }, toChange(booking.timeslot, "taken")]);
  }

  /** With `byRight` a person with the right does it. A refused change is no event. */
  private async change(listener: Listener, step: Extract<Step, { booking: number }>): Promise<void> {
    const index = step.booking % Math.max(1, this.bookings.length);
    const old = this.bookings[index];
    if (old === undefined) return;
    const owner = this.listeners.find(({ id }) => id === old.userId);
    const entitled = step.does === "confirm" ? this.listeners.find(({ isAdmin }) => isAdmin) : owner;
    assert(owner && entitled);
    const { id, token, isAdmin } = step.byRight ? entitled : listener;
    const params = { bookingId: old.id };
    const target = at(this.slots, step.slot);
    const answer = step.does === "confirm"
      ? await this.server.call("updateBookingStatus", { token, params, body: { status: "confirmed" } })
      : step.does === "cancel"
      ? await this.server.call("cancelBooking", { token, params })
      : await this.server.call("rescheduleBooking", { token, params, body: { newTimeslotId: target.id } });
    if (answer.status >= 400) return;
    assert(step.does === "confirm" ? isAdmin : old.userId === id);
    const booking = await this.server.ok("getBooking", { token: owner.token, params });
    this.bookings[index] = booking;
    const freed = toChange(old.timeslot, "freed");
    if (step.does === "confirm") await this.record([{ type: "confirmed", booking }]);
    else if (step.does === "cancel") {
      // A payment outside of the providers counts as refunded at once.
      const refunded = booking.amountRefunded > 0 ? [{ type: "refunded" as const, booking }] : [];
      await this.record([{ type: "cancelled", booking }, ...refunded, freed]);
    } else await this.record([{ type: "rescheduled", booking }, freed, toChange(booking.timeslot, "taken")]);
  }

  /** Adds the events to `due` of their recipients, and waits until the witness has them. The witness gets all events. */
  private async record(events: EventData[]): Promise<void> {
    this.eventCount += events.length;
    for (const { joined, due } of this.listeners) {
      for (const each of events) {
        const keys = "booking" in each ? ["all", `user ${each.booking.userId}`] : [`room ${each.roomId}`];
        if (keys.some((key) => joined.has(key))) due.push(each);
      }
    }
    await this.witness.until(() => this.witness.events().length >= this.eventCount);
    assert.deepEqual(this.witness.events().slice(-events.length).map(({ data }) => data), events);
  }
}

function toChange({ id, roomId, startTime, endTime }: Timeslot, change: "taken" | "freed"): TimeslotChange {
  return { roomId, timeslotId: id, isAvailable: change === "freed", change, startTime, endTime };
}

function at<T>(list: readonly T[], index: number): T {
  const found = list[index];
  if (found === undefined) throw new Error(`there is no ${index}`);
  return found;
}

function assertPrivate({ socket, isAdmin, id, name }: Listener): void {
  for (const frame of socket.events()) {
    const text = JSON.stringify(frame);
    if (frame.event === "timeslot_update") {
      assert.deepEqual(Object.keys(frame).toSorted(), ["cursor", "data", "event", "occurredAt"]);
      const keys = ["change", "endTime", "isAvailable", "roomId", "startTime", "timeslotId"];
      assert.deepEqual(Object.keys(frame.data).toSorted(), keys);
      assert(!/user|booking|notes|secret/i.test(text), text);
    } else if (!isAdmin) {
      assert.equal(frame.data.booking.userId, id);
      for (const other of people) assert(other === name || !text.includes(secretOf(other)), text);
    }
  }
}

Deno.test("subscribe: any actions of people -> each socket gets exactly the events it joined and may see", async () => {
  await using server = await sharedServer();
  const admin = await server.token("admin", "admin");
  let eventCount = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 120, size: "max" }), async (steps) => {
      await using sockets = new AsyncDisposableStack();
      const slots: Timeslot[] = [];
      for (let room = 0; room < roomCount; room++) {
        const made = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
        slots.push(...made.slice(0, slotsARoom));
      }
      await server.settled();
      const witness = sockets.use(await openSocket(server, { token: admin }));
      witness.send({ action: "join_booking_room", userId: "all" });
      await witness.expect("joined");
      for (const roomId of new Set(slots.map((each) => each.roomId))) {
        witness.send({ action: "join_room", roomId });
        await witness.expect("joined");
      }
      const listeners = await Promise.all(people.map(async (name): Promise<Listener> => {
        const isAdmin = name === "admin";
        const token = await server.token(name, isAdmin ? "admin" : "user");
        const { id } = await server.ok("getMe", { token });
        const socket = sockets.use(await openSocket(server, { token }));
        return { name, isAdmin, id, token, socket, joined: new Set(), due: [] };
      }));
      const story = new Story(server, listeners, witness, slots);
      for (const step of steps) await story.play(step);
      for (const listener of listeners) {
        const { socket, due } = listener;
        await socket.settled();
        assert.deepEqual(socket.events().map(({ data }) => data), due);
        assertPrivate(listener);
        eventCount += due.length;
      }
    }),
    // A missing event is waited for until the limit, in each run that shrinks the story.
    { numRuns: runs(2, 13), interruptAfterTimeLimit: 60_000, examples: [[eventful]] },
  );
  assert(eventCount > 100, `only ${eventCount} events`);
});
