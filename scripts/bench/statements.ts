/**
 * The SQL of the bare server, as a good engineer writes it without this program. `pgbench` runs the same statements.
 *
 * Each function passes its statement to a tag: `sql` of postgres.js, or one that returns the text.
 */
type Value = string | number;
type Tag<Result> = (parts: TemplateStringsArray, ...values: Value[]) => Result;

export function listRooms<Result>(sql: Tag<Result>, { limit, offset }: { limit: Value; offset: Value }): Result {
  return sql`
    select *, (select count(*) from rooms where is_active) as total
    from rooms where is_active order by name, id limit ${limit} offset ${offset}`;
}

export function listFreeTimeslots<Result>(
  sql: Tag<Result>,
  { roomId, date, duration }: { roomId: Value; date: Value; duration: Value },
): Result {
  return sql`
    select r.*, (
      select coalesce(json_agg(json_build_object('id', t.id, 'starts_at', t.starts_at, 'ends_at', t.ends_at)
        order by t.starts_at), '[]')
      from timeslots t
      where t.room_id = r.id and r.is_active and t.starts_at > now()
        and t.starts_at >= ${date}::text::date::timestamp at time zone r.time_zone
        and t.starts_at < (${date}::text::date + 1)::timestamp at time zone r.time_zone
        and t.ends_at - t.starts_at >= make_interval(mins => ${duration}::integer)
        and not exists (select from bookings b where b.timeslot_id = t.id and b.status <> 'cancelled')
    ) as timeslots
    from rooms r where r.id = ${roomId}`;
}

export function listBookings<Result>(
  sql: Tag<Result>,
  { userId, limit, offset }: { userId: Value; limit: Value; offset: Value },
): Result {
  return sql`
    select b.*, r.name as room_name, r.room_type, r.time_zone, t.starts_at, t.ends_at,
      (select count(*) from bookings where user_id = ${userId}) as total
    from bookings b join rooms r on r.id = b.room_id join timeslots t on t.id = b.timeslot_id
    where b.user_id = ${userId} order by b.created_at desc, b.id desc limit ${limit} offset ${offset}`;
}

export function getBooking<Result>(sql: Tag<Result>, { id }: { id: Value }): Result {
  return sql`
    select b.*, r.name as room_name, r.room_type, r.time_zone, t.starts_at, t.ends_at
    from bookings b join rooms r on r.id = b.room_id join timeslots t on t.id = b.timeslot_id
    where b.id = ${id}`;
}

export function createBooking<Result>(
  sql: Tag<Result>,
  { userId, roomId, timeslotId }: { userId: Value; roomId: Value; timeslotId: Value },
): Result {
  return sql`
    with b as (
      insert into bookings (user_id, room_id, timeslot_id, status, price, currency, payment_status, amount_paid,
        amount_refunded, cancellation_tiers, created_at, updated_at)
      select ${userId}::bigint, t.room_id, t.id, 'pending',
        round(r.hourly_rate * extract(epoch from t.ends_at - t.starts_at) / 3600, 2), r.currency, 'unpaid', 0,
        0, '[{"hours": 24, "percent": 100}, {"hours": 12, "percent": 50}]', now(), now()
      from timeslots t join rooms r on r.id = t.room_id
      where t.id = ${timeslotId} and t.room_id = ${roomId} and r.is_active and t.starts_at > now()
        and not exists (select from bookings o where o.timeslot_id = t.id and o.status <> 'cancelled')
      returning *
    )
    select b.*, r.name as room_name, r.room_type, r.time_zone, t.starts_at, t.ends_at
    from b join rooms r on r.id = b.room_id join timeslots t on t.id = b.timeslot_id`;
}

export function cancelBooking<Result>(sql: Tag<Result>, { id, userId }: { id: Value; userId: Value }): Result {
  return sql`
    with due as (
      select b.id, round(b.amount_paid * coalesce((
        select tier.percent from jsonb_to_recordset(b.cancellation_tiers) as tier(hours numeric, percent numeric)
        where extract(epoch from t.starts_at - now()) >= tier.hours * 3600 order by tier.hours desc limit 1
      ), 0) / 100, 2) as refund
      from bookings b join timeslots t on t.id = b.timeslot_id
      where b.id = ${id} and b.user_id = ${userId} and b.status in ('pending', 'confirmed') and t.starts_at > now()
    ), b as (
      update bookings b set status = 'cancelled', cancellation_reason = 'user_request', cancelled_at = now(),
        updated_at = now(), hold_expires_at = null, refund_amount = due.refund, amount_refunded = due.refund,
        payment_status = case when due.refund = 0 then b.payment_status
          when due.refund < b.amount_paid then 'partially_refunded' else 'refunded' end
      from due where b.id = due.id
      returning b.*, due.refund
    )
    select b.*, r.name as room_name, r.room_type, r.time_zone, t.starts_at, t.ends_at
    from b join rooms r on r.id = b.room_id join timeslots t on t.id = b.timeslot_id`;
}
