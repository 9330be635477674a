/** SQL about the cancellation tiers of a booking `b`. */
import { type RawBuilder, sql } from "kysely";

/** The tiers of a booking, each with at most the percentage that its moves have left. A relation of `hours`, `percent`. */
// `least` ignores null.
const tiers = sql`(
  select tier.hours, least(tier.percent, b.max_refund_percent) as percent
  from jsonb_to_recordset(b.cancellation_tiers) as tier(hours numeric, percent numeric)
)`;

/**
 * The first tier whose hours still lie ahead, in elapsed hours. A relation with `hours` and `percent`, empty when no tier
 * applies.
 */
export function currentTier(startsAt: RawBuilder<unknown>, now: Date): RawBuilder<unknown> {
  return sql`(
    select tier.hours, tier.percent from ${tiers} tier
    where extract(epoch from ${startsAt} - ${now}::timestamptz) >= tier.hours * 3600
    order by tier.hours desc limit 1
  )`;
}

/** The percentage that a cancellation refunds now; no tier means 0. */
export function currentPercent(startsAt: RawBuilder<unknown>, now: Date): RawBuilder<string> {
  return sql<string>`coalesce((select tier.percent from ${currentTier(startsAt, now)} tier), 0)`;
}

/** The new `max_refund_percent` of a booking that moves now. It stays if no later tier can refund more than this one. */
export function percentAfterMove(startsAt: RawBuilder<unknown>, now: Date): RawBuilder<string | null> {
  return sql<string | null>`(
    select case when current.percent < (select max(tier.percent) from ${tiers} tier)
      then current.percent else b.max_refund_percent end
    from (select ${currentPercent(startsAt, now)} as percent) current
  )`;
}

/**
 * The first change of the refund after `tier`, the {@link currentTier}. A relation with `hours`, at which it changes, and
 * `percent` after it. Adjacent tiers may have the same percentage.
 */
export const nextChange = sql`(
  select
    (select min(same.hours) from ${tiers} same where same.hours > coalesce(next.hours, -1)) as hours,
    coalesce(next.percent, 0) as percent
  from (values (true)) one(row) left join lateral (
    select other.hours, other.percent from ${tiers} other
    where other.hours < tier.hours and other.percent <> tier.percent order by other.hours desc limit 1
  ) next on true
  where coalesce(next.percent, 0) <> tier.percent
)`;
