/** Faults of a request outside of its body: parameters, caller, headers and HTTP. */
import type { Parameter } from "../document.ts";
import { bodyFaults, unaskedBody } from "./body_faults.ts";
import { type CallerName, type Draft, escaped, placeOf, setParameter } from "./drafts.ts";
import type { Random } from "./random.ts";
import { hugeTexts, oddEscapes, oddJson, oddTexts } from "./texts.ts";
import { boundaryValue } from "./values.ts";

export interface Fault {
  name: string;
  /** Relative frequency, 1 by default. */
  weight?: number;
  applies(draft: Draft): boolean;
  apply(draft: Draft, random: Random): void;
}

const anywhere = () => true;
const hasParameters = ({ operation }: Draft) => operation.parameters.length > 0;
const hasQuery = ({ operation }: Draft) => operation.parameters.some((each) => placeOf(each) === "query");
const anyParameter = ({ operation }: Draft, random: Random): Parameter => random.pick(operation.parameters);

const parameterFaults: Fault[] = [
  {
    name: "a parameter at its bounds",
    applies: hasParameters,
    apply(draft, random) {
      const parameter = anyParameter(draft, random);
      const value = boundaryValue(random, parameter.schema);
      if (value !== undefined) setParameter(draft, parameter, String(value));
    },
  },
  {
    name: "a parameter of another kind",
    applies: hasParameters,
    apply(draft, random) {
      setParameter(draft, anyParameter(draft, random), random.pick(random.chance(0.5) ? oddTexts : oddJson));
    },
  },
  {
    name: "a parameter in odd escapes",
    applies: hasParameters,
    apply(draft, random) {
      const escape = random.pick(oddEscapes);
      setParameter(draft, anyParameter(draft, random), escape, random.chance(0.3) ? `1${escape}` : escape);
    },
  },
  {
    name: "a huge parameter",
    weight: 0.1,
    applies: hasParameters,
    apply(draft, random) {
      const text = random.pick(hugeTexts).slice(0, random.pick([1_000, 8_000, 16_000]));
      setParameter(draft, anyParameter(draft, random), text);
    },
  },
  {
    name: "parameters left out",
    weight: 0.5,
    applies: hasQuery,
    apply(draft) {
      draft.query = [];
    },
  },
  {
    name: "a parameter twice",
    applies: hasQuery,
    apply(draft, random) {
      const inQuery = draft.operation.parameters.filter((each) => placeOf(each) === "query");
      const { name, schema } = random.pick(inQuery);
      const value = escaped(String(boundaryValue(random, schema) ?? random.pick(oddTexts)));
      draft.query.push([name, value], [random.chance(0.8) ? name : `${name}[]`, random.chance(0.5) ? value : ""]);
    },
  },
  {
    name: "an unknown parameter",
    weight: 0.4,
    applies: anywhere,
    apply(draft, random) {
      draft.query.push([
        random.chance(0.7) ? escaped(random.pick(oddTexts)) : random.pick(oddEscapes),
        escaped(random.pick(oddTexts)),
      ]);
    },
  },
];

