/** The edge: requests that it forwards and requests that it refuses. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { mintToken } from "../../src/auth/tokens.ts";
import { catalogue } from "../../src/contract/problems.ts";
import { newDatabase } from "../support/database.ts";
import { eventually, freePort, type ServerProcess, startServerProcess } from "../support/process.ts";
import { startServer, testSecret } from "../support/server.ts";
import { openSocket } from "../support/socket.ts";
import { cutAfter, isSkipped, startEdge } from "./edge/edge.ts";
import { dripInto } from "./edge/slow_client.ts";
import { startBreaker, startStandIn } from "./edge/stand_in.ts";

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: isSkipped, fn });
}

const kibibyte = 1_024;
const requestId = "a-request-of-ours";

interface Refusal {
  status: number;
  headers: Headers;
  code: string;
}

/** Reads a problem of the edge, which must have the form of the servers' problems. */
async function refusal(response: Response): Promise<Refusal> {
  const { status, headers } = response;
  assert.equal(headers.get("Content-Type"), "application/problem+json");
  const { type, title, code, detail, error, ...rest } = await response.json();
  assert.equal(type, `urn:slotkeeper:problem:${code}`);
  assert.equal(detail, error);
  assert.deepEqual(rest, { status, requestId: headers.get("X-Request-Id") });
  const known: Record<string, { status: number; title: string } | undefined> = catalogue;
  if (known[code] !== undefined) assert.deepEqual({ status, title }, known[code]);
  return { status, headers, code };
}

/** A body without a Content-Length. */
const chunked = (size: number) => new Blob([new Uint8Array(size)]).stream();

function startProduction(databaseUrl: string, env: Record<string, string> = {}): Promise<ServerProcess> {
  const settings = { DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: testSecret, RATE_LIMIT: "off", ...env };
  return startServerProcess("serve", settings);
}

function tokenOf(subject: string): Promise<string> {
  const auth = { secret: testSecret, jwksUrl: undefined, issuer: undefined, audience: undefined };
  return mintToken(auth, { subject, role: "user", lifetimeSeconds: 600 });
}

test("edge: forged X-Forwarded headers -> the server sees the real address and the client's request id", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url]);
  const forged = { "X-Forwarded-For": "203.0.113.7, 198.51.100.1", "X-Forwarded-Proto": "https" };
  await (await fetch(edge.url, { headers: { ...forged, "X-Request-Id": requestId } })).text();
  await (await fetch(edge.url, { headers: { "X-Request-Id": '"}' } })).text();
  const [first, second] = app.received.map(({ headers }) => headers);
  assert.equal(first?.get("X-Forwarded-For"), "127.0.0.1");
  assert.equal(first?.get("X-Forwarded-Proto"), "http");
  assert.equal(first?.get("X-Request-Id"), requestId);
  assert.match(second?.get("X-Request-Id") ?? "", /^[0-9a-f-]{36}$/);
});

test("edge: unknown methods -> the server refuses them, and names those of the path", async () => {
  await using server = await startServer();
  await using edge = await startEdge([server.url, server.url]);
  for (const method of ["TRACE", "PROPFIND", "PATCH"]) {
    const head = `${method} /api/v1/bookings HTTP/1.1\r\nHost: edge\r\nConnection: close\r\n\r\n`;
    const { text } = await dripInto(edge.port, { head });
    assert.match(text, /^HTTP\/1\.1 405 .*\r\nallow: GET, HEAD, POST\r\n.*"code":"method_not_allowed"/s, method);
  }
});

test("edge: Expect: 100-continue -> 100 from the edge, but not in HTTP/1.0 (RFC 9110, 10.1.1)", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url]);
  const post = (version: string, body: string) => {
    const fields = ["Host: edge", "Connection: close", "Expect: 100-continue", "Content-Length: 2"];
    const head = [`POST / HTTP/${version}`, ...fields, "", body].join("\r\n");
    return dripInto(edge.port, { head, ...(body === "" ? { drop: "{}" } : {}) });
  };
  assert.match((await post("1.1", "")).text, /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
  assert.match((await post("1.0", "{}")).text, /^HTTP\/1\.\d 200 /);
});

test("edge: long headers, large bodies -> refused as problems, not forwarded", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url]);
  const send = async (method: string, init: RequestInit = {}) =>
    await refusal(
      await fetch(`${edge.url}/api/v1/bookings`, {
        method,
        ...init,
        headers: { ...init.headers, "X-Request-Id": requestId },
      }),
    );
  assert.equal((await send("GET", { headers: { "X-Long": "a".repeat(17 * kibibyte) } })).code, "malformed_request");
  const tooLong = 64 * kibibyte + 1;
  assert.equal((await send("POST", { body: new Uint8Array(tooLong) })).code, "body_too_large");
  assert.equal((await send("POST", { body: chunked(tooLong) })).code, "body_too_large");
  assert.deepEqual(app.received, []);

  for (const body of [new Uint8Array(tooLong - 1), chunked(tooLong - 1)]) {
    const response = await fetch(edge.url, { method: "POST", body, headers: { "X-Long": "a".repeat(15 * kibibyte) } });
    assert.equal(await response.text(), "ok");
  }
});

