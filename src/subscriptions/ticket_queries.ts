import type { Insertable, Kysely, Selectable } from "kysely";
import type { ApiKeys, SocketTickets, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";

export async function insertTicket(db: Kysely<Database>, ticket: Insertable<SocketTickets>): Promise<void> {
  await db.insertInto("socket_tickets").values(ticket).execute();
}

/** A ticket, its user, and the API key that it was given to, if it was one. */
export type TakenTicket =
  & Selectable<SocketTickets>
  & Pick<Selectable<Users>, "subject" | "name" | "email">
  & { scopes: Selectable<ApiKeys>["scopes"] | null; key_revoked_at: Date | null };

/** The ticket. It is gone then: of any number who ask at once, one gets it. */
export function takeTicket(db: Kysely<Database>, hash: string): Promise<TakenTicket | undefined> {
  return db.with("taken", (cte) => cte.deleteFrom("socket_tickets").where("hash", "=", hash).returningAll())
    .selectFrom("taken as t").innerJoin("users as u", "u.id", "t.user_id")
    .leftJoin("api_keys as k", "k.id", "t.api_key_id")
    .selectAll("t").select(["u.subject", "u.name", "u.email", "k.scopes", "k.revoked_at as key_revoked_at"])
    .executeTakeFirst();
}

export async function removeTickets(db: Kysely<Database>, before: Date): Promise<void> {
  await db.deleteFrom("socket_tickets").where("expires_at", "<", before).execute();
}
