/** Each variable of the environment: its meaning, its default and invalid values. */
import assert from "node:assert/strict";
import { type Config, ConfigError, parseConfig } from "../../src/config.ts";

type Environment = Record<string, string>;

const secret = "0123456789abcdef0123456789abcdef";
const databaseUrl = "postgres://slotkeeper@db.example/slotkeeper";
const production = { DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret };

const defaults: Config = {
  host: "127.0.0.1",
  port: 8000,
  databaseUrl: undefined,
  dataDir: ".data",
  databasePool: 4,
  sandbox: true,
  demoData: true,
  auth: { secret: undefined, jwksUrl: undefined, issuer: undefined, audience: undefined },
  defaultTimeZone: "UTC",
  defaultCurrency: "EUR",
  cancellationTiers: [{ hours: 24, percent: 100 }, { hours: 12, percent: 50 }],
  paymentProvider: "sandbox",
  paymentSettings: {},
  checkoutReturnUrl: undefined,
  holdMinutes: 15,
  rescheduleNoticeHours: 0,
  publicUrl: undefined,
  corsOrigins: [],
  corsHeaders: [],
  reminderLeadMinutes: 60,
  eventRetentionDays: 30,
  rateLimit: true,
  redisUrl: undefined,
  trustedProxies: 0,
  maxPendingBookings: 5,
  logLevel: "info",
};

function faultsOf(env: Environment): string[] {
  try {
    parseConfig(env);
  } catch (failure) {
    assert(failure instanceof ConfigError);
    const [title, ...faults] = failure.message.split("\n");
    assert.equal(title, "The configuration is not valid:");
    return faults;
  }
  return [];
}

Deno.test("config: empty environment -> sandbox on the embedded Postgres", () => {
  assert.deepEqual(parseConfig({}), defaults);
});

Deno.test("config: empty or unknown variables -> defaults", () => {
  const empty = ["HOST", "PORT", "DATABASE_URL", "SANDBOX", "AUTH_JWT_SECRET", "CANCELLATION_TIERS", "PUBLIC_URL"];
  const env = Object.fromEntries([...empty.map((name) => [name, ""]), ["HOME", "/root"], ["PORTS", "1"]]);
  assert.deepEqual(parseConfig(env), defaults);
});

Deno.test("config: DATABASE_URL -> production without sandbox, demo data and sandbox payments", () => {
  const expected: Config = { ...defaults, databaseUrl, sandbox: false, demoData: false, paymentProvider: "none" };
  assert.deepEqual(parseConfig(production), { ...expected, auth: { ...defaults.auth, secret } });
});

