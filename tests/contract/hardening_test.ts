/** What a browser and a hostile client meet, whichever operation they reach: headers, origins, methods, slow bodies. */
import assert from "node:assert/strict";
import { Problem } from "../../generated/contract.ts";
import { startServer } from "../support/server.ts";
import { contractOperations } from "./document.ts";

const origin = "https://app.example";
const rooms = "/api/v1/bookings/rooms";

/** Sends a request as it is written, and returns all that is answered until the server or `enough` ends it. */
async function exchange(url: string, request: string, enough: (answer: string) => boolean): Promise<string> {
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
    if (enough(answer)) return answer;
  }
}

Deno.test("every answer but the pages' keeps browsers from guessing, framing and running anything", async () => {
  await using server = await startServer();
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

Deno.test("pages of CORS_ORIGINS may call the API, read its headers, and no others may", async () => {
  await using server = await startServer({ env: { CORS_ORIGINS: `${origin},https://other.example` } });
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
  for (const name of ["Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match"]) {
    assert(allowed.headers.get("Access-Control-Allow-Headers")?.includes(name), name);
  }
  assert.equal((await preflight("https://evil.example", "/api/v1/bookings", "POST")).headers.get(allowOrigin), null);

  for (const path of [rooms, "/api/v1/me", "/nowhere"]) {
    const answer = await fetch(server.url + path, { headers: { Origin: origin } });
    await answer.body?.cancel();
    assert.equal(answer.headers.get(allowOrigin), origin, path);
    assert.match(answer.headers.get("Vary") ?? "", /Origin/);
    assert.equal(answer.headers.get("Access-Control-Allow-Credentials"), null);
    for (const name of ["ETag", "RateLimit", "Retry-After", "X-Request-Id", "Idempotency-Replayed"]) {
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

Deno.test("without CORS_ORIGINS no page elsewhere is told anything", async () => {
  await using server = await startServer();
  const answer = await fetch(server.url + rooms, { headers: { Origin: origin } });
  await answer.body?.cancel();
  assert.equal(answer.headers.get(allowOrigin), null);
});

Deno.test("TRACE and methods that nobody knows answer 405 with Allow", async () => {
  await using server = await startServer();
  const { host } = new URL(server.url);
  const paths = [rooms, "/api/v1/bookings", "/api/v1/me", "/healthz", "/docs"];
  for (const method of ["TRACE", "PROPFIND", "BREW", "get", "LINK"]) {
    for (const path of paths) {
      const request = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\nX-Secret: mine\r\n\r\n`;
      const answer = await exchange(server.url, request, () => false);
      assert.match(answer, /^HTTP\/1\.1 405 /, `${method} ${path}: ${answer.slice(0, 200)}`);
      assert.match(answer, /\r\nallow: [A-Z, ]+\r\n/i);
      assert(!answer.includes("X-Secret"), "TRACE tells nobody what was sent");
      const problem = Problem.parse(JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1)));
      assert.equal(problem.code, "method_not_allowed");
    }
  }
});

Deno.test("a body that does not arrive within 10 seconds answers 408 request_timeout, and holds nobody else up", async () => {
  await using server = await startServer();
  const { host } = new URL(server.url);
  const token = await server.token("alice");
  const head = `POST /api/v1/bookings HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n` +
    `Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"roomId":`;
  const start = performance.now();
  const slow = Array.from({ length: 20 }, () => exchange(server.url, head, (answer) => answer.includes("}")));
  await server.ok("listRooms");
  for (const answer of await Promise.all(slow)) {
    assert.match(answer, /^HTTP\/1\.1 408 /);
    assert(answer.includes('"code":"request_timeout"'), answer);
  }
  const seconds = (performance.now() - start) / 1_000;
  assert(seconds >= 9.9 && seconds < 20, `${seconds}`);
});

Deno.test("nothing that the API answers may be stored by a cache without being asked for again", async () => {
  await using server = await startServer();
  const token = await server.token("admin", "admin");
  for (const { operationId: id, method } of contractOperations) {
    if (method !== "GET") continue;
    const { headers } = await server.call(id, {
      token,
      params: { roomId: 1, bookingId: 1 },
      query: { date: "2026-03-09" },
    });
    assert.match(headers.get("Cache-Control") ?? "", /no-store|no-cache/, id);
  }
});
