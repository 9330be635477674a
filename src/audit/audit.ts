/** The audit log: who changed what through the admin operations, written in the transaction of the change. */
import type { AuditEntry, AuditResource } from "../../generated/contract.ts";
import type { AuditRow } from "./queries.ts";

/** A change as an admin sees it: what was answered before it, and what is answered after it. */
export interface AuditChange {
  resource: AuditResource;
  /** Null for what there is only one of. */
  resourceId: number | null;
  /** Null when it was not there. */
  before: object | null;
  /** Null when it is no longer there. */
  after: object | null;
}

/** Writes a change down. Who made it, by which operation and in which request is known to whoever hands this out. */
export type Audit = (change: AuditChange) => Promise<void>;

export function toAuditEntry(row: AuditRow): AuditEntry {
  return {
    id: row.id,
    occurredAt: row.occurred_at.toISOString(),
    actor: { userId: row.user_id, subject: row.subject, name: row.name },
    operation: row.operation,
    resource: row.resource,
    resourceId: row.resource_id,
    before: row.before,
    after: row.after,
    requestId: row.request_id,
  };
}
