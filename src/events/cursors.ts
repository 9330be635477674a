/**
 * Positions in the feed. Its order is (transaction id, id). See `database/migrations/0002_events.ts`.
 *
 * For clients a cursor is one opaque text, `generation.transaction.id`, with numbers in base 36. The generation belongs to
 * the feed, so a cursor of another database is detected.
 */

/** A position after an event. Ids begin at 1, so `{ transactionId, id: 0 }` is before every event of the transaction. */
export interface Position {
  /** Stays below 2^53 for longer than any Postgres runs. */
  transactionId: number;
  id: number;
}

/** The position before every event. */
export const beginning: Position = { transactionId: 0, id: 0 };

/** Returns whether `a` is later in the feed than `b`. */
export function isAfter(a: Position, b: Position): boolean {
  return a.transactionId === b.transactionId ? a.id > b.id : a.transactionId > b.transactionId;
}

/** The cursor of a client, parsed. */
export interface ParsedCursor {
  generation: string;
  position: Position;
}

export function formatCursor(generation: string, { transactionId, id }: Position): string {
  return `${generation}.${transactionId.toString(36)}.${id.toString(36)}`;
}

/** Parses a `Cursor` of the contract. */
export function parseCursor(cursor: string): ParsedCursor | "latest" {
  if (cursor === "latest") return "latest";
  const [generation = "", transactionId = "", id = ""] = cursor.split(".");
  return { generation, position: { transactionId: parseInt(transactionId, 36), id: parseInt(id, 36) } };
}
