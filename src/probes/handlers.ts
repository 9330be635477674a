import type { Handlers } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";
import { isMigrated } from "../database/migrations.ts";

/** The probes for operators and orchestrators. */
export function probeHandlers(): Pick<Handlers, "getHealth" | "getReadiness"> {
  /** Simultaneous probes share one query. */
  let check: Promise<boolean> | undefined;
  return {
    getHealth() {
      return Promise.resolve({ status: 200, body: { status: "ok" } });
    },

    async getReadiness(_input, { db }) {
      check ??= isMigrated(db).finally(() => check = undefined);
      if (!await check) throw new Problem("service_unavailable", "The database is not migrated.");
      return { status: 200, body: { status: "ready" } };
    },
  };
}
