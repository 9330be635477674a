/** The operations that `bench` and `profile` measure: their requests, and the same statement for pgbench. */
import connectTo, { type Sql } from "postgres";
import { fillData, timeslotsPerDay } from "./data.ts";
import { type Call, connections } from "./load.ts";
import * as statements from "./statements.ts";
import { tokenOf } from "./subscribers.ts";

/** Writes of a load. Each connection sends the same number. */
export const writes = 20 * connections;
const days = 90;
const timeslotsPerRoom = days * timeslotsPerDay;
/**
 * Of {@link period} timeslots in a row the data books {@link bookedOfPeriod}, those whose number times this is small,
 * modulo the period. So free timeslots are spread evenly, and {@link freeTimeslot} and pgbench can compute them.
 */
const bookedOfPeriod = 25;
const period = 36;
/** `bookedOfPeriod * inverse` is 1 modulo the period. */
const inverse = 13;
const freeOfPeriod = period - bookedOfPeriod;
const bookingsPerUser = 19;
const callers = { first: 101, count: 1_400 };
/** Different requests of a read. */
const reads = 500;

/** Sizes of the data set. There are bookings for at least `callers.first + callers.count` users from 29 rooms on. */
function sizesOf(rooms: number) {
  const bookings = rooms * timeslotsPerRoom / period * bookedOfPeriod;
  return { rooms, bookings, users: Math.floor(bookings / bookingsPerUser) };
}

export const operationNames = [
  "listRooms",
  "listFreeTimeslots",
  "listBookings",
  "getBooking",
  "getMe",
  "createBooking",
  "cancelBooking",
] as const;
export type OperationName = typeof operationNames[number];

export function isOperationName(text: string): text is OperationName {
  return operationNames.some((name) => name === text);
}

/** A load that is ready to send. */
export interface Load {
  calls: Call[];
  /** For pgbench. */
  variables: Record<string, number>;
}

export interface Operation {
  name: OperationName;
  /** A write sends each call once. A read may repeat them. */
  isWrite: boolean;
  /**
   * Prepares the data of a write, of `loads` loads together. Each load has other timeslots. Call {@link World.restore} after
   * ten loads at the latest, or users reach the limit of pending bookings.
   */
  prepare(loads?: number): Promise<Load>;
  /** The script for pgbench. Undefined for an operation without a statement. */
  script: string | undefined;
}

export interface World extends AsyncDisposable {
  operations: Operation[];
  /** Users by their tokens. */
  users: [string, { id: number; subject: string }][];
  /** Removes what writes have added, and the space that it took. */
  restore(): Promise<void>;
}

/** Fills an empty, migrated database. `secret` is the AUTH_JWT_SECRET of the server. */
export async function makeWorld(
  databaseUrl: string,
  { rooms, secret }: { rooms: number; secret: string },
): Promise<World> {
  const { bookings, users } = sizesOf(rooms);
  const booked = `n * ${bookedOfPeriod} % ${period} < ${bookedOfPeriod}`;
  await fillData(databaseUrl, { users, rooms, days, booked });
  const sql = connectTo(databaseUrl, { max: 1, connection: { TimeZone: "UTC" }, onnotice: () => {} });
  const tokens = await Promise.all(Array.from({ length: callers.count }, async (_, index) => {
    const id = callers.first + index;
    const subject = `user ${id}`;
    return [await tokenOf({ url: "", secret }, subject), { id, subject }] as const;
  }));
  return {
    operations: [...await readOperations(sql, { rooms, tokens }), ...writeOperations(sql, { rooms, tokens })],
    users: tokens.map(([token, user]) => [token, user]),
    async restore() {
      await sql`delete from bookings where id > ${bookings}`;
      await sql`delete from booking_events`;
      await sql`delete from idempotency_keys`;
      await sql`vacuum bookings, booking_events, idempotency_keys`;
    },
    [Symbol.asyncDispose]: () => sql.end(),
  };
}

interface Setting {
  rooms: number;
  tokens: (readonly [string, { id: number }])[];
}

function callerOf({ tokens }: Setting, number: number): { token: string; userId: number } {
  const [token, { id }] = tokens[number % tokens.length] ?? ["", { id: 0 }];
  return { token, userId: id };
}

/** Returns the text of a statement for pgbench. */
const text = (parts: TemplateStringsArray, ...values: (string | number)[]) =>
  `${String.raw({ raw: parts }, ...values).replaceAll(/\s+/g, " ").trim()};`;

