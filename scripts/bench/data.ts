/** The rooms, timeslots and bookings of a benchmark. */
import connectTo from "postgres";

export const timeslotsPerDay = 16;

export interface DataSet {
  users: number;
  rooms: number;
  /** From tomorrow. Each room has {@link timeslotsPerDay} timeslots of half an hour a day. */
  days: number;
  /** SQL condition over a timeslot `t`, and `n`, its number in its room from 0. Such a timeslot is booked. */
  booked: string;
}

/** The default of `CANCELLATION_TIERS`. */
const cancellationTiers = [{ hours: 24, percent: 100 }, { hours: 12, percent: 50 }];

/**
 * Fills an empty, migrated database. Ids count from 1. Timeslots are in the order of room and start. The users book in turn,
 * in the order of the timeslots. The subject of a user is `user <id>`.
 */
export async function fillData(databaseUrl: string, data: DataSet): Promise<void> {
  const { users, rooms, days, booked } = data;
  const sql = connectTo(databaseUrl, { max: 1, onnotice: () => {} });
  try {
    await sql`insert into users (subject) select 'user ' || id from generate_series(1, ${users}::integer) id order by id`;
    await sql`
      insert into rooms (name, capacity, room_type, hourly_rate, currency, time_zone, auto_confirm, is_active, metadata,
        created_at, updated_at)
      select 'Room ' || id, 8, 'meeting', 60, 'EUR', (array['UTC', 'Europe/Berlin', 'America/New_York'])[1 + id % 3], false,
        true, '{}', now(), now()
      from generate_series(1, ${rooms}::integer) id order by id`;
    await sql`
      insert into timeslots (room_id, starts_at, ends_at)
      select r.id, s.starts_at, s.starts_at + interval '30 minutes'
      from rooms r, generate_series(1, ${days}::integer) day, generate_series(0, ${timeslotsPerDay - 1}::integer) n,
        lateral (
          select date_trunc('day', now()) + day * interval '1 day' + interval '9 hours' + n * interval '30 minutes'
            as starts_at
        ) s
      order by r.id, s.starts_at`;
    await sql`
      insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
        amount_refunded, refund_amount, cancellation_tiers, created_at, updated_at)
      select 1 + k % ${users}::integer, room_id, id, 'confirmed', 30, 'EUR', 'paid', 30, 0, 0,
        ${sql.json(cancellationTiers)}, at, at
      from (
        select id, room_id, row_number() over (order by id) - 1 as k
        from (select *, (id - 1) % ${days * timeslotsPerDay}::integer as n from timeslots) t where ${sql.unsafe(booked)}
      ) slot, lateral (select now() - k * interval '10 seconds' as at) made
      order by k`;
    await sql`vacuum analyze`;
  } finally {
    await sql.end();
  }
}