const validSettings: { env: Environment; gives: Partial<Config> }[] = [
  { env: { HOST: "0.0.0.0" }, gives: { host: "0.0.0.0" } },
  { env: { PORT: "0" }, gives: { port: 0 } },
  { env: { PORT: "65535" }, gives: { port: 65_535 } },
  { env: { DATA_DIR: "/var/lib/slotkeeper" }, gives: { dataDir: "/var/lib/slotkeeper" } },
  { env: { DATABASE_POOL: "1" }, gives: { databasePool: 1 } },
  { env: { DATABASE_POOL: "1000" }, gives: { databasePool: 1_000 } },
  { env: { SANDBOX: "false" }, gives: { sandbox: false, demoData: false, paymentProvider: "none" } },
  { env: { SANDBOX: "false", DEMO_DATA: "true" }, gives: { sandbox: false, demoData: true, paymentProvider: "none" } },
  { env: { DEMO_DATA: "false" }, gives: { sandbox: true, demoData: false } },
  { env: { AUTH_JWT_SECRET: secret }, gives: { auth: { ...defaults.auth, secret } } },
  { env: { AUTH_JWT_SECRET: "ü".repeat(16) }, gives: { auth: { ...defaults.auth, secret: "ü".repeat(16) } } },
  {
    env: {
      AUTH_JWKS_URL: "https://issuer.example/keys",
      AUTH_ISSUER: "https://issuer.example",
      AUTH_AUDIENCE: "rooms",
    },
    gives: {
      auth: {
        secret: undefined,
        jwksUrl: "https://issuer.example/keys",
        issuer: "https://issuer.example",
        audience: "rooms",
      },
    },
  },
  { env: { DEFAULT_TIME_ZONE: "America/New_York" }, gives: { defaultTimeZone: "America/New_York" } },
  { env: { DEFAULT_CURRENCY: "JPY" }, gives: { defaultCurrency: "JPY" } },
  { env: { CANCELLATION_TIERS: "48:75.5" }, gives: { cancellationTiers: [{ hours: 48, percent: 75.5 }] } },
  {
    env: { CANCELLATION_TIERS: "0:10, 1.5:20 ,72:100" },
    gives: { cancellationTiers: [{ hours: 72, percent: 100 }, { hours: 1.5, percent: 20 }, { hours: 0, percent: 10 }] },
  },
  { env: { PAYMENT_PROVIDER: "none" }, gives: { paymentProvider: "none" } },
  { env: { PAYMENT_PROVIDER: "sandbox" }, gives: {} },
  {
    env: {
      PAYMENT_PROVIDER: "stripe",
      STRIPE_SECRET_KEY: "sk_test_1",
      STRIPE_WEBHOOK_SECRET: "whsec_1",
      PUBLIC_URL: "https://rooms.example",
    },
    gives: {
      publicUrl: "https://rooms.example",
      paymentProvider: "stripe",
      paymentSettings: { STRIPE_SECRET_KEY: "sk_test_1", STRIPE_WEBHOOK_SECRET: "whsec_1" },
    },
  },
  {
    env: { CHECKOUT_RETURN_URL: "https://app.example/paid" },
    gives: { checkoutReturnUrl: "https://app.example/paid" },
  },
  { env: { HOLD_MINUTES: "1" }, gives: { holdMinutes: 1 } },
  { env: { HOLD_MINUTES: "10080" }, gives: { holdMinutes: 10_080 } },
  { env: { REMINDER_LEAD_MINUTES: "0" }, gives: { reminderLeadMinutes: 0 } },
  { env: { REMINDER_LEAD_MINUTES: "1440" }, gives: { reminderLeadMinutes: 1_440 } },
  { env: { EVENT_RETENTION_DAYS: "1" }, gives: { eventRetentionDays: 1 } },
  {
    env: { CORS_ORIGINS: "https://app.example, http://localhost:3000" },
    gives: { corsOrigins: ["https://app.example", "http://localhost:3000"] },
  },
  { env: { CORS_HEADERS: "X-App-Version, x-tenant" }, gives: { corsHeaders: ["X-App-Version", "x-tenant"] } },
  { env: { RESCHEDULE_NOTICE_HOURS: "24" }, gives: { rescheduleNoticeHours: 24 } },
  { env: { PUBLIC_URL: "https://rooms.example" }, gives: { publicUrl: "https://rooms.example" } },
  ...(["debug", "info", "warn", "error"] as const).map((logLevel) => ({
    env: { LOG_LEVEL: logLevel },
    gives: { logLevel },
  })),
];

for (const { env, gives } of validSettings) {
  const settings = Object.entries(env).map(([name, value]) => `${name}=${value}`).join(" ");
  Deno.test(`config: ${settings} -> read`, () => assert.deepEqual(parseConfig(env), { ...defaults, ...gives }));
}

for (const url of ["postgres://u:p@h:5432/d", "postgresql://h/d?prepare=false"]) {
  Deno.test(`config: DATABASE_URL=${url} -> unchanged`, () => {
    assert.equal(parseConfig({ ...production, DATABASE_URL: url }).databaseUrl, url);
  });
}

Deno.test("config: DATABASE_URL and SANDBOX=true -> sandbox with demo data", () => {
  const { sandbox, demoData } = parseConfig({ ...production, SANDBOX: "true" });
  assert.deepEqual({ sandbox, demoData }, { sandbox: true, demoData: true });
});