async function readOperations(sql: Sql, setting: Setting): Promise<Operation[]> {
  const { rooms } = setting;
  const { bookings, users } = sizesOf(rooms);
  const [row] = await sql`select min(starts_at)::date::text as day from timeslots`;
  const firstDay = Temporal.PlainDate.from(row?.day);
  const page = { limit: 25, offset: 0 };
  const read = (name: OperationName, call: (number: number) => Omit<Call, "method">, script?: string): Operation => {
    const calls = Array.from({ length: reads }, (_, number) => ({ method: "GET" as const, ...call(number) }));
    return { name, isWrite: false, prepare: () => Promise.resolve({ calls, variables: {} }), script };
  };
  const base = "/api/v1/bookings";
  const user = `\\set user random(${callers.first}, ${callers.first + callers.count - 1})\n`;
  const date = `(date '${firstDay}' + :day::integer)`;
  return [
    read("listRooms", () => ({ path: `${base}/rooms?limit=25` }), statements.listRooms(text, page)),
    read(
      "listFreeTimeslots",
      (number) => {
        const date = firstDay.add({ days: number % days });
        return { path: `${base}/rooms/${1 + number % rooms}/timeslots?date=${date}&duration=30` };
      },
      `\\set room random(1, ${rooms})\n\\set day random(0, ${days - 1})\n` +
        statements.listFreeTimeslots(text, { roomId: ":room", date, duration: 30 }),
    ),
    read(
      "listBookings",
      (number) => ({ path: base, token: callerOf(setting, number).token }),
      user + statements.listBookings(text, { userId: ":user", ...page }),
    ),
    read(
      "getBooking",
      (number) => {
        const { token, userId } = callerOf(setting, number);
        return { path: `${base}/${userId + users * (number % bookingsPerUser)}`, token };
      },
      `\\set id random(1, ${bookings})\n` + statements.getBooking(text, { id: ":id" }),
    ),
    read("getMe", (number) => ({ path: "/api/v1/me", token: callerOf(setting, number).token })),
  ];
}

/** A free timeslot of the data. Each number has another one, and neighbours are in different rooms. */
function freeTimeslot(number: number, rooms: number): { roomId: number; timeslotId: number } {
  const nth = Math.floor(number / rooms);
  const index = Math.floor(nth / freeOfPeriod) * period +
    (bookedOfPeriod + nth % freeOfPeriod) * inverse % period;
  const room = number % rooms;
  return { roomId: room + 1, timeslotId: room * timeslotsPerRoom + index + 1 };
}

function writeOperations(sql: Sql, setting: Setting): Operation[] {
  const { rooms } = setting;
  const free = rooms * timeslotsPerRoom / period * freeOfPeriod;
  let next = 0;
  /** The next free timeslots, for callers in turn. */
  const nextWishes = (loads: number) => {
    const count = loads * writes;
    const first = next + count > free ? 0 : next;
    next = first + count;
    const wishes = Array.from({ length: count }, (_, number) => ({
      ...freeTimeslot(first + number, rooms),
      ...callerOf(setting, first + number),
    }));
    return { wishes, variables: { first, n: -1, each: count / connections } };
  };
  // `m` is the number of the write, as `nextWishes` counts them. `n` and `client_id` count from 0.
  const number = "\\set n :n + 1\n\\set m :first + :client_id * :each + :n\n" +
    `\\set user ${callers.first} + :m % ${callers.count}\n`;
  return [
    {
      name: "createBooking",
      isWrite: true,
      prepare(loads = 1) {
        const { wishes, variables } = nextWishes(loads);
        const calls = wishes.map(({ token, roomId, timeslotId }) => ({
          method: "POST" as const,
          path: "/api/v1/bookings",
          token,
          body: { roomId, timeslotId },
        }));
        return Promise.resolve({ calls, variables });
      },
      script: `${number}\\set room :m % ${rooms}\n\\set nth :m / ${rooms}\n` +
        `\\set index :nth / ${freeOfPeriod} * ${period} + ` +
        `(${bookedOfPeriod} + :nth % ${freeOfPeriod}) * ${inverse} % ${period}\n` +
        `\\set timeslot :room * ${timeslotsPerRoom} + :index + 1\n\\set room :room + 1\n` +
        statements.createBooking(text, { userId: ":user", roomId: ":room", timeslotId: ":timeslot" }),
    },
    {
      name: "cancelBooking",
      isWrite: true,
      async prepare(loads = 1) {
        const { wishes, variables } = nextWishes(loads);
        const firstId = await insertBookings(sql, wishes);
        const calls = wishes.map(({ token }, index) => ({
          method: "PUT" as const,
          path: `/api/v1/bookings/${firstId + index}/cancel`,
          token,
        }));
        return { calls, variables: { ...variables, first_id: firstId - variables.first } };
      },
      script: `${number}\\set id :first_id + :m\n` +
        statements.cancelBooking(text, { id: ":id", userId: ":user" }),
    },
  ];
}

/** Inserts bookings as createBooking makes them. Returns the id of the first; the others follow. */
async function insertBookings(sql: Sql, wishes: { userId: number; timeslotId: number }[]): Promise<number> {
  const rows = await sql`
    insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
      amount_refunded, refund_amount, cancellation_tiers, created_at, updated_at)
    select wish.user_id, t.room_id, t.id, 'pending', 30, 'EUR', 'unpaid', 0, 0, 0,
      (select cancellation_tiers from bookings limit 1), now(), now()
    from unnest(${wishes.map(({ userId }) => userId)}::bigint[], ${
    wishes.map(({ timeslotId }) => timeslotId)
  }::bigint[])
        with ordinality as wish(user_id, timeslot_id, number)
      join timeslots t on t.id = wish.timeslot_id
    order by wish.number
    returning id::integer`;
  return rows[0]?.id;
}
