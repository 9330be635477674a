/**
 * Places in the feed. The order of the feed is that of (transaction id, id); see `database/migrations/0002_events.ts`.
 *
 * To clients a cursor is one opaque text, `generation.transaction.id` with numbers to the base of 36. The generation is the
 * feed's own, so that a cursor of another database is recognised.
 */

/** Between two events. Ids begin at 1, so `{ transactionId, id: 0 }` lies before everything of that transaction. */
export interface Position {
  /** Below 2^53 for longer than any Postgres will live. */
  transactionId: number;
  id: number;
}

/** Before every event. */
export const beginning: Position = { transactionId: 0, id: 0 };

/** Whether `a` lies behind `b`. */
export function isBehind(a: Position, b: Position): boolean {
  return a.transactionId === b.transactionId ? a.id > b.id : a.transactionId > b.transactionId;
}

/** A place as a client gave it. */
export interface GivenCursor {
  generation: string;
  position: Position;
}

export function formatCursor(generation: string, { transactionId, id }: Position): string {
  return `${generation}.${transactionId.toString(36)}.${id.toString(36)}`;
}

/** Reads a `Cursor` of the contract. */
export function parseCursor(cursor: string): GivenCursor | "latest" {
  if (cursor === "latest") return "latest";
  const [generation = "", transactionId = "", id = ""] = cursor.split(".");
  return { generation, position: { transactionId: parseInt(transactionId, 36), id: parseInt(id, 36) } };
}
