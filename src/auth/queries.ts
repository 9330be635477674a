import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";

/** The user of this subject, made on first sight. A token without name or email leaves what is known. */
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
