import {
  type Expression,
  type ExpressionBuilder,
  type Insertable,
  type Kysely,
  type Selectable,
  sql,
  type SqlBool,
} from "kysely";
import type { AuditResource } from "../../generated/contract.ts";
import type { AuditLog, DB, Users } from "../../generated/database.d.ts";
import type { Database } from "../database/connect.ts";
import { follows, type FoundPage, type PageRange, preparedPage } from "../database/paging.ts";
import { toPostgres } from "../time/calendar.ts";
import { endsByOperator, isWithin, type Range, type RangeEnds } from "../time/ranges.ts";

export type AuditRow = Selectable<AuditLog> & Pick<Selectable<Users>, "subject" | "name">;

export async function insertAuditEntry(db: Kysely<Database>, entry: Insertable<AuditLog>): Promise<void> {
  await db.insertInto("audit_log").values(entry).execute();
}

export interface AuditFilter extends PageRange {
  userId: number | undefined;
  operation: string | undefined;
  resource: AuditResource | undefined;
  resourceId: number | undefined;
  range: Range;
}

/** One page of the audit log, newest first, and the number of entries on all pages. */
export function listAuditLog(
  db: Kysely<Database>,
  { range, ...filter }: AuditFilter,
): Promise<FoundPage<AuditRow>> {
  return listAuditLogStatement(db, { ...filter, ...endsByOperator(range, toPostgres) });
}

type AuditValues = Omit<AuditFilter, "range"> & RangeEnds;

const listAuditLogStatement = preparedPage((db, filter: AuditValues) => {
  const { limit, offset } = filter;
  const following = follows(filter, { id: sql`a.id`, direction: "desc" });
  return {
    page: db.selectFrom("audit_log as a").innerJoin("users as u", "u.id", "a.user_id")
      .selectAll("a").select(["u.subject", "u.name"]).where((eb) => matches(eb, filter))
      .where((eb) => eb.and(following)).orderBy("a.id", "desc").limit(limit).offset(offset),
    order: sql`id desc`,
    count: db.selectFrom("audit_log as a").where((eb) => matches(eb, filter))
      .select((eb) => eb.fn.countAll<number>().as("total")),
  };
});

function matches(
  eb: ExpressionBuilder<DB & { a: AuditLog }, "a">,
  filter: AuditValues,
): Expression<SqlBool> {
  const { userId, operation, resource, resourceId } = filter;
  const conditions: Expression<SqlBool>[] = [];
  if (userId !== undefined) conditions.push(eb("a.user_id", "=", userId));
  if (operation !== undefined) conditions.push(eb("a.operation", "=", operation));
  if (resource !== undefined) conditions.push(eb("a.resource", "=", resource));
  if (resourceId !== undefined) conditions.push(eb("a.resource_id", "=", resourceId));
  return eb.and([...conditions, ...isWithin(sql`a.occurred_at`, filter)]);
}
