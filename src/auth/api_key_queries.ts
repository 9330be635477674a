import { type Kysely, type Selectable, sql } from "kysely";
import type { ApiKeyScope } from "../../generated/contract.ts";
import type { ApiKeys, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { instant } from "../database/instants.ts";
import { follows, type PageRange, preparedPage } from "../database/paging.ts";
import { prepared } from "../database/prepared.ts";

export type ApiKeyRow = Selectable<ApiKeys>;

export interface NewApiKey {
  hash: string;
  prefix: string;
  /** The subject of the key's own user. */
  subject: string;
  name: string;
  scopes: ApiKeyScope[];
  createdBy: number;
  expiresAt: Date | null;
  now: Date;
}

/** Inserts a key and its user. Returns undefined if the subject already has a user, because a key never shares one. */
export function insertApiKey(db: Kysely<Database>, key: NewApiKey): Promise<ApiKeyRow | undefined> {
  const { hash, prefix, subject, name, scopes, createdBy, expiresAt, now } = key;
  return db.with("owner", (cte) =>
    cte.insertInto("users").values({ subject, name, email: null })
      .onConflict((conflict) => conflict.column("subject").doNothing()).returning("id"))
    .insertInto("api_keys")
    .columns(["hash", "name", "prefix", "scopes", "user_id", "created_by", "created_at", "expires_at"])
    .expression((eb) =>
      eb.selectFrom("owner").select([
        sql<string>`${hash}::text`.as("hash"),
        sql<string>`${name}::text`.as("name"),
        sql<string>`${prefix}::text`.as("prefix"),
        sql<string[]>`${scopes}::jsonb`.as("scopes"),
        "owner.id",
        sql<number>`${createdBy}::bigint`.as("created_by"),
        sql<Date>`${now}::timestamptz`.as("created_at"),
        sql<Date | null>`${expiresAt}::timestamptz`.as("expires_at"),
      ])
    )
    .returningAll().executeTakeFirst();
}

/** Returns one page of keys, newest first, and the number on all pages. */
export const listApiKeys = preparedPage((db, range: PageRange) => {
  const keys = db.selectFrom("api_keys");
  return {
    page: keys.selectAll().where((eb) => eb.and(follows(range, { id: sql`id`, direction: "desc" })))
      .orderBy("id", "desc").limit(range.limit).offset(range.offset),
    order: sql`id desc`,
    count: keys.select((eb) => eb.fn.countAll<number>().as("total")),
  };
});

/** Returns the key. Other changes of it wait until the transaction ends. */
export function lockApiKey(db: Kysely<Database>, id: number): Promise<ApiKeyRow | undefined> {
  return db.selectFrom("api_keys").selectAll().where("id", "=", id).forNoKeyUpdate().executeTakeFirst();
}

export function markRevoked(db: Kysely<Database>, id: number, now: Date): Promise<ApiKeyRow> {
  return db.updateTable("api_keys").set({ revoked_at: now }).where("id", "=", id).returningAll()
    .executeTakeFirstOrThrow();
}

/** A key of a request, with its user. */
export type SentKey =
  & Pick<ApiKeyRow, "id" | "scopes" | "expires_at" | "revoked_at" | "user_id">
  & Pick<Selectable<Users>, "subject" | "name" | "email">;

export interface KeyUse {
  hash: string;
  now: Date;
  /** The use is stored only if the last stored one is before this. */
  recordedBefore: Date;
}

/** Finds the key of a request and stores its use. */
export async function useApiKey(db: Kysely<Database>, use: KeyUse): Promise<SentKey | undefined> {
  return (await useApiKeyStatement(db, use))[0];
}

const useApiKeyStatement = prepared((db, { hash, now, recordedBefore }: KeyUse) =>
  // A locked key is skipped, so that no request waits. Another request stores the use, or a revocation is running.
  db.with("due", (cte) =>
    cte.selectFrom("api_keys").select("id").where("hash", "=", hash).where("revoked_at", "is", null)
      .where((eb) => eb.or([eb("expires_at", "is", null), eb("expires_at", ">", instant(now))]))
      .where((eb) => eb.or([eb("last_used_at", "is", null), eb("last_used_at", "<", instant(recordedBefore))]))
      .forNoKeyUpdate().skipLocked())
    .with("used", (cte) =>
      cte.updateTable("api_keys").from("due").whereRef("api_keys.id", "=", "due.id").set({ last_used_at: now })
        .returning("api_keys.id"))
    .selectFrom("api_keys as k").innerJoin("users as u", "u.id", "k.user_id")
    .select(["k.id", "k.scopes", "k.expires_at", "k.revoked_at", "k.user_id", "u.subject", "u.name", "u.email"])
    .where("k.hash", "=", hash)
);

/** Returns the ids of these keys that are not revoked. */
export async function listLiveApiKeys(db: Kysely<Database>, ids: number[]): Promise<number[]> {
  const rows = await listLiveStatement(db, { ids: `{${ids.join(",")}}` });
  return rows.map(({ id }) => id);
}

const listLiveStatement = prepared((db, { ids }: { ids: string }) =>
  db.selectFrom("api_keys").select("id").where(sql<boolean>`id = any(${ids}::text::bigint[])`)
    .where("revoked_at", "is", null)
);
