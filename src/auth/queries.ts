import { type Kysely, sql } from "kysely";
import type { Database } from "../database/connect.ts";
import { prepared } from "../database/prepared.ts";

/** Returns the user of a subject, created if missing. A token without name or email keeps the stored ones. */
export async function upsertUser(
  db: Kysely<Database>,
  user: TokenUser,
): Promise<Omit<TokenUser, "subject"> & { id: number }> {
  const [row] = await upsertStatement(db, user);
  if (row === undefined) throw new Error("the user was not returned");
  return row;
}

interface TokenUser {
  subject: string;
  name: string | null;
  email: string | null;
}

const upsertStatement = prepared((db, { subject, name, email }: TokenUser) =>
  db.insertInto("users")
    .values({ subject, name, email })
    .onConflict((conflict) =>
      conflict.column("subject").doUpdateSet({
        name: sql`coalesce(excluded.name, users.name)`,
        email: sql`coalesce(excluded.email, users.email)`,
      })
    )
    .returning(["id", "name", "email"])
);