const invalidValues: Record<string, string[]> = {
  PORT: ["-1", "65536", "1.5", "0x50", "1e3", " 80", "http"],
  DATABASE_POOL: ["0", "1001", "four"],
  DATABASE_URL: ["mysql://h/d", "localhost/d", "POSTGRES", "postgres://u:p#ss@h/d", "postgres://u:%zz@h/d"],
  SANDBOX: ["yes", "1", "TRUE"],
  DEMO_DATA: ["no", "0"],
  AUTH_JWT_SECRET: ["short", "x".repeat(31)],
  AUTH_JWKS_URL: ["issuer.example/keys", "issuer.example:8443/keys", "/keys"],
  DEFAULT_TIME_ZONE: ["Mars/Base", "+02:00", "Berlin", "UTC+2", "-05:00"],
  DEFAULT_CURRENCY: ["eur", "EURO", "ZZZ", "€"],
  CANCELLATION_TIERS: ["rubbish", "24", "24:100,", "24:101", "-1:100", "24:100,24:50", "24:100;12:50", "24:-5"],
  PAYMENT_PROVIDER: ["paypal", "None"],
  CHECKOUT_RETURN_URL: ["app.example", "/paid"],
  HOLD_MINUTES: ["-1", "0", "10081", "1e3", "99999999999999999999", "soon"],
  REMINDER_LEAD_MINUTES: ["-1", "an hour", "525601"],
  EVENT_RETENTION_DAYS: ["0", "3661", "for ever"],
  CORS_HEADERS: ["X App", "a,,b", "ä", "a:b"],
  RESCHEDULE_NOTICE_HOURS: ["-1", "1.5", "87601"],
  CORS_ORIGINS: ["*", "app.example", "https://app.example/", "https://app.example/path", "https://a.example,", "null"],
  PUBLIC_URL: ["rooms.example", "localhost:8000", "/", "https://rooms.example/?a=b", "https://rooms.example/#c"],
  LOG_LEVEL: ["trace", "INFO"],
};

for (const [name, values] of Object.entries(invalidValues)) {
  for (const value of values) {
    Deno.test(`config: ${name}=${value} -> refused with the variable's name`, () => {
      const [fault, ...more] = faultsOf({ AUTH_JWT_SECRET: secret, [name]: value });
      assert.match(fault ?? "", new RegExp(`^  ${name}: must .`));
      assert.deepEqual(more.filter((line) => !line.includes("not both")), []);
    });
  }
}

Deno.test("config: number out of its range, unknown level -> what is allowed", () => {
  const ranges = { HOLD_MINUTES: "-1", TRUST_PROXY: "11", MAX_PENDING_BOOKINGS: "few", LOG_LEVEL: "loud" };
  assert.deepEqual(faultsOf(ranges), [
    "  HOLD_MINUTES: must be a whole number from 1 to 10080",
    "  TRUST_PROXY: must be a whole number from 0 to 10",
    "  MAX_PENDING_BOOKINGS: must be a whole number from 0 to 1000000",
    "  LOG_LEVEL: must be debug, info, warn, error",
  ]);
});

Deno.test("config: several faults, also between variables -> reported together", () => {
  const env = { PORT: "x", LOG_LEVEL: "loud", AUTH_JWT_SECRET: secret, AUTH_JWKS_URL: "https://issuer.example/keys" };
  const named = faultsOf(env).map((fault) => fault.trim().split(":")[0]);
  assert.deepEqual(named, ["PORT", "LOG_LEVEL", "AUTH_JWT_SECRET"]);
});

Deno.test("config: payment provider without its variables -> reported together with other faults", () => {
  const faults = faultsOf({ ...production, PORT: "x", PAYMENT_PROVIDER: "stripe", STRIPE_WEBHOOK_SECRET: "a b" });
  assert.deepEqual(faults.map((fault) => fault.trim().split(":")[0]), [
    "PORT",
    "CHECKOUT_RETURN_URL",
    "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRET",
  ]);
  assert.deepEqual(faultsOf({ ...production, STRIPE_WEBHOOK_SECRET: "a b" }), []);
});

Deno.test("config: sandbox payments in production -> refused", () => {
  assert.match(faultsOf({ ...production, PAYMENT_PROVIDER: "sandbox" }).join(), /PAYMENT_PROVIDER: .*SANDBOX=true/);
  assert.deepEqual(faultsOf({ ...production, PAYMENT_PROVIDER: "sandbox", SANDBOX: "true" }), []);
});

Deno.test("config: DATABASE_URL without token verification -> refused, unless nothing is served", () => {
  const env = { DATABASE_URL: databaseUrl };
  assert.match(faultsOf(env).join("\n"), /AUTH_JWT_SECRET: .*AUTH_JWKS_URL/);
  assert.deepEqual(faultsOf({ ...env, AUTH_JWKS_URL: "https://issuer.example/keys" }), []);
  assert.equal(parseConfig(env, { serves: false }).databaseUrl, databaseUrl);
});
