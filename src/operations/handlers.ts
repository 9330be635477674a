import type { Kysely } from "kysely";
import type { Database } from "../database/connect.ts";
import { isMigrated } from "../database/migrations.ts";
import type { Handlers } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";

/** The probes for whoever runs the server. */
export function operationsHandlers({ db }: { db: Kysely<Database> }): Pick<Handlers, "getHealth" | "getReadiness"> {
  /** However many ask at once, one look is enough. */
  let look: Promise<boolean> | undefined;
  return {
    getHealth() {
      return Promise.resolve({ status: 200, body: { status: "ok" } });
    },

    async getReadiness() {
      look ??= isMigrated(db).finally(() => look = undefined);
      if (!await look) throw new Problem("service_unavailable", "The database is not migrated.");
      return { status: 200, body: { status: "ready" } };
    },
  };
}
