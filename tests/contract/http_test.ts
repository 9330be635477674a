/** Routes, methods, request ids, failures and the log, for every request. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { Problem } from "../../generated/contract.ts";
import { missingId, newRoom, newRoomWithTimeslot } from "../support/builders.ts";
import { type Call, sharedServer, startServer, type TestServer } from "../support/server.ts";
import { contractOperations, httpOperations } from "./document.ts";
import { contractServer, exampleCall, newExampleRows, pathOf } from "./example_calls.ts";

/** Routes beside the operations of the contract. */
const docs = ["/", "/docs", "/docs/scalar.js", "/openapi.yaml", "/openapi.json"];
const contractPaths = [...new Set(contractOperations.map((operation) => operation.path))];

/** Replaces each parameter of a path with a number. */
const concrete = (path: string): string => path.replaceAll(/\{\w+\}/g, "1");

/** Returns the methods of a concrete path. GET includes HEAD. */
function methodsAt(path: string): string[] {
  if (docs.includes(path)) return ["GET", "HEAD"];
  const methods = contractOperations
    .filter((operation) => new RegExp(`^${operation.path.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(path))
    .map((operation) => operation.method);
  return [...new Set(methods.includes("GET") ? [...methods, "HEAD"] : methods)].sort();
}

async function problemOf(response: Response): Promise<Problem> {
  assert.equal(response.headers.get("Content-Type"), "application/problem+json");
  const problem = Problem.parse(await response.json());
  assert.equal(problem.requestId, response.headers.get("X-Request-Id"));
  assert.equal(problem.status, response.status);
  return problem;
}

/** Returns the log entries of one request. */
function logOf({ logged }: TestServer, requestId: string | null): Record<string, unknown>[] {
  return logged.map((entry): Record<string, unknown> => JSON.parse(entry))
    .filter((entry) => entry.requestId === requestId);
}

Deno.test("routes: unknown path -> 404 route_not_found", async () => {
  await using server = await sharedServer();
  const paths = [
    "/nowhere",
    "/api/v1",
    "/api/v2/bookings",
    "/api/v1/bookings/1/nowhere",
    "/api/v1/bookings/",
    "//",
    "/%00",
    "/%FF",
    "/api/v1//bookings",
    "/api/v1/bookings//rooms",
    "/api/v1/bookings%2Frooms",
  ];
  for (const path of paths) {
    for (const method of ["GET", "POST", "DELETE"]) {
      const problem = await problemOf(await fetch(`${server.url}${path}`, { method }));
      assert.equal(problem.code, "route_not_found", `${method} ${path}`);
      assert.equal(problem.status, 404);
    }
  }
});

Deno.test("routes: encoded characters of a path -> the route of the decoded path", async () => {
  await using server = await sharedServer();
  const { id } = await newRoom(server);
  for (const path of ["/api/v1/bookings/r%6Foms", `/api/v1/book%69ngs/rooms/${id}`, "/healt%68z"]) {
    const response = await fetch(server.url + path);
    await response.body?.cancel();
    assert.equal(response.status, 200, path);
  }
});

Deno.test("routes: path similar to a known one -> 404 route_not_found", async () => {
  await using server = await sharedServer();
  for (const path of ["/openapiXyaml", "/docs/scalarXjs", "/healthz/", "//healthz", "/api/v1/bookings/rooms/1/"]) {
    const { code } = await problemOf(await fetch(server.url + path));
    assert.equal(code, "route_not_found", path);
  }
});

Deno.test("routes: method that a path does not have -> 405, Allow has its methods", async () => {
  await using server = await sharedServer();
  for (const path of [...contractPaths.map(concrete), ...docs]) {
    const allowed = methodsAt(path);
    for (const method of ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]) {
      if (allowed.includes(method)) continue;
      const response = await fetch(`${server.url}${path}`, { method });
      assert.equal(response.headers.get("Allow"), allowed.join(", "), `${method} ${path}`);
      assert.equal((await problemOf(response)).code, "method_not_allowed", `${method} ${path}`);
      assert.equal(response.status, 405);
    }
  }
});

Deno.test("routes: HEAD -> status and type of GET, no body", async () => {
  await using server = await contractServer();
  const ids = await newExampleRows(server);
  const token = await server.token("admin", "admin");
  const targets = httpOperations.filter((operation) => operation.method === "GET").map((operation) => {
    return pathOf(operation, exampleCall(operation, ids));
  });
  assert(targets.length > 0);
  for (const path of [...targets, ...docs]) {
    const init = { headers: { Authorization: `Bearer ${token}` }, redirect: "manual" } as const;
    const get = await fetch(`${server.url}${path}`, init);
    assert((await get.text()).length > 0 || get.status === 302, path);
    const head = await fetch(`${server.url}${path}`, { ...init, method: "HEAD" });
    assert.equal(head.status, get.status, path);
    assert(head.status < 400, path);
    assert.equal(head.headers.get("Content-Type"), get.headers.get("Content-Type"), path);
    assert.equal(await head.text(), "", path);
  }
  const refused = await fetch(`${server.url}/api/v1/bookings`, { method: "HEAD" });
  assert.equal(refused.status, 401);
});

Deno.test("answers: short and long, HTTP/1.1 and HTTP/1.0 -> the same body, only a short one in HTTP/1.1 is a chunk", async () => {
  const server = await sharedServer();
  const short = await newRoom(server);
  const long = await newRoom(server, { metadata: { text: "é".repeat(2_000) } });
  const { hostname, port } = new URL(server.url);
  for (const [room, version, isChunk] of [[short, "1.1", true], [long, "1.1", false], [short, "1.0", false]] as const) {
    using connection = await Deno.connect({ hostname, port: Number(port) });
    const target = `/api/v1/bookings/rooms/${room.id}`;
    const request = `GET ${target} HTTP/${version}\r\nHost: ${hostname}\r\nConnection: close\r\n\r\n`;
    await connection.write(new TextEncoder().encode(request));
    const answer = await new Response(connection.readable).text();
    const [head = "", body = ""] = answer.split("\r\n\r\n", 2);
    const text = JSON.stringify(await server.ok("getRoom", { params: { roomId: room.id } }));
    const length = new TextEncoder().encode(text).length;
    assert.equal(body, isChunk ? `${length.toString(16).toUpperCase()}\r\n${text}\r\n0` : text);
    assert.equal(/^transfer-encoding: chunked$/im.test(head), isChunk, head);
    assert.equal(head.includes(`content-length: ${length}`), !isChunk, head);
  }
});

Deno.test("request id: valid -> kept, missing or invalid -> a new one, in header, problem and log", async (t) => {
  await using server = await sharedServer();
  const valid = ["a", "0198f0a2-6c1e-7c3a-9b51-2f6f1d9f2b11", "trace_id=42", "x".repeat(255)];
  const invalid = [undefined, "", "two words", "<script>", '"', "a\tb", "x".repeat(256), "caf\u00e9"];
  const made: string[] = [];
  for (const sent of [...valid, ...invalid]) {
    await t.step(`${sent?.slice(0, 40)}`, async () => {
      const headers: Record<string, string> = sent === undefined ? {} : { "X-Request-Id": sent };
      const response = await fetch(`${server.url}/nowhere`, { headers });
      const { requestId } = await problemOf(response);
      if (sent !== undefined && valid.includes(sent)) {
        assert.equal(requestId, sent);
      } else {
        assert.match(requestId, /^[0-9a-f-]{36}$/);
        made.push(requestId);
      }
      assert.equal(logOf(server, requestId).length, 1);
    });
  }
  assert.equal(new Set(made).size, invalid.length);
});

Deno.test("failures: answer that breaks the contract, statement that fails -> 500 without details, logged with the request id", async (t) => {
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const secret = "a note that nobody else may read";
  const token = await server.token("alice");
  const assertHidden = async (id: "listRooms" | "createBooking", logged: RegExp) => {
    const body = id === "createBooking"
      ? { timeslotId: timeslot.id, roomId: timeslot.roomId, notes: secret }
      : undefined;
    const answer = await server.call(id, { token, ...(body === undefined ? {} : { body }) });
    const problem = Problem.parse(answer.body);
    assert.equal(answer.status, 500);
    assert.deepEqual(answer.body, {
      type: "urn:slotkeeper:problem:internal_error",
      title: "Internal error",
      status: 500,
      detail: "Something went wrong on our side. Quote the requestId when you ask for help.",
      code: "internal_error",
      requestId: problem.requestId,
      error: "Something went wrong on our side. Quote the requestId when you ask for help.",
    });
    const [failure, ...others] = logOf(server, problem.requestId).filter((entry) => entry.level === "error");
    assert.deepEqual(others, []);
    assert.match(JSON.stringify(failure), logged);
    assert(!server.logged.join("\n").includes(secret));
  };

  await t.step("an answer that breaks the contract", async () => {
    await server.db.updateTable("rooms").set({ capacity: 0 }).execute();
    await assertHidden("listRooms", /listRooms returned an answer that breaks its contract.*capacity/);
  });
  await t.step("a statement that fails", async () => {
    await sql`alter table rooms rename to elsewhere`.execute(server.db);
    await assertHidden("listRooms", /relation \\"rooms\\" does not exist/);
    await assertHidden("createBooking", /relation \\"rooms\\" does not exist/);
  });
});

Deno.test("log: any request -> one entry, without tokens, notes and queries", async () => {
  await using server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const secret = "a note that nobody else may read";
  const token = await server.token("alice");
  const { id: userId } = await server.ok("getMe", { token });
  const body = { roomId: timeslot.roomId, timeslotId: timeslot.id, notes: secret };
  const get = async (path: string, method = "GET") => {
    const response = await fetch(`${server.url}${path}`, { method });
    await response.body?.cancel();
    return response;
  };
  const [rooms, post] = ["/api/v1/bookings/rooms", { method: "POST", route: "/api/v1/bookings" }];
  const create = (call: Call) => server.call("createBooking", { token, body, ...call });
  const cases: [() => Promise<{ headers: Headers }>, Record<string, unknown>][] = [
    [() => server.call("listRooms"), { method: "GET", route: rooms, status: 200 }],
    [() => get(`${rooms}/${missingId}?${token}`), { method: "GET", route: `${rooms}/{roomId}`, status: 400 }],
    [() => create({}), { ...post, status: 201, userId }],
    [() => create({ body: { ...body, [secret]: 1 } }), { ...post, status: 400, userId }],
    [() => create({ body: `{"notes":"${secret}` }), { ...post, status: 400, userId }],
    [() => create({ token: `${token}x` }), { ...post, status: 401 }],
    [() => server.call("getBookingStats", { token }), {
      method: "GET",
      route: "/api/v1/admin/bookings/stats",
      status: 403,
      userId,
    }],
    [() => get(`/nowhere/${token}?${token}`), { method: "GET", route: "other", path: "/nowhere/…", status: 404 }],
    [() => get("/api/v1/bookngs?page=2"), { method: "GET", route: "other", path: "/api/v1/bookngs", status: 404 }],
    [() => get(`/${"a/".repeat(300)}`), { method: "GET", route: "other", path: `/${"a/".repeat(99)}a…`, status: 404 }],
    [() => get("/healthz", "PATCH"), { method: "PATCH", route: "other", path: "/healthz", status: 405 }],
  ];
  for (const [request, expected] of cases) {
    const { headers } = await request();
    const requestId = headers.get("X-Request-Id");
    const entries = logOf(server, requestId);
    assert.equal(entries.length, 1);
    const { time, ms, ...rest } = entries[0] ?? {};
    assert.deepEqual(rest, { level: "info", message: "request", requestId, ...expected });
    assert(typeof time === "string" && new Date(time).toISOString() === time);
    assert(typeof ms === "number" && ms >= 0);
  }
  const log = server.logged.join("\n");
  for (const word of [secret, token, token.slice(token.lastIndexOf(".") + 1)]) assert(!log.includes(word), word);
});
