/** The interactive reference (Scalar), the contract and the guides. Pages load nothing from other servers. */
import type { Hono } from "hono";
import { Scalar } from "@scalar/hono-api-reference";
import { compress } from "hono/compress";
import { NONCE, secureHeaders } from "hono/secure-headers";
import { codeSamples } from "../../generated/code_samples.ts";
import openapiYaml from "../../openapi.yaml" with { type: "text" };
import type { AppEnv } from "../http/context.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import { addGuides, guidesSection, guidesUrl } from "./guides.ts";

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

/** Address of the server in the samples. */
const sampleUrl = "http://127.0.0.1:8000";

/** Made at the first request: parsing the YAML takes longer than the rest of a start. */
let openapiJson: string | undefined;

/** The contract as JSON for the reference: each operation with its sample, and links to the guides. */
async function referenceJson(): Promise<string> {
  const { parse } = await import("yaml");
  const document: {
    info: { description: string };
    paths: Record<string, Record<string, { operationId?: string }>>;
  } = parse(openapiYaml);
  document.info.description += await guidesSection();
  Object.assign(document, { externalDocs: { url: guidesUrl, description: "Guides" } });
  const sources = new Map(Object.entries(codeSamples));
  for (const operation of Object.values(document.paths).flatMap((path) => Object.values(path))) {
    const source = sources.get(operation.operationId ?? "");
    if (source === undefined) continue;
    Object.assign(operation, { "x-codeSamples": [{ lang: "typescript", label: "SDK", source }] });
  }
  return JSON.stringify(document);
}

/**
 * Adds `/`, `/docs`, `/docs/guides`, `/openapi.yaml` and `/openapi.json`. "Try it" sends `token`. The samples name
 * `publicUrl`.
 */
export function addDocs(
  app: Hono<AppEnv>,
  { token, publicUrl, limiter }: { token: string | undefined; publicUrl: () => string; limiter: RequestLimiter },
): void {
  app.get("/", limiter.page, (c) => c.redirect("/docs"));
  app.get("/favicon.ico", limiter.page, (c) => c.body(icon, 200, { "Content-Type": "image/svg+xml" }));
  app.get("/openapi.yaml", limiter.page, (c) => c.body(openapiYaml, 200, { "Content-Type": "application/yaml" }));
  app.get(
    "/openapi.json",
    limiter.page,
    async (c) => {
      openapiJson ??= await referenceJson();
      // URL encodes quotes, which would end a JSON string. A function ignores `$` in the address.
      const url = new URL(publicUrl()).href.replace(/\/$/, "");
      return c.body(openapiJson.replaceAll(sampleUrl, () => url), 200, { "Content-Type": "application/json" });
    },
  );
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
    Scalar((c) => ({
      url: "/openapi.json",
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
      authentication: {
        preferredSecurityScheme: "bearer",
        ...(token === undefined ? {} : { securitySchemes: { bearer: { token } } }),
      },
    })),
  );
  addGuides(app, { publicUrl, limiter });
}
