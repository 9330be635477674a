/** The app as `main.ts` builds it, on a database that may not be there. It does not follow the feed of events. */
import { type App, createApp } from "../../src/app.ts";
import { createTokenVerifier } from "../../src/auth/tokens.ts";
import { type Config, parseConfig } from "../../src/config.ts";
import { connect } from "../../src/database/connect.ts";
import { EventFeed } from "../../src/events/feed.ts";
import { createLog } from "../../src/http/log.ts";
import { SandboxClock } from "../../src/sandbox/clock.ts";
import { testSecret } from "./server.ts";

export interface BareApp extends AsyncDisposable {
  config: Config;
  payments: App["payments"];
  fetch(request: Request): Response | Promise<Response>;
}

export async function newApp(databaseUrl: string): Promise<BareApp> {
  const config = parseConfig({ AUTH_JWT_SECRET: testSecret, DATABASE_URL: databaseUrl, SANDBOX: "true" });
  const db = connect({ url: databaseUrl, pool: config.databasePool });
  const log = createLog("error", () => {});
  const feed = new EventFeed({ db, url: databaseUrl, log });
  const app = createApp({
    config,
    db,
    clock: new SandboxClock({ now: () => new Date("2026-03-02T10:00:00.000Z") }),
    log,
    publicUrl: () => "http://localhost",
    verify: await createTokenVerifier(config.auth),
    feed,
    docsToken: undefined,
  });
  return {
    config,
    payments: app.payments,
    fetch: (request) => app.fetch(request),
    async [Symbol.asyncDispose]() {
      await feed.close();
      await db.destroy();
    },
  };
}
