/**
 * The rooms, timeslots, bookings and keys that the requests of the reference name in the sandbox. Requests use some of
 * them up, so each load of the reference adds what is missing.
 */
import { decodeJwt } from "jose";
import { sql } from "kysely";
import { createApiKey } from "../auth/api_keys.ts";
import { upsertUser } from "../auth/queries.ts";
import { instant } from "../database/instants.ts";
import { describeFailure } from "../log.ts";
import { isFree } from "../timeslots/taken.ts";
import { addDemoTimeslots } from "./demo.ts";
import { leastRefund, noAudit, TrialBookings, type TrialRules } from "./trial_bookings.ts";

/** The users of the tokens in the reference. */
interface TrialSubjects {
  user: string;
  admin: string;
}

/** Values of a request's parameters and of fields of its body, by operation. */
type TrialValues = Record<string, { parameters?: Record<string, unknown>; body?: Record<string, unknown> }>;

/** Milliseconds by which the reference moves the clock. It is shorter than the hold of a new booking. */
const clockStepMs = 600_000;

/** No key of a reader has this name. */
const keyName = "Example of the reference";

/** Timeslots that one load of the reference may need of a room. */
const slotsPerRoom = 8;

/** Returns a function that prepares once for all readers who load the reference at the same time. */
export function trialFor(rules: TrialRules, tokens: { user: string; admin: string }): () => Promise<TrialValues> {
  const subjects = { user: decodeJwt(tokens.user).sub ?? "", admin: decodeJwt(tokens.admin).sub ?? "" };
  let running: Promise<TrialValues> | undefined;
  return () => running ??= prepareTrial(rules, subjects).finally(() => running = undefined);
}

/**
 * Returns values with which each request of the reference succeeds now. The reference also works without them, so a
 * failure is logged and leaves the examples of the contract.
 */
async function prepareTrial(rules: TrialRules, subjects: TrialSubjects): Promise<TrialValues> {
  const clock = { now: new Date(rules.clock.now().getTime() + clockStepMs).toISOString() };
  try {
    return { ...await prepare(rules, subjects), setSandboxClock: { body: clock } };
  } catch (failure) {
    rules.log.warn("the reference has no example bookings", { failure: describeFailure(failure) });
    return { setSandboxClock: { body: clock } };
  }
}

async function prepare(rules: TrialRules, subjects: TrialSubjects): Promise<TrialValues> {
  const { db } = rules;
  await addDemoTimeslots(rules);
  const demo = await db.selectFrom("rooms").select(["id", "hourly_rate", "auto_confirm", "is_active"])
    .where(sql<boolean>`metadata @> '{"demo": true}'`).orderBy("id").execute();
  const active = demo.filter(({ is_active }) => is_active);
  const priced = active.find(({ hourly_rate }) => Number(hourly_rate) > 0);
  const free = active.find(({ hourly_rate, auto_confirm }) => hourly_rate === null && auto_confirm);
  const spare = demo.findLast(({ id }) => id !== priced?.id && id !== free?.id);
  if (priced === undefined || free === undefined) return {};

  const [user, guest, admin] = await Promise.all(
    [
      { subject: subjects.user, name: null },
      { subject: "demo-guest", name: "Demo Guest" },
      { subject: subjects.admin, name: null },
    ].map((known) => upsertUser(db, { ...known, email: null })),
  );
  if (user === undefined || guest === undefined || admin === undefined) return {};
  const [pricedSlots, freeSlots] = await Promise.all([priced, free].map(({ id }) => listFreeSlots(rules, id)));
  if (pricedSlots === undefined || freeSlots === undefined) return {};

  const bookings = await TrialBookings.load(rules, { userId: user.id, guestId: guest.id });
  const pending = await bookings.pending(user.id, pricedSlots);
  const requested = await bookings.pending(guest.id, pricedSlots);
  const [cancelled, moved] = await bookings.confirmed(user.id, { count: 2, slots: freeSlots });
  const refundable = await bookings.refundable(guest.id, pricedSlots);
  const [retried, settled] = await bookings.withFailedRefund(guest.id, { count: 2, slots: pricedSlots });
  const room = { roomId: priced.id };
  return {
    getRoom: { parameters: room },
    listTimeslots: { parameters: room },
    listFreeTimeslots: { parameters: room },
    createBooking: { body: { ...room, timeslotId: pricedSlots.shift() } },
    getBooking: { parameters: { bookingId: pending } },
    createCheckout: { parameters: { bookingId: pending } },
    cancelBooking: { parameters: { bookingId: cancelled } },
    getCancellation: { parameters: { bookingId: moved } },
    rescheduleBooking: { parameters: { bookingId: moved }, body: { newTimeslotId: freeSlots.shift() } },
    receivePaymentEvent: { parameters: { provider: rules.payments?.name } },
    updateRoom: { parameters: room },
    deleteRoom: { parameters: { roomId: spare?.id ?? priced.id } },
    generateTimeslots: { body: room },
    deleteTimeslot: { parameters: { timeslotId: pricedSlots.pop() } },
    updateBookingStatus: { parameters: { bookingId: requested } },
    refundBooking: { parameters: { bookingId: refundable }, body: { amount: leastRefund } },
    retryRefund: { parameters: { bookingId: retried } },
    settleRefund: { parameters: { bookingId: settled } },
    revokeApiKey: { parameters: { apiKeyId: await findOrCreateKey(rules, admin.id) } },
  };
}

/** Free timeslots from tomorrow on. Cancellations of them are refunded in full. */
async function listFreeSlots({ db, clock }: TrialRules, roomId: number): Promise<number[]> {
  const tomorrow = new Date(clock.now().getTime() + 25 * 3_600_000);
  const rows = await db.selectFrom("timeslots as t").select("t.id")
    .where("t.room_id", "=", roomId)
    .where("t.starts_at", ">", instant(tomorrow))
    .where(isFree("t"))
    .orderBy("t.starts_at").limit(slotsPerRoom).execute();
  return rows.map(({ id }) => id);
}

async function findOrCreateKey({ db }: TrialRules, userId: number): Promise<number> {
  const live = await db.selectFrom("api_keys").select("id")
    .where("name", "=", keyName).where("revoked_at", "is", null)
    .orderBy("id", "desc").limit(1).executeTakeFirst();
  if (live !== undefined) return live.id;
  const caller = {
    userId,
    subject: "",
    role: "admin",
    name: null,
    email: null,
    expiresAt: 0,
    apiKey: undefined,
  } as const;
  const { apiKey } = await createApiKey({ db, audit: noAudit }, caller, {
    name: keyName,
    scopes: ["bookings:read"],
    expiresAt: null,
  });
  return apiKey.id;
}
