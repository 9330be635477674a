import type { Insertable, Kysely, Selectable } from "kysely";
import type { ApiKeys, SocketTickets, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { isAmongEarliest } from "../database/sweep.ts";

export async function insertTicket(db: Kysely<Database>, ticket: Insertable<SocketTickets>): Promise<void> {
  await db.insertInto("socket_tickets").values(ticket).execute();
}

/** A ticket with its user, and with the API key that requested it, if any. */
export type DeletedTicket =
  & Selectable<SocketTickets>
  & Pick<Selectable<Users>, "subject" | "name" | "email">
  & { scopes: Selectable<ApiKeys>["scopes"] | null; key_revoked_at: string | null };

/** Deletes and returns a ticket. Only one of several simultaneous callers gets it. */
export function deleteTicket(db: Kysely<Database>, hash: string): Promise<DeletedTicket | undefined> {
  return db.with("deleted", (cte) => cte.deleteFrom("socket_tickets").where("hash", "=", hash).returningAll())
    .selectFrom("deleted as t").innerJoin("users as u", "u.id", "t.user_id")
    .leftJoin("api_keys as k", "k.id", "t.api_key_id")
    .selectAll("t").select(["u.subject", "u.name", "u.email", "k.scopes", "k.revoked_at as key_revoked_at"])
    .executeTakeFirst();
}

/** Removes up to `limit` tickets that have expired, and returns their number. */
export async function removeTickets(
  db: Kysely<Database>,
  due: { before: Date; limit: number },
): Promise<number> {
  const { numDeletedRows } = await db.deleteFrom("socket_tickets").where(
    isAmongEarliest("socket_tickets", "expires_at", due),
  )
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
}
