/** The app as `main.ts` builds it, without a port. It does not follow the feed, so its database may be missing. */
import { type App, type AppOptions, createApp } from "../../src/app.ts";
import { createTokenVerifier } from "../../src/auth/tokens.ts";
import { type Config, parseConfig } from "../../src/config.ts";
import { connect } from "../../src/database/connect.ts";
import { EventFeed } from "../../src/events/feed.ts";
import { createLog } from "../../src/log.ts";
import { SandboxClock } from "../../src/sandbox/clock.ts";
import { toFeedEvent } from "../../src/subscriptions/feed_event.ts";
import { testSecret, type TestServer } from "./server.ts";

export interface BareApp extends AsyncDisposable {
  config: Config;
  payments: App["payments"];
  fetch(request: Request): Response | Promise<Response>;
}

export async function newApp(databaseUrl: string): Promise<BareApp> {
  const config = parseConfig({ AUTH_JWT_SECRET: testSecret, DATABASE_URL: databaseUrl, SANDBOX: "true" });
  const db = connect({ url: databaseUrl, pool: config.databasePool });
  const log = createLog("error", () => {});
  const feed = new EventFeed({ db, url: databaseUrl, log, render: toFeedEvent });
  const app = createApp({
    config,
    db,
    clock: new SandboxClock({ now: () => new Date("2026-03-02T10:00:00.000Z") }),
    log,
    publicUrl: () => "http://localhost",
    verify: await createTokenVerifier(config.auth),
    feed,
    docsTokens: undefined,
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

export interface BesideOptions {
  env?: Record<string, string>;
  publicUrl?: () => string;
  docsTokens?: AppOptions["docsTokens"];
}

/** Another app on the database, clock and feed of `first`, with its own environment. */
export async function appBeside(first: TestServer, { env = {}, publicUrl, docsTokens }: BesideOptions): Promise<App> {
  const config = parseConfig({ AUTH_JWT_SECRET: testSecret, DATABASE_URL: first.databaseUrl, ...env });
  return createApp({
    config,
    db: first.db,
    clock: first.clock,
    feed: first.feed,
    log: createLog("error", () => {}),
    publicUrl: publicUrl ?? (() => first.url),
    verify: await createTokenVerifier(config.auth),
    docsTokens,
  });
}

/** {@link appBeside} on its own port. */
export async function startBeside(
  first: TestServer,
  options: BesideOptions,
): Promise<AsyncDisposable & { url: string }> {
  const app = await appBeside(first, options);
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return { url: `http://127.0.0.1:${http.addr.port}`, [Symbol.asyncDispose]: () => http.shutdown() };
}
