import type { AuditEntry } from "../../generated/contract.ts";
import type { Config } from "../config.ts";
import type { Handlers } from "../contract/handlers.ts";
import { parseRange, rangeIn } from "../time/ranges.ts";
import { type AuditRow, listAuditLog } from "./queries.ts";

export interface AuditOptions {
  config: Pick<Config, "defaultTimeZone">;
}

export function auditHandlers({ config }: AuditOptions): Pick<Handlers, "listAuditLog"> {
  return {
    async listAuditLog({ query: { userId, operation, resource, resourceId, fromDate, toDate, page, limit } }, { db }) {
      const parsed = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      const range = rangeIn(config.defaultTimeZone, parsed);
      const filter = { userId, operation, resource, resourceId, range, limit, offset: (page - 1) * limit };
      const { rows, total } = await listAuditLog(db, filter);
      return { status: 200, body: { items: rows.map(toAuditEntry), total, page, limit } };
    },
  };
}

function toAuditEntry(row: AuditRow): AuditEntry {
  return {
    id: row.id,
    occurredAt: row.occurred_at,
    actor: { userId: row.user_id, subject: row.subject, name: row.name },
    operation: row.operation,
    resource: row.resource,
    resourceId: row.resource_id,
    before: row.before,
    after: row.after,
    requestId: row.request_id,
  };
}
