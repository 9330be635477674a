/** Configuration from the environment. It is read once, and all faults are reported together. */
import { z } from "zod";
import { type LogLevel, logLevels } from "./log.ts";
import { isCurrency } from "./money.ts";
import type { PaymentSettings } from "./payments/provider.ts";
import { type PaymentProviderName, providerTypes } from "./payments/providers.ts";
import { ianaName } from "./time_zones.ts";

/** A cancellation `hours` or more before the start (elapsed hours) refunds `percent` of what was paid. */
export interface CancellationTier {
  hours: number;
  percent: number;
}

/** Verification of tokens: a shared secret, or an issuer's public keys. `issuer` and `audience` are checked if set. */
export interface AuthConfig {
  secret: string | undefined;
  jwksUrl: string | undefined;
  issuer: string | undefined;
  audience: string | undefined;
}

export interface Config {
  host: string;
  port: number;
  /** Undefined means the embedded Postgres in `dataDir`. */
  databaseUrl: string | undefined;
  dataDir: string;
  /** Most connections per process for statements, and as many for transactions. */
  databasePool: number;
  sandbox: boolean;
  demoData: boolean;
  auth: AuthConfig;
  defaultTimeZone: string;
  defaultCurrency: string;
  /** Longest notice first. */
  cancellationTiers: CancellationTier[];
  paymentProvider: "none" | PaymentProviderName;
  /** Settings of the provider, by the names of its variables. */
  paymentSettings: PaymentSettings;
  /** The page after a checkout. Undefined means `publicUrl`. */
  checkoutReturnUrl: string | undefined;
  /** How long an unpaid booking holds its timeslot. */
  holdMinutes: number;
  /** How long before its start a booking can be rescheduled, in elapsed hours. 0 means until the start. */
  rescheduleNoticeHours: number;
  /** Base of links to this server. Undefined means the address that we listen on. */
  publicUrl: string | undefined;
  /** Other origins (`https://app.example`) whose pages may call this server. */
  corsOrigins: string[];
  /** More headers that these pages may send. */
  corsHeaders: string[];
  /** How long before the start of a booking its reminder comes. 0 means never. */
  reminderLeadMinutes: number;
  eventRetentionDays: number;
  /** Whether requests are limited. */
  rateLimit: boolean;
  /** Undefined means that each server counts rate limits alone. */
  redisUrl: string | undefined;
  /** Number of proxies in front of this server that add to X-Forwarded-For. */
  trustedProxies: number;
  /** Most bookings of a user that wait for payment or confirmation. 0 means no limit. */
  maxPendingBookings: number;
  logLevel: LogLevel;
}

/** Thrown by {@link parseConfig}. The message lists every fault, one per line. */
export class ConfigError extends Error {
  override name = "ConfigError";
}

const wholeNumber = (minimum: number, maximum: number) =>
  z.string().refine(
    (value) => /^\d{1,9}$/.test(value) && Number(value) >= minimum && Number(value) <= maximum,
    `must be a whole number from ${minimum} to ${maximum}`,
  ).transform(Number);
const flag = z.enum(["true", "false"], "must be true or false").transform((value) => value === "true");
const url = z.string().refine(
  (value) => /^https?:\/\//.test(value) && URL.canParse(value),
  "must be a URL with http or https",
);

