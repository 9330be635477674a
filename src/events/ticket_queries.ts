import type { Insertable, Kysely, Selectable } from "kysely";
import type { SocketTickets, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";

export async function insertTicket(db: Kysely<Database>, ticket: Insertable<SocketTickets>): Promise<void> {
  await db.insertInto("socket_tickets").values(ticket).execute();
}

/** The ticket and its user. It is gone then: of any number who ask at once, one gets it. */
export function takeTicket(
  db: Kysely<Database>,
  hash: string,
): Promise<Selectable<SocketTickets> & Pick<Selectable<Users>, "subject" | "name" | "email"> | undefined> {
  return db.deleteFrom("socket_tickets as s").using("users as u").whereRef("u.id", "=", "s.user_id")
    .where("s.hash", "=", hash)
    .returningAll("s").returning(["u.subject", "u.name", "u.email"])
    .executeTakeFirst();
}

export async function removeTickets(db: Kysely<Database>, before: Date): Promise<void> {
  await db.deleteFrom("socket_tickets").where("expires_at", "<", before).execute();
}