test("edge: slow requests, silent connections and TLS handshakes -> cut within 10 seconds", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url]);
  await using secure = await startSecureEdge(app.url);
  const post = "POST / HTTP/1.1\r\nHost: edge\r\n";
  const cut = await Promise.all([
    dripInto(edge.port, { head: `${post}X-Slow: `, drop: "a" }),
    dripInto(edge.port, { head: `${post}Content-Length: 1000\r\n\r\n`, drop: "a" }),
    dripInto(edge.port, { head: `${post}Transfer-Encoding: chunked\r\n\r\n800\r\n`, drop: "a" }),
    dripInto(edge.port, { head: "" }),
    dripInto(secure.port, { head: "\x16\x03\x01", drop: "\x01" }),
  ]);
  // The log of the edge has the times of requests. Of connections without a request the test sees the end, maybe late.
  for (const { ms } of cut.slice(3)) assert(ms < 20_000, `${ms} ms`);
  await eventually(() => Promise.resolve(cutAfter(edge).length === 3));
  for (const ms of cutAfter(edge)) assert(ms < 10_000, `${ms} ms`);
  const answers = cut.map(({ text }) => /^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);
  assert.deepEqual(answers, ["408", "408", "408", undefined, undefined]);
  assert.match(cut[1].text, /"code":"request_timeout"/);
  assert.deepEqual(app.received, []);
});

test("edge: plain HTTP -> redirect to HTTPS; no certificate -> does not start", async () => {
  await using app = startStandIn();
  await using edge = await startSecureEdge(app.url);
  const plain = await fetch(`${edge.url}/docs?a=b`, { redirect: "manual" });
  await plain.body?.cancel();
  assert.equal(plain.status, 308);
  assert.equal(plain.headers.get("Location"), `https://127.0.0.1:${new URL(edge.url).port}/docs?a=b`);

  using client = Deno.createHttpClient({ caCerts: [edge.certificate] });
  const response = await fetch(`https://localhost:${edge.port}/`, { client });
  assert.equal(await response.text(), "ok");
  assert.match(response.headers.get("Strict-Transport-Security") ?? "", /^max-age=/);
  assert.equal(app.received[0]?.headers.get("X-Forwarded-Proto"), "https");
  await assert.rejects(startEdge([app.url, app.url], { EDGE_CERTIFICATE: "" }), /missing certificate location/);
});

test("edge: WebSocket -> open while it sends, cut when it is silent or reads nothing", async () => {
  await using server = await startServer();
  // Longer than a pause of a busy machine.
  await using edge = await startEdge([server.url, server.url], { EDGE_TUNNEL_TIMEOUT: "6s" });
  await using app = startStandIn();
  await using talking = await startEdge([app.url, app.url], { EDGE_TUNNEL_TIMEOUT: "1s" });
  const speaks = async () => {
    await using socket = await openSocket(edge, { token: await server.token("alice") });
    const beats = setInterval(() => socket.send({ action: "ping" }), 200);
    // 40 pings take 8 seconds, longer than the timeout.
    await socket.until((frames) => frames.filter(({ event }) => event === "pong").length === 40);
    clearInterval(beats);
  };
  const isSilent = async () => {
    const socket = await openSocket(edge, { token: await server.token("bob") });
    socket.send({ action: "ping" });
    await socket.expect("pong");
    await socket.closed;
    // The edge closed it, not the server.
    await eventually(() => Promise.resolve(/"status":101,.*"end":"[cs]D--"/.test(edge.log())));
  };
  const takesNothing = async () => {
    const ended = app.socketEnded();
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: talking.port });
    const handshake = "GET /api/v1/ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    await connection.write(new TextEncoder().encode(handshake));
    // Its pings do not keep it open.
    const ping = new Uint8Array([0x89, 0x80, 0, 0, 0, 0]);
    const beats = setInterval(() => connection.write(ping).catch(() => {}), 200);
    await ended;
    clearInterval(beats);
    connection.close();
  };
  await Promise.all([speaks(), isSilent(), takesNothing()]);
});