const callers: CallerName[] = ["alice", "mallory", "admin", "apiKey", "expired", "garbage", "none"];
const authorizations = [
  ...[
    "",
    "Bearer",
    "Bearer ",
    "bearer x",
    "Basic YWxpY2U6eA==",
    "Bearer a b",
    "Bearer e30.e30.e30",
    "Bearer \xff",
    ".",
  ],
  ...[`Bearer ${"x".repeat(9_000)}`, "Bearer null", "Digest x", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer\ta"],
];
const headerNames = [
  ..."Accept Accept-Language Accept-Encoding Cookie Origin Referer Range If-Match If-None-Match If-Modified-Since"
    .split(" "),
  ..."X-Request-Id X-Forwarded-For X-Forwarded-Host Forwarded X-HTTP-Method-Override Idempotency-Key Prefer".split(" "),
  ..."Sandbox-Signature Stripe-Signature Content-Language Sec-WebSocket-Version Upgrade-Insecure-Requests Via".split(
    " ",
  ),
];
const headerValues = [
  ...["", "*", "*/*", "text/html", "application/xml;q=0.9, */*;q=0", "gzip;q=0", "null", "bytes=0-", '"1"', 'W/"x"'],
  ...["http://evil.example", "127.0.0.1, ::1", "for=_x;host=y", "DELETE", "t=1,v1=00", "\xfcber", "a=b; c=d; e", "13"],
  ...["x".repeat(255), "x".repeat(256), "x".repeat(6_000), "\x80\xff", "Thu, 01 Jan 1970 00:00:00 GMT", "1", ","],
];

const headerFaults: Fault[] = [
  unaskedBody,
  {
    name: "another caller",
    applies: anywhere,
    apply(draft, random) {
      draft.caller = random.pick(callers);
    },
  },
  {
    name: "an odd Authorization",
    applies: anywhere,
    apply(draft, random) {
      draft.caller = "none";
      draft.headers.push(["Authorization", random.pick(authorizations)]);
    },
  },
  {
    name: "odd headers",
    applies: anywhere,
    apply(draft, random) {
      for (let count = random.int(1, 3); count > 0; count--) {
        draft.headers.push([random.pick(headerNames), random.pick(headerValues)]);
      }
    },
  },
  {
    name: "another method",
    weight: 0.5,
    applies: anywhere,
    apply(draft, random) {
      draft.method = random.pick(["HEAD", "HEAD", "GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]);
    },
  },
];

/** Faults that `fetch` would not send. */
const httpFaults: Fault[] = [
  {
    name: "bytes in the path that no URL has",
    applies: anywhere,
    apply(draft, random) {
      const text = random.pick([
        "\xff",
        "é",
        "日本",
        "|",
        '"',
        "<",
        "\\",
        "^",
        "`",
        "{",
        "\x7f",
        "\t",
        "\0",
        "\x01",
        "#",
      ]);
      for (const [name, value] of draft.segments) draft.segments.set(name, value + text);
      if (draft.segments.size === 0) draft.query.push(["x", text]);
      draft.isUnclear = draft.isUnreadable = true;
    },
  },
  {
    name: "an odd request target",
    applies: anywhere,
    apply(draft, random) {
      draft.origin = random.pick([
        "http://127.0.0.1",
        "http://elsewhere.example",
        "/",
        "/.",
        "/..",
        "//x",
        "x",
        "/%2e",
      ]);
      draft.isUnreadable = true;
    },
  },
  {
    name: "HTTP of another version",
    weight: 0.5,
    applies: anywhere,
    apply(draft, random) {
      draft.httpVersion = random.pick(["HTTP/1.0", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "http/1.1"]);
      draft.isUnreadable = draft.httpVersion !== "HTTP/1.0";
    },
  },
  {
    name: "headers twice",
    applies: anywhere,
    apply(draft, random) {
      const [name, value] = random.pick(
        [...draft.headers, ["Authorization", "Bearer x"], ["X-Request-Id", "a"]] as const,
      );
      draft.headers.push([name, value], [name, random.pick(headerValues)]);
      draft.isRaw = true;
    },
  },
  {
    name: "an odd Host",
    applies: anywhere,
    apply(draft, random) {
      const hosts = [
        "",
        " ",
        "a b",
        "[::1",
        "x:99999",
        "é",
        "\xff",
        "a/b",
        "a?b#c",
        "user@x",
        "%zz",
        "localhost:0",
        "..",
      ];
      draft.headers.push(["Host", random.pick(hosts)]);
      // The runtime builds the URL from it, so a path in it becomes part of the URL.
      draft.isUnclear = draft.isUnreadable = true;
    },
  },
  {
    name: "no Host",
    weight: 0.5,
    applies: anywhere,
    apply(draft) {
      draft.headers.push(["Host", noHost]);
      draft.isUnreadable = true;
    },
  },
  {
    name: "a header of forbidden bytes",
    applies: anywhere,
    apply(draft, random) {
      const value = random.pick(["a\0b", "a\nb", "a\rb", "\x01", "\x7f", "日本語", "😀"]);
      draft.headers.push([random.pick([...headerNames, "Authorization", "Content-Type"]), value]);
      draft.isUnreadable = true;
    },
  },
  {
    name: "an Upgrade to another protocol",
    applies: anywhere,
    apply(draft, random) {
      draft.headers.push(["Upgrade", random.pick(["websocket", "h2c", "WebSocket, x", "nonsense"])]);
      // Without a key, so that no socket opens.
      if (random.chance(0.7)) draft.headers.push(["Sec-WebSocket-Version", random.pick(["13", "8", "x"])]);
      draft.headers.push(["Connection", "close, Upgrade"]);
      // With a body Deno itself answers 400.
      draft.isUnreadable = true;
    },
  },
];

/** Marks a request without a Host header. */
export const noHost = "no Host at all";

/** Faults in groups, with their weights. */
export const faultGroups: { weight: number; faults: Fault[] }[] = [
  { weight: 3, faults: bodyFaults },
  { weight: 5, faults: parameterFaults },
  { weight: 3, faults: headerFaults },
  { weight: 0.5, faults: httpFaults },
];
