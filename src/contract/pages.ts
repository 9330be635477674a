/** Pages of lists: by their number, or after a cursor. */
import { z } from "zod";
import type { FoundPage, PageRange } from "../database/paging.ts";
import { invalidFields } from "./problems.ts";

/** The order of a list. Items with the same value are in the order of their ids. */
export type ListOrder = "id" | "name" | "created" | "start";

const time = z.iso.datetime().refine((text) => !text.startsWith("0000"));
/** The values of each order, as a cursor has them. Postgres takes no other text. */
const values = {
  id: z.null(),
  name: z.string().refine((text) => text.isWellFormed() && !text.includes("\0")),
  created: time,
  start: time,
};
const id = z.int().min(1);

export interface PageQuery {
  page: number;
  limit: number;
  after?: string | undefined;
}

/** @throws {Problem} `validation_failed` for a cursor of another list, or a cursor and a number. */
export function pageRange(order: ListOrder, { page, limit, after }: PageQuery): PageRange {
  if (after === undefined) return { limit, offset: (page - 1) * limit };
  if (page !== 1) throw invalidFields([{ in: "query", path: "after", message: "must not be sent with a page" }]);
  const { data } = z.tuple([z.literal(order), values[order], id]).safeParse(decode(after));
  if (data === undefined) {
    throw invalidFields([{ in: "query", path: "after", message: "must be a nextCursor of this list, with this sort" }]);
  }
  const [, afterValue, afterId] = data;
  return { limit, offset: 0, afterValue: afterValue ?? undefined, afterId };
}

export interface PageForm<Row, Item> {
  order: ListOrder;
  toItem: (row: Row) => Item;
  /** The value of a row in this order. Null in the order of ids. */
  valueOf: (row: Row) => string | null;
}

export interface PageBody<Item> {
  items: Item[];
  total: number;
  page: number;
  limit: number;
  nextCursor: string | null;
}

/** The answer with a page of a list. */
export function pageBody<Row extends { id: number }, Item>(
  { rows, total, hasMore }: FoundPage<Row>,
  { page, limit }: PageQuery,
  { order, toItem, valueOf }: PageForm<Row, Item>,
): PageBody<Item> {
  const last = rows.at(-1);
  const nextCursor = hasMore && last !== undefined ? encode([order, valueOf(last), last.id]) : null;
  return { items: rows.map(toItem), total, page, limit, nextCursor };
}

function encode(place: [order: ListOrder, value: string | null, id: number]): string {
  const bytes = new TextEncoder().encode(JSON.stringify(place));
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Returns undefined for a text that was not made by {@link encode}. */
function decode(cursor: string): unknown {
  try {
    const bytes = Uint8Array.fromBase64(cursor, { alphabet: "base64url" });
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}