test("edge: `Upgrade` on a path that is not the socket's -> neither it nor its settings reach a server", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url]);
  const { hostname, port } = new URL(edge.url);
  for (const upgrade of ["h2c", "websocket"]) {
    const connection = await Deno.connect({ hostname, port: Number(port) });
    const head = [
      "POST /api/v1/bookings HTTP/1.1",
      "Host: edge",
      "Connection: close, Upgrade, HTTP2-Settings",
      `Upgrade: ${upgrade}`,
      "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
      "Content-Length: 2",
    ];
    await connection.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n{}`));
    assert.match(await new Response(connection.readable).text(), /^HTTP\/1\.1 200 /, upgrade);
  }
  assert.equal(app.received.length, 2);
  for (const { headers } of app.received) {
    assert.equal(headers.get("Upgrade"), null);
    assert.equal(headers.get("HTTP2-Settings"), null);
    assert.doesNotMatch(headers.get("Connection") ?? "", /upgrade/i);
  }
});

test("edge: too many WebSockets from one address -> 429 rate_limited", async () => {
  await using app = startStandIn();
  await using edge = await startEdge([app.url, app.url], { EDGE_SOCKETS_PER_MINUTE: "2" });
  const attempt = (path: string) => fetch(edge.url + path);
  for (let time = 0; time < 2; time++) await (await attempt("/api/v1/ws")).body?.cancel();
  // Also with an escaped path.
  const { status, code, headers } = await refusal(await attempt("/api/v1/%77s"));
  assert.deepEqual([status, code, headers.get("Retry-After")], [429, "rate_limited", "60"]);
  assert.equal(await (await attempt("/")).text(), "ok");
});

test("edge: server not ready -> gets no requests, reads never fail", async () => {
  await using tired = startStandIn(() => new Response("tired", { status: 503 }));
  await using fresh = startStandIn();
  await using edge = await startEdge([tired.url, fresh.url]);
  tired.isReady = false;
  for (let time = 0; time < 20; time++) assert.equal(await (await fetch(edge.url)).text(), "ok");
  const post = async () => await (await fetch(edge.url, { method: "POST" })).text();
  await eventually(async () => await post() === "ok" && await post() === "ok");
  const before = tired.received.length;
  for (let time = 0; time < 20; time++) assert.equal(await post(), "ok");
  assert.equal(tired.received.length, before);
});

test("edge: POST with a lost answer or 503 -> sent once, 502 or 503 to the client", async () => {
  using breaker = startBreaker();
  await using edge = await startEdge([breaker.url, breaker.url]);
  const post = { method: "POST", body: "{}", headers: { "X-Request-Id": requestId } };
  const { status, code } = await refusal(await fetch(edge.url, post));
  assert.deepEqual([status, code, breaker.requests()], [502, "bad_gateway", 1]);

  await using tired = startStandIn(() => new Response("tired", { status: 503 }));
  await using other = await startEdge([tired.url, tired.url]);
  assert.equal(await (await fetch(other.url, post)).text(), "tired");
  assert.equal(tired.received.length, 1);
});

test("edge: server killed, then one drained -> requests succeed; no server -> 503", async () => {
  await using database = await newDatabase();
  // The system assigns no port below 32768 while the server is down.
  const PORT = `${freePort()}`;
  await using first = await startProduction(database.url, { PORT });
  await using second = await startProduction(database.url);
  await using edge = await startEdge([first.url, second.url]);
  const rooms = `${edge.url}/api/v1/bookings/rooms`;
  const ask = async () => (await (await fetch(rooms)).json()).total;
  first.signal("SIGKILL");
  await first.end();
  for (let time = 0; time < 30; time++) assert.equal(await ask(), 0);

  // The edge must notice that the server is down before the next one starts.
  const logs = (text: string) => eventually(() => Promise.resolve(edge.log().includes(text)));
  await logs("Server requests/app1 is DOWN");
  await using third = await startProduction(database.url, { PORT });
  await logs("Server requests/app1 is UP");
  const socket = await openSocket(edge, { token: await tokenOf("alice") });
  const holds = ({ stdout }: ServerProcess) => stdout().includes('"/api/v1/ws"');
  await eventually(() => Promise.resolve(holds(second) || holds(third)));
  const [drained, left] = holds(second) ? [second, third] : [third, second];
  drained.signal("SIGTERM");
  let isGone = false;
  const end = drained.end().then(() => isGone = true);
  while (!isGone) assert.equal(await ask(), 0);
  await end;
  assert.equal((await socket.closed).code, 1012);

  left.signal("SIGTERM");
  await left.end();
  const { status, code, headers } = await refusal(await fetch(rooms));
  assert.deepEqual([status, code, headers.get("Retry-After")], [503, "service_unavailable", "5"]);
});

/** Starts the edge with TLS. `port` is for HTTPS, `url` for HTTP. */
async function startSecureEdge(app: string) {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_edge_" });
  const [key, certificate, both] = ["key.pem", "certificate.pem", "both.pem"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const made = await new Deno.Command("openssl", {
    args: "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost".split(" ")
      .concat("-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE")
      .concat("-keyout", key, "-out", certificate),
  }).output();
  assert(made.success, new TextDecoder().decode(made.stderr));
  const text = await Deno.readTextFile(certificate);
  await Deno.writeTextFile(both, text + await Deno.readTextFile(key));
  const port = freePort();
  const edge = await startEdge([app, app], { EDGE_HTTPS: `127.0.0.1:${port}`, EDGE_CERTIFICATE: both });
  return {
    ...edge,
    port,
    certificate: text,
    async [Symbol.asyncDispose]() {
      await edge[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}
