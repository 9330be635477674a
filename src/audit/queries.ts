import type { Expression, ExpressionBuilder, Insertable, Kysely, Selectable, SqlBool } from "kysely";
import type { AuditResource } from "../../generated/contract.ts";
import type { AuditLog, DB, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { totalFromPage } from "../database/paging.ts";
import { endsOf, instantSql, type Range } from "../time/ranges.ts";

export type AuditRow = Selectable<AuditLog> & Pick<Selectable<Users>, "subject" | "name">;

export async function insertAuditEntry(db: Kysely<Database>, entry: Insertable<AuditLog>): Promise<void> {
  await db.insertInto("audit_log").values(entry).execute();
}

export interface AuditFilter {
  userId: number | undefined;
  operation: string | undefined;
  resource: AuditResource | undefined;
  resourceId: number | undefined;
  range: Range;
  limit: number;
  offset: number;
}

/** One page of the audit log, newest first, and the number of entries on all pages. */
export async function listAuditLog(
  db: Kysely<Database>,
  filter: AuditFilter,
): Promise<{ rows: AuditRow[]; total: number }> {
  const { limit, offset } = filter;
  const rows = await db.selectFrom("audit_log as a").innerJoin("users as u", "u.id", "a.user_id")
    .selectAll("a").select(["u.subject", "u.name"]).where((eb) => matches(eb, filter))
    .orderBy("a.id", "desc").limit(limit).offset(offset).execute();
  const total = totalFromPage(rows.length, { limit, offset }) ??
    (await db.selectFrom("audit_log as a").where((eb) => matches(eb, filter))
      .select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow()).total;
  return { rows, total };
}

function matches(eb: ExpressionBuilder<DB & { a: AuditLog }, "a">, filter: AuditFilter): Expression<SqlBool> {
  const { userId, operation, resource, resourceId, range } = filter;
  const conditions: Expression<SqlBool>[] = [];
  if (userId !== undefined) conditions.push(eb("a.user_id", "=", userId));
  if (operation !== undefined) conditions.push(eb("a.operation", "=", operation));
  if (resource !== undefined) conditions.push(eb("a.resource", "=", resource));
  if (resourceId !== undefined) conditions.push(eb("a.resource_id", "=", resourceId));
  for (const { operator, at } of endsOf(range)) conditions.push(eb("a.occurred_at", operator, instantSql(at)));
  return eb.and(conditions);
}