const plainUrl = url.refine((value) => !/[?#]/.test(value), "must have no query and no fragment");

const origins = z.string().transform((value, context): string[] => {
  const list = value.split(",").map((origin) => origin.trim());
  if (list.every((origin) => URL.canParse(origin) && new URL(origin).origin === origin)) return list;
  context.addIssue("must be origins such as https://app.example, separated by commas, without a path");
  return z.NEVER;
});

const headerNames = z.string().transform((value, context): string[] => {
  const names = value.split(",").map((name) => name.trim());
  if (names.every((name) => /^[!#$%&'*+.^_`|~\w-]+$/.test(name))) return names;
  context.addIssue("must be names of headers such as X-App-Version, separated by commas");
  return z.NEVER;
});

/** Returns whether the URL parses and its user and password are valid percent-encoding. */
function hasReadablePassword(value: string): boolean {
  try {
    const { username, password } = new URL(value);
    return [username, password].map(decodeURIComponent).length === 2;
  } catch {
    return false;
  }
}

const tiers = z.string().transform((value, context): CancellationTier[] => {
  const parsed = value.split(",").map((tier) => /^\s*(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)\s*$/.exec(tier));
  const found = parsed.flatMap((match) =>
    match === null ? [] : [{ hours: Number(match[1]), percent: Number(match[2]) }]
  );
  const distinct = new Set(found.map((tier) => tier.hours));
  if (found.length !== parsed.length || distinct.size !== found.length || found.some((tier) => tier.percent > 100)) {
    context.addIssue(
      "must be hours:percent pairs such as 24:100,12:50, each number of hours once, at most 100 percent",
    );
    return z.NEVER;
  }
  return found.sort((a, b) => b.hours - a.hours);
});

const timeZone = z.string().transform((value, context): string => {
  const name = ianaName(value);
  if (name !== undefined) return name;
  context.addIssue("must be an IANA time zone such as Europe/Berlin");
  return z.NEVER;
});

// The keys of the record are those of its type.
const providerNames = Object.keys(providerTypes) as PaymentProviderName[];

const variables = z.object({
  HOST: z.string().default("127.0.0.1"),
  PORT: wholeNumber(0, 65535).prefault("8000"),
  DATABASE_URL: z.string().regex(/^postgres(ql)?:\/\//, {
    error: "must start with postgres:// or postgresql://",
    abort: true,
  })
    .refine(hasReadablePassword, "must be a URL; percent-encode special characters in the password")
    .optional(),
  DATA_DIR: z.string().default(".data"),
  DATABASE_POOL: wholeNumber(1, 1000).prefault("4"),
  SANDBOX: flag.optional(),
  DEMO_DATA: flag.optional(),
  AUTH_JWT_SECRET: z.string().refine(
    (value) => new TextEncoder().encode(value).length >= 32,
    "must have 32 bytes or more",
  )
    .optional(),
  AUTH_JWKS_URL: url.optional(),
  AUTH_ISSUER: z.string().optional(),
  AUTH_AUDIENCE: z.string().optional(),
  DEFAULT_TIME_ZONE: timeZone.default("UTC"),
  DEFAULT_CURRENCY: z.string().refine(isCurrency, "must be an ISO 4217 code such as EUR").default("EUR"),
  CANCELLATION_TIERS: tiers.prefault("24:100,12:50"),
  PAYMENT_PROVIDER: z.enum(["none", ...providerNames], `must be none, ${providerNames.join(" or ")}`).optional(),
  CHECKOUT_RETURN_URL: url.optional(),
  HOLD_MINUTES: wholeNumber(1, 10_080).prefault("15"),
  RESCHEDULE_NOTICE_HOURS: wholeNumber(0, 87_600).prefault("0"),
  PUBLIC_URL: plainUrl.optional(),
  CORS_ORIGINS: origins.optional(),
  CORS_HEADERS: headerNames.optional(),
  REMINDER_LEAD_MINUTES: wholeNumber(0, 525_600).prefault("60"),
  EVENT_RETENTION_DAYS: wholeNumber(1, 3_660).prefault("30"),
  RATE_LIMIT: z.enum(["on", "off"], "must be on or off").default("on"),
  REDIS_URL: z.string().refine(
    (value) => /^rediss?:\/\//.test(value) && hasReadablePassword(value),
    "must be a URL with redis or rediss; percent-encode special characters in the password",
  ).optional(),
  TRUST_PROXY: wholeNumber(0, 10).prefault("0"),
  MAX_PENDING_BOOKINGS: wholeNumber(0, 1_000_000).prefault("5"),
  LOG_LEVEL: z.enum(logLevels, `must be ${logLevels.join(", ")}`).default("info"),
});

/**
 * Parses the configuration. An empty variable counts as not set. A program that only uses the database passes
 * `serves: false`, and needs no settings to verify tokens.
 *
 * @throws {ConfigError} naming every variable that is malformed, missing, or contradicts another.
 */
export function parseConfig(
  environment: Record<string, string | undefined>,
  { serves = true }: { serves?: boolean } = {},
): Config {
  const present = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""));
  const { success, data, error } = variables.safeParse(present);
  const faults = success ? [] : error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);

  const has = (name: string): boolean => present[name] !== undefined;
  if (has("AUTH_JWT_SECRET") && has("AUTH_JWKS_URL")) {
    faults.push("AUTH_JWT_SECRET: set either this or AUTH_JWKS_URL, not both");
  }
  if (serves && has("DATABASE_URL") && !has("AUTH_JWT_SECRET") && !has("AUTH_JWKS_URL")) {
    faults.push("AUTH_JWT_SECRET: with DATABASE_URL, set this or AUTH_JWKS_URL, so that the server can verify tokens");
  }
  const isSandbox = success ? data.SANDBOX ?? !has("DATABASE_URL") : false;
  const provider = present.PAYMENT_PROVIDER ?? (isSandbox ? "sandbox" : "none");
  if (success && provider === "sandbox" && !isSandbox) {
    faults.push("PAYMENT_PROVIDER: sandbox takes no money; set SANDBOX=true or choose another provider");
  }
  const chosen = providerNames.find((name) => name === provider);
  if (serves && chosen !== undefined && chosen !== "sandbox" && !has("PUBLIC_URL") && !has("CHECKOUT_RETURN_URL")) {
    faults.push(`CHECKOUT_RETURN_URL: with ${chosen}, set this or PUBLIC_URL, so that people return after a checkout`);
  }
  const settings = z.object(chosen === undefined || !serves ? {} : providerTypes[chosen].variables).safeParse(present);
  for (const { path, message } of settings.error?.issues ?? []) {
    faults.push(`${path.join(".")}: ${message} (PAYMENT_PROVIDER is ${provider})`);
  }
  if (!success || !settings.success || faults.length > 0) {
    throw new ConfigError(`The configuration is not valid:\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
  }

  return {
    host: data.HOST,
    port: data.PORT,
    databaseUrl: data.DATABASE_URL,
    dataDir: data.DATA_DIR,
    databasePool: data.DATABASE_POOL,
    sandbox: isSandbox,
    demoData: data.DEMO_DATA ?? isSandbox,
    auth: {
      secret: data.AUTH_JWT_SECRET,
      jwksUrl: data.AUTH_JWKS_URL,
      issuer: data.AUTH_ISSUER,
      audience: data.AUTH_AUDIENCE,
    },
    defaultTimeZone: data.DEFAULT_TIME_ZONE,
    defaultCurrency: data.DEFAULT_CURRENCY,
    cancellationTiers: data.CANCELLATION_TIERS,
    paymentProvider: chosen ?? "none",
    paymentSettings: settings.data,
    checkoutReturnUrl: data.CHECKOUT_RETURN_URL,
    holdMinutes: data.HOLD_MINUTES,
    rescheduleNoticeHours: data.RESCHEDULE_NOTICE_HOURS,
    corsOrigins: data.CORS_ORIGINS ?? [],
    corsHeaders: data.CORS_HEADERS ?? [],
    reminderLeadMinutes: data.REMINDER_LEAD_MINUTES,
    eventRetentionDays: data.EVENT_RETENTION_DAYS,
    rateLimit: data.RATE_LIMIT === "on",
    redisUrl: data.REDIS_URL,
    trustedProxies: data.TRUST_PROXY,
    maxPendingBookings: data.MAX_PENDING_BOOKINGS,
    publicUrl: data.PUBLIC_URL?.replace(/\/$/, ""),
    logLevel: data.LOG_LEVEL,
  };
}
