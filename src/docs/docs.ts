/** The interactive reference (Scalar), the contract and the guides. Pages load nothing from other servers. */
import type { Hono } from "hono";
import { Scalar } from "@scalar/hono-api-reference";
import { compress } from "hono/compress";
import { etag } from "hono/etag";
import { NONCE, secureHeaders } from "hono/secure-headers";
import openapiYaml from "../../openapi.yaml" with { type: "text" };
import type { AppEnv } from "../http/context.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import type { Clock } from "../time/clock.ts";
import { addGuides } from "./guides.ts";
import { adminScheme, contractJson, referenceJson, type TrialValues } from "./reference.ts";

/** Scripts come from this server, or carry the nonce. Scalar styles its elements inline. */
const securityHeaders = secureHeaders({
  // Only the edge knows whether there is TLS.
  strictTransportSecurity: false,
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'", NONCE],
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", "data:", "blob:"],
    fontSrc: ["'self'", "data:"],
    connectSrc: ["'self'"],
    workerSrc: ["'self'", "blob:"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
});

const icon =
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#175"/>
<path d="M3 5h10M3 8h6M3 11h8" stroke="#fff" stroke-width="2"/></svg>`;

export interface DocsOptions {
  publicUrl: () => string;
  limiter: RequestLimiter;
  clock: Clock;
  /** Tokens that the reference sends. Undefined outside the sandbox, where a reader enters their own. */
  tokens: DocsTokens | undefined;
  /** Returns values that work now. */
  trialValues: () => Promise<TrialValues>;
}

export interface DocsTokens {
  user: string;
  admin: string;
}

/** Adds `/`, `/docs`, `/docs/guides`, `/openapi.yaml` and `/openapi.json`. The samples name `publicUrl`. */
export function addDocs(app: Hono<AppEnv>, options: DocsOptions): void {
  const { publicUrl, limiter, clock, tokens, trialValues } = options;
  app.get("/", limiter.page, (c) => c.redirect("/docs"));
  app.get("/favicon.ico", limiter.page, (c) => c.body(icon, 200, { "Content-Type": "image/svg+xml" }));
  // Clients may store it, but must revalidate it each time.
  const cached = (type: string) => ({ "Content-Type": type, "Cache-Control": "no-cache" });
  app.get("/openapi.yaml", limiter.page, etag(), (c) => c.body(openapiYaml, 200, cached("application/yaml")));
  app.get(
    "/openapi.json",
    limiter.page,
    etag(),
    async (c) => c.body(await contractJson(publicUrl()), 200, cached("application/json")),
  );
  app.get("/docs/reference.json", limiter.page, compress(), async (c) => {
    const values = await trialValues();
    const hasAdminToken = tokens !== undefined;
    const json = await referenceJson({ publicUrl: publicUrl(), now: clock.now(), values, hasAdminToken });
    return c.body(json, 200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
  });
  app.get("/docs/scalar.js", limiter.page, compress(), async (c) => {
    // The package does not export its browser bundle by name. It is read at the first request.
    const { default: bundle } = await import("../../node_modules/@scalar/api-reference/dist/browser/standalone.js", {
      with: { type: "text" },
    });
    return c.body(bundle, 200, { "Content-Type": "text/javascript", "Cache-Control": "public, max-age=3600" });
  });
  app.get(
    "/docs",
    limiter.page,
    securityHeaders,
    // It has a new nonce each time, and in the sandbox a token.
    async (c, next) => {
      await next();
      c.header("Cache-Control", "no-store");
    },
    Scalar((c) => ({
      url: "/docs/reference.json",
      cdn: "/docs/scalar.js",
      nonce: c.get("secureHeadersNonce") ?? "",
      pageTitle: "Slotkeeper API",
      withDefaultFonts: false,
      proxyUrl: "",
      telemetry: false,
      hideClientButton: true,
      showDeveloperTools: "never",
      agent: { disabled: true },
      mcp: { disabled: true },
      // The files are linked. This one has values for trying out.
      documentDownloadType: "none",
      ...(tokens === undefined ? { authentication: { preferredSecurityScheme: "bearer" } } : {
        authentication: { securitySchemes: { bearer: { token: tokens.user }, [adminScheme]: { token: tokens.admin } } },
      }),
    })),
  );
  addGuides(app, { publicUrl, limiter });
}
