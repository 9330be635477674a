/** Protection of every route from browsers of other pages and from hostile clients: headers, origins, methods, slow bodies. */
import assert from "node:assert/strict";
import { Problem } from "../../generated/contract.ts";
import { Deadlines } from "../../src/http/deadlines.ts";
import { missingId } from "../support/builders.ts";
import { eventually } from "../support/process.ts";
import { sharedServer, startServer } from "../support/server.ts";
import { contractOperations } from "./document.ts";

const origin = "https://app.example";
const rooms = "/api/v1/bookings/rooms";

/** Sends a request byte by byte as given. Returns the answer up to the end of the connection, or until `isEnough`. */
async function exchange(url: string, request: string, isEnough: (answer: string) => boolean): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  await connection.write(new TextEncoder().encode(request));
  let answer = "";
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16_384);
  for (;;) {
    const count = await connection.read(buffer);
    if (count === null) return answer;
    answer += decoder.decode(buffer.subarray(0, count), { stream: true });
    if (isEnough(answer)) return answer;
  }
}

Deno.test("security headers: any answer of the API -> no guessing of types, no frames, no scripts", async () => {
  await using server = await sharedServer();
  const answers = [
    fetch(server.url + rooms),
    fetch(`${server.url}/nowhere`),
    fetch(`${server.url}/api/v1/me`),
    fetch(`${server.url}/openapi.yaml`),
    fetch(`${server.url}/healthz`, { method: "PATCH" }),
  ];
  for (const answer of await Promise.all(answers)) {
    await answer.body?.cancel();
    assert.equal(answer.headers.get("X-Content-Type-Options"), "nosniff", answer.url);
    assert.equal(answer.headers.get("Referrer-Policy"), "no-referrer", answer.url);
    assert.equal(answer.headers.get("X-Frame-Options"), "SAMEORIGIN", answer.url);
    assert.equal(
      answer.headers.get("Content-Security-Policy"),
      "default-src 'none'; frame-ancestors 'none'",
      answer.url,
    );
    assert.equal(answer.headers.get("X-Powered-By"), null);
    assert.equal(answer.headers.get("Server"), null);
  }
  const docs = await fetch(`${server.url}/docs`);
  await docs.body?.cancel();
  assert.match(docs.headers.get("Content-Security-Policy") ?? "", /script-src 'self' 'nonce-/);
});

Deno.test("CORS: page of CORS_ORIGINS -> may call the API and read its headers, other pages may not", async () => {
  await using server = await sharedServer({
    env: { CORS_ORIGINS: `${origin},https://other.example`, CORS_HEADERS: "X-App-Version, X-Tenant" },
  });
  const preflight = (from: string, path: string, method: string) =>
    fetch(server.url + path, {
      method: "OPTIONS",
      headers: {
        Origin: from,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key,if-match",
      },
    });
  const allowed = await preflight(origin, "/api/v1/bookings", "POST");
  assert.equal(allowed.status, 204);
  assert.equal(allowed.headers.get("Access-Control-Allow-Origin"), origin);
  assert.match(allowed.headers.get("Access-Control-Allow-Methods") ?? "", /POST.*PUT.*DELETE/);
  const contract = ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "X-Request-Id"];
  const added = ["traceparent", "tracestate", "baggage", "sentry-trace", "x-requested-with", "X-App-Version"];
  for (const name of [...contract, ...added]) {
    assert(allowed.headers.get("Access-Control-Allow-Headers")?.includes(name), name);
  }
  assert.equal((await preflight("https://evil.example", "/api/v1/bookings", "POST")).headers.get(allowOrigin), null);

  for (const path of [rooms, "/api/v1/me", "/nowhere"]) {
    const answer = await fetch(server.url + path, { headers: { Origin: origin } });
    await answer.body?.cancel();
    assert.equal(answer.headers.get(allowOrigin), origin, path);
    assert.match(answer.headers.get("Vary") ?? "", /Origin/);
    assert.equal(answer.headers.get("Access-Control-Allow-Credentials"), null);
    for (const name of ["ETag", "RateLimit", "Retry-After", "X-Request-Id", "Idempotency-Replayed", "Location"]) {
      assert(answer.headers.get("Access-Control-Expose-Headers")?.includes(name), name);
    }
    for (const other of ["https://evil.example", "null", `${origin}.evil.example`, "http://app.example"]) {
      const refused = await fetch(server.url + path, { headers: { Origin: other } });
      await refused.body?.cancel();
      assert.equal(refused.headers.get(allowOrigin), null, other);
    }
  }
});
const allowOrigin = "Access-Control-Allow-Origin";

Deno.test("CORS: no CORS_ORIGINS -> no Access-Control headers", async () => {
  await using server = await sharedServer();
  const answer = await fetch(server.url + rooms, { headers: { Origin: origin } });
  await answer.body?.cancel();
  assert.equal(answer.headers.get(allowOrigin), null);
});

Deno.test("methods: TRACE or an unknown method -> 405 with Allow, headers of the request not repeated", async () => {
  await using server = await sharedServer();
  const { host } = new URL(server.url);
  const paths = [rooms, "/api/v1/bookings", "/api/v1/me", "/healthz", "/docs"];
  for (const method of ["TRACE", "PROPFIND", "BREW", "get", "LINK"]) {
    for (const path of paths) {
      const request = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nX-Secret: mine\r\n\r\n`;
      const answer = await exchange(server.url, request, () => false);
      assert.match(answer, /^HTTP\/1\.1 405 /, `${method} ${path}: ${answer.slice(0, 200)}`);
      assert.match(answer, /\r\nallow: [A-Z, ]+\r\n/i);
      assert(!answer.includes("X-Secret"), "TRACE repeats the headers");
      const problem = Problem.parse(JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1)));
      assert.equal(problem.code, "method_not_allowed");
    }
  }
});

Deno.test("slow bodies: 20 incomplete after 10 seconds -> 408 request_timeout, other requests are served", async () => {
  let nowMs = 0;
  const deadlines = new Deadlines(() => nowMs);
  await using server = await startServer({ deadlines });
  const { host } = new URL(server.url);
  const token = await server.token("alice");
  const head = `POST /api/v1/bookings HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n` +
    `Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"roomId":`;
  let answered = 0;
  const slow = Array.from({ length: 20 }, async () => {
    const answer = await exchange(server.url, head, (answer) => answer.includes("}"));
    answered++;
    return answer;
  });
  await eventually(() => Promise.resolve(deadlines.count === 20));
  nowMs = 9_999;
  deadlines.expire();
  await server.ok("listRooms");
  assert.deepEqual([deadlines.count, answered], [20, 0]);
  // The server checks twice a second.
  nowMs = 10_000;
  for (const answer of await Promise.all(slow)) {
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert(answer.includes('"code":"request_timeout"'), answer);
  }
});

Deno.test("caching: any answer to a GET -> no-store, or revalidated each time", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  for (const { operationId: id, method } of contractOperations) {
    if (method !== "GET") continue;
    const { headers } = await server.call(id, {
      token,
      params: { roomId: missingId, bookingId: missingId },
      query: { date: "2026-03-09" },
    });
    assert.match(headers.get("Cache-Control") ?? "", /no-store|no-cache/, id);
  }
});
