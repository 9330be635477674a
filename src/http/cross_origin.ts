/** Answers to pages of other origins (CORS). */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import type { Config } from "../config.ts";
import type { AppEnv } from "./context.ts";

/** Headers of the contract that a page may send. */
const ownHeaders = ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id"];

/** Headers that libraries for tracing and requests add. The server ignores them, but a browser asks for each. */
const usualHeaders = [
  ...["traceparent", "tracestate", "baggage"],
  ...[
    "sentry-trace",
    "newrelic",
    "elastic-apm-traceparent",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
  ],
  ...["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"],
  ...["x-datadog-trace-id", "x-datadog-parent-id", "x-datadog-origin", "x-datadog-sampling-priority", "x-datadog-tags"],
  ...["request-id", "request-context", "x-correlation-id", "x-requested-with", "cache-control", "pragma"],
];

/** Allows pages of `CORS_ORIGINS` to call the API. Undefined if there are none. */
export function allowCrossOrigin(
  { corsOrigins, corsHeaders }: Pick<Config, "corsOrigins" | "corsHeaders">,
): MiddlewareHandler<AppEnv> | undefined {
  if (corsOrigins.length === 0) return undefined;
  return cors({
    origin: corsOrigins,
    allowMethods: ["GET", "HEAD", "POST", "PUT", "DELETE"],
    allowHeaders: [...ownHeaders, ...usualHeaders, ...corsHeaders],
    exposeHeaders: [
      "ETag",
      "Idempotency-Replayed",
      "Location",
      "RateLimit",
      "RateLimit-Policy",
      "Retry-After",
      "WWW-Authenticate",
      "X-Request-Id",
    ],
    maxAge: 7_200,
  });
}
