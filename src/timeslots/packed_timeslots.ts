/** Timeslots from Postgres as packed integers. It takes less time than JSON on both sides. */
import { type RawBuilder, sql } from "kysely";
import type { Timeslot } from "../../generated/contract.ts";

/** Packs the rows of `t` in their order: id, start and end, 8 bytes each. Null without rows. */
export const packedTimeslots: RawBuilder<string | null> = sql`encode(
  string_agg(int8send(t.id) || timestamptz_send(t.starts_at) || timestamptz_send(t.ends_at), ''), 'hex'
)`;

const timeslotBytes = 24;
/** Postgres sends an instant as microseconds since then. */
const epoch = Date.UTC(2000);

/** Reads {@link packedTimeslots} of a room. */
export function unpackTimeslots(hex: string, roomId: number): Timeslot[] {
  const { buffer } = Uint8Array.fromHex(hex);
  const view = new DataView(buffer);
  const integer = (at: number) => view.getInt32(at) * 2 ** 32 + view.getUint32(at + 4);
  const timeslots: Timeslot[] = [];
  for (let at = 0; at < buffer.byteLength; at += timeslotBytes) {
    const [startTime, endTime] = [textOf(integer(at + 8)), textOf(integer(at + 16))];
    timeslots.push({ id: integer(at), roomId, startTime, endTime });
  }
  return timeslots;
}

/** Most timeslots share their times with those of other rooms, so the latest texts are kept. */
const texts = new Map<number, string>();
const maxTexts = 10_000;

function textOf(microseconds: number): string {
  let text = texts.get(microseconds);
  if (text === undefined) {
    if (texts.size === maxTexts) texts.clear();
    text = new Date(Math.floor(microseconds / 1_000) + epoch).toISOString();
    texts.set(microseconds, text);
  }
  return text;
}
