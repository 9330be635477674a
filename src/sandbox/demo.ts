/** Demo rooms and timeslots for a new sandbox. */
import { type Kysely, sql, type Transaction } from "kysely";
import type { CreateRoom } from "../../generated/contract.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { addRoom, type RoomOptions } from "../rooms/rooms.ts";
import type { Clock } from "../time/clock.ts";
import { isFree } from "../timeslots/taken.ts";
import { addTimeslots } from "../timeslots/timeslots.ts";

/** Days ahead with timeslots. */
const demoDays = 14;
/** Key of an advisory lock, used for nothing else. If servers start together, one at a time fills in the demo. */
const demoLock = 5_072_011;

const rooms: (Pick<CreateRoom, "name" | "description" | "roomType" | "capacity" | "hourlyRate" | "timeZone"> & {
  autoConfirm: boolean;
})[] = [
  {
    name: "Spree",
    description: "Meeting room for eight by the river, with a screen.",
    roomType: "meeting",
    capacity: 8,
    hourlyRate: 45,
    timeZone: "Europe/Berlin",
    autoConfirm: false,
  },
  {
    name: "Havel",
    description: "Quiet desk for one. Free of charge and confirmed at once.",
    roomType: "office",
    capacity: 1,
    hourlyRate: null,
    timeZone: "Europe/Berlin",
    autoConfirm: true,
  },
  {
    name: "Hudson",
    description: "Consultation room for three.",
    roomType: "consultation",
    capacity: 3,
    hourlyRate: 80,
    timeZone: "America/New_York",
    autoConfirm: false,
  },
  {
    name: "Yarra",
    description: "Treatment room.",
    roomType: "treatment",
    capacity: 2,
    hourlyRate: 62.5,
    timeZone: "Australia/Melbourne",
    autoConfirm: false,
  },
];

/**
 * Creates the demo rooms if the database is empty. Then adds timeslots for the next {@link demoDays} days to all demo rooms.
 * A demo room has `demo: true` in its metadata. Other rooms are never changed.
 */
export async function fillInDemo({ db, clock, config }: RoomOptions & { db: Kysely<Database> }): Promise<void> {
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${demoLock})`.execute(trx);
    if (await isEmptyDatabase(trx)) {
      for (const room of rooms) {
        const defaults = { isActive: true, metadata: { demo: true } };
        await addRoom({ db: trx, clock, config }, { ...defaults, ...room });
      }
    }
    await extendDemo(trx, clock.now());
  });
}

/** Adds the timeslots of the next {@link demoDays} days to the demo rooms, unless they have them. */
export async function addDemoTimeslots({ db, clock }: { db: Kysely<Database>; clock: Clock }): Promise<void> {
  const now = clock.now();
  const last = instant(new Date(now.getTime() + (demoDays - 1) * 24 * 3_600_000));
  const missing = await db.selectFrom("rooms as r").select("r.id")
    .where("r.is_active", "=", true)
    .where(sql<boolean>`r.metadata @> '{"demo": true}'`)
    .where(sql<boolean>`not exists (select from timeslots where room_id = r.id and starts_at > ${last})`)
    .limit(1).executeTakeFirst();
  if (missing === undefined) return;
  await db.transaction().execute(async (trx) => {
    await sql`select pg_advisory_xact_lock(${demoLock})`.execute(trx);
    await extendDemo(trx, now);
  });
}

async function extendDemo(trx: Transaction<Database>, now: Date): Promise<void> {
  const demoRooms = await trx.selectFrom("rooms").select(["id", "time_zone"])
    .where(sql<boolean>`metadata @> '{"demo": true}'`).orderBy("id").execute();
  for (const { id, time_zone } of demoRooms) {
    const today = now.toTemporalInstant().toZonedDateTimeISO(time_zone).toPlainDate();
    await addTimeslots(trx, {
      roomId: id,
      startDate: today.toString(),
      endDate: today.add({ days: demoDays }).toString(),
      slotDuration: 60,
      breaks: [{ start: "12:00", end: "13:00" }],
      daysOfWeek: [1, 2, 3, 4, 5, 6, 7],
      excludedDates: [],
    }, { now });
  }
}

async function isEmptyDatabase(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ empty: boolean }>`
    select not exists (select from rooms) and not exists (select from users) as empty
  `.execute(db);
  return rows[0]?.empty ?? false;
}

/** Returns an available timeslot more than 24 hours ahead, for the example at the start. Undefined if there is none. */
export function findFreeTimeslot(db: Kysely<Database>, now: Date): Promise<{ id: number; roomId: number } | undefined> {
  return db.selectFrom("timeslots as t").innerJoin("rooms as r", "r.id", "t.room_id")
    .select(["t.id", "t.room_id as roomId"])
    .where("r.is_active", "=", true)
    .where("t.starts_at", ">", instant(new Date(now.getTime() + 24 * 3_600_000)))
    .where(isFree("t"))
    .orderBy("t.id").limit(1).executeTakeFirst();
}
