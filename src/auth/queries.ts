import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";

/** Returns the user of a subject, created if missing. A token without name or email keeps the stored ones. */
export function upsertUser(
  db: Kysely<Database>,
  user: { subject: string; name: string | null; email: string | null },
): Promise<{ id: number; name: string | null; email: string | null }> {
  return db.insertInto("users")
    .values(user)
    .onConflict((conflict) =>
      conflict.column("subject").doUpdateSet({
        name: sql`coalesce(excluded.name, users.name)`,
        email: sql`coalesce(excluded.email, users.email)`,
      })
    )
    .returning(["id", "name", "email"])
    .executeTakeFirstOrThrow();
}
