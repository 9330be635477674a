import type { Kysely } from "kysely";
import type { Config } from "../config.ts";
import type { Database } from "../database/connect.ts";
import type { Handlers } from "../contract/handlers.ts";
import { parseRange, rangeIn } from "../time/ranges.ts";
import { toAuditEntry } from "./audit.ts";
import { listAuditLog } from "./queries.ts";

export interface AuditLogRules {
  db: Kysely<Database>;
  config: Pick<Config, "defaultTimeZone">;
}

export function auditHandlers({ db, config }: AuditLogRules): Pick<Handlers, "listAuditLog"> {
  return {
    async listAuditLog({ query: { userId, operation, resource, resourceId, fromDate, toDate, page, limit } }) {
      const parsed = parseRange({ path: "fromDate", text: fromDate }, { path: "toDate", text: toDate });
      const range = rangeIn(config.defaultTimeZone, parsed);
      const filter = { userId, operation, resource, resourceId, range, limit, offset: (page - 1) * limit };
      const { rows, total } = await listAuditLog(db, filter);
      return { status: 200, body: { items: rows.map(toAuditEntry), total, page, limit } };
    },
  };
}
