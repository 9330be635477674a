import type { AuditEntry } from "../../generated/contract.ts";
import type { Config } from "../config.ts";
import type { Handlers } from "../contract/handlers.ts";
import { pageBody, pageRange } from "../contract/pages.ts";
import { parseRange, rangeIn } from "../time/ranges.ts";
import { type AuditRow, listAuditLog } from "./queries.ts";

export interface AuditOptions {
  config: Pick<Config, "defaultTimeZone">;
}

export function auditHandlers({ config }: AuditOptions): Pick<Handlers, "listAuditLog"> {
  return {
    async listAuditLog({ query }, { db }) {
      const { userId, operation, resource, resourceId, fromDate, toDate } = query;
      const parsed = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      const range = rangeIn(config.defaultTimeZone, parsed);
      const filter = { userId, operation, resource, resourceId, range, ...pageRange("id", query) };
      const found = await listAuditLog(db, filter);
      return { status: 200, body: pageBody(found, query, { order: "id", toItem: toAuditEntry, valueOf: () => null }) };
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
