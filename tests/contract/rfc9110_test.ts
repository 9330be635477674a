/**
 * The duties of an origin server by RFC 9110, for the methods, headers and statuses that the API has. Each name begins
 * with the section.
 */
import assert from "node:assert/strict";
import { operations } from "../../generated/contract.ts";
import { newBooking, newRoom, newRoomWithTimeslot } from "../support/builders.ts";
import { type SharedServer, sharedServer, startServer } from "../support/server.ts";

interface RawAnswer {
  status: number;
  headers: Headers;
  /** All after the headers. */
  body: string;
}

/** Sends a request byte for byte, and reads the answer until the server closes the connection. */
async function sendRaw({ url }: { url: string }, head: string[], body = ""): Promise<RawAnswer> {
  const { hostname, port, host } = new URL(url);
  const connection = await Deno.connect({ hostname, port: Number(port) });
  const [line = "", ...fields] = head;
  const lines = [line, `Host: ${host}`, "Connection: close", ...fields, "", body];
  await connection.write(new TextEncoder().encode(lines.join("\r\n")));
  const text = await new Response(connection.readable).text();
  const [start = "", ...rest] = text.split("\r\n\r\n");
  const [status = "", ...received] = start.split("\r\n");
  const headers = new Headers(received.map((field): [string, string] => {
    const at = field.indexOf(":");
    return [field.slice(0, at), field.slice(at + 1).trim()];
  }));
  return { status: Number(status.split(" ")[1]), headers, body: rest.join("\r\n\r\n") };
}

const rooms = "/api/v1/bookings/rooms";

/** Paths with and without a token, and whether GET succeeds. */
async function readPaths(server: SharedServer): Promise<{ path: string; fields: string[] }[]> {
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const { id } = await newBooking(server, "alice", timeslot);
  const fields = [`Authorization: Bearer ${await server.token("alice")}`];
  const open = [
    rooms,
    `${rooms}/${room.id}`,
    `${rooms}/999999999`,
    `${rooms}?page=x`,
    "/nowhere",
    "/healthz",
    "/readyz",
  ];
  const pages = ["/", "/docs", "/docs/guides", "/openapi.json", "/openapi.yaml", "/favicon.ico", "/docs/scalar.js"];
  const own = ["/api/v1/bookings", `/api/v1/bookings/${id}`, "/api/v1/admin/bookings"];
  return [
    ...[...open, ...pages, ...own].map((path) => ({ path, fields: [] })),
    ...own.map((path) => ({ path, fields })),
  ];
}

Deno.test("8.6, 9.3.2: HEAD of any path -> status and headers of GET with its length, no body", async (t) => {
  await using server = await sharedServer();
  for (const { path, fields } of await readPaths(server)) {
    await t.step([path, ...fields.map((field) => field.slice(0, 20))].join(" "), async () => {
      const get = await sendRaw(server, [`GET ${path} HTTP/1.0`, ...fields]);
      const head = await sendRaw(server, [`HEAD ${path} HTTP/1.1`, ...fields]);
      assert.equal(head.status, get.status);
      assert.equal(head.body, "");
      // Ids, nonces and times are new in each answer, but as long.
      const length = get.headers.get("Content-Length");
      if (length !== null) assert.equal(head.headers.get("Content-Length"), length);
      if (length !== "0") assert.notEqual(head.headers.get("Content-Length"), "0", "HEAD has no length of its own");
      const kept = [
        "Content-Type",
        "ETag",
        "Cache-Control",
        "Allow",
        "WWW-Authenticate",
        "Location",
        "Content-Encoding",
      ];
      for (const name of kept) assert.equal(head.headers.get(name), get.headers.get(name), name);
    });
  }
});

Deno.test("9.3.2, 12.5.5: HEAD of a page with Accept-Encoding -> coding, length and Vary of GET", async (t) => {
  await using server = await sharedServer();
  for (const path of ["/docs/guides", "/docs/scalar.js", "/docs/reference.json", "/openapi.json", rooms]) {
    for (const coding of ["gzip", "identity", "gzip;q=0"]) {
      await t.step(`${path} ${coding}`, async () => {
        const answer = (method: string) =>
          sendRaw(server, [`${method} ${path} HTTP/1.1`, `Accept-Encoding: ${coding}`]);
        const [get, head] = [await answer("GET"), await answer("HEAD")];
        assert.equal(head.body, "");
        assert.notEqual(get.headers.get("Cache-Control"), null);
        for (const name of ["Content-Encoding", "Vary", "Content-Type", "ETag", "Cache-Control"]) {
          assert.equal(head.headers.get(name), get.headers.get(name), name);
        }
        const isCompressed = coding === "gzip" && path.startsWith("/docs");
        assert.equal(get.headers.get("Content-Encoding"), isCompressed ? "gzip" : null);
        const length = get.headers.get("Content-Length");
        if (length !== null) assert.equal(head.headers.get("Content-Length"), length);
      });
    }
  }
});

Deno.test("6.6.1: answers of 2xx, 3xx and 4xx -> Date", async () => {
  await using server = await sharedServer();
  for (const path of [rooms, "/", "/nowhere", "/api/v1/me"]) {
    const { headers } = await sendRaw(server, [`GET ${path} HTTP/1.1`]);
    assert(!Number.isNaN(Date.parse(headers.get("Date") ?? "")), path);
  }
});

Deno.test("7.8: Upgrade to a protocol that the server does not speak -> ignored", async () => {
  await using server = await sharedServer();
  const { status, headers } = await sendRaw(server, [`GET ${rooms} HTTP/1.1`, "Upgrade: h2c, foo/1"]);
  assert.deepEqual([status, headers.get("Upgrade")], [200, null]);
});

Deno.test("9.1: methods that the server does not know -> 405, also for a known path", async (t) => {
  await using server = await sharedServer();
  for (const method of ["PATCH", "TRACE", "PROPFIND", "LOCK", "FOO"]) {
    await t.step(method, async () => {
      const { status, headers } = await sendRaw(server, [`${method} /api/v1/bookings HTTP/1.1`]);
      assert.equal(status, 405);
      // 10.2.1 and 15.5.6: the methods that the path has.
      assert.deepEqual(headers.get("Allow")?.split(", ").sort(), ["GET", "HEAD", "POST"]);
    });
  }
});

Deno.test("10.2.1: 405 of each path -> Allow with exactly the methods of the contract", async () => {
  await using server = await sharedServer();
  const served = Object.values(operations).filter((each) => !each.isSandboxOnly).map(({ route }) => route);
  for (const path of new Set(served.map((route) => route.path))) {
    const url = path.replaceAll(/\{\w+\}/g, "1");
    // A path with a fixed part may also be one with a parameter.
    const fits = (template: string) => new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(url);
    const methods = served.filter((route) => fits(route.path)).map(({ method }) => method.toUpperCase());
    const expected = [...new Set(methods.includes("GET") ? [...methods, "HEAD"] : methods)];
    const { status, headers } = await sendRaw(server, [`PATCH ${url} HTTP/1.1`]);
    assert.equal(status, 405, path);
    assert.deepEqual(headers.get("Allow")?.split(", ").sort(), expected.sort(), path);
  }
});

Deno.test("11.6.1: 401 of any kind -> WWW-Authenticate with a challenge; RFC 6750, 3.1: 403 says insufficient_scope", async () => {
  await using server = await sharedServer();
  const challenges = async (...fields: string[]) =>
    (await sendRaw(server, ["GET /api/v1/admin/bookings HTTP/1.1", ...fields])).headers.get("WWW-Authenticate");
  assert.equal(await challenges(), "Bearer");
  assert.equal(await challenges("Authorization: Bearer x"), 'Bearer error="invalid_token"');
  assert.equal(await challenges("Authorization: Basic eDp5"), "Bearer");
  const alice = `Authorization: Bearer ${await server.token("alice")}`;
  assert.equal(await challenges(alice), 'Bearer error="insufficient_scope"');
  const body = { name: "Reader", scopes: ["events:read"] };
  const { key } = await server.ok("createApiKey", { token: await server.token("admin", "admin"), body });
  assert.equal(await challenges(`Authorization: Bearer ${key}`), 'Bearer error="insufficient_scope"');
});

Deno.test("8.3, 8.4, 12.5.3: Content-Type in any spelling -> accepted, a coding or another type -> 415 that names the reason", async (t) => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const post = (...fields: string[]) => {
    const body = '{"name":"Lounge","roomType":"office"}';
    const own = [`Authorization: Bearer ${token}`, `Content-Length: ${body.length}`];
    return sendRaw(server, ["POST /api/v1/admin/rooms HTTP/1.1", ...own, ...fields], body);
  };
  const types = [
    "APPLICATION/JSON",
    "application/json ; charset=utf-8",
    "application/json;",
    'application/json; a="b;c"',
  ];
  for (const type of types) {
    await t.step(type, async () => assert.equal((await post(`Content-Type: ${type}`)).status, 201));
  }
  const identity = await post("Content-Type: application/json", "Content-Encoding: identity");
  assert.equal(identity.status, 201);
  for (const type of ["text/plain", "application/jsonp", "application/json, text/plain", "application/json x"]) {
    await t.step(type, async () => {
      const { status, headers } = await post(`Content-Type: ${type}`);
      const named = ["Accept", "Accept-Encoding"].map((name) => headers.get(name));
      assert.deepEqual([status, ...named], [415, "application/json", null]);
    });
  }
  for (const coding of ["gzip", "br", "identity, gzip"]) {
    await t.step(coding, async () => {
      const { status, headers } = await post("Content-Type: application/json", `Content-Encoding: ${coding}`);
      const named = ["Accept", "Accept-Encoding"].map((name) => headers.get(name));
      assert.deepEqual([status, ...named], [415, null, "identity"]);
    });
  }
});

Deno.test("8.6: 304 and 204 -> no Content-Length", async () => {
  await using server = await startServer({ env: { CORS_ORIGINS: "https://desk.example" } });
  const tag = (await sendRaw(server, [`GET ${rooms} HTTP/1.1`])).headers.get("ETag");
  const preflight = ["Origin: https://desk.example", "Access-Control-Request-Method: POST"];
  const requests = [
    [`GET ${rooms} HTTP/1.1`, `If-None-Match: ${tag}`],
    [`HEAD ${rooms} HTTP/1.1`, `If-None-Match: ${tag}`],
    ["HEAD /openapi.json HTTP/1.1", "If-None-Match: *"],
    [`OPTIONS ${rooms} HTTP/1.1`, ...preflight],
  ];
  const answers = await Promise.all(requests.map((request) => sendRaw(server, request)));
  assert.deepEqual(answers.map(({ status }) => status), [304, 304, 304, 204]);
  for (const { headers } of answers) assert.equal(headers.get("Content-Length"), null);
});

Deno.test("9.3.1: GET with a body -> the body means nothing", async () => {
  await using server = await sharedServer();
  const { status } = await sendRaw(server, [`GET ${rooms} HTTP/1.1`, "Content-Length: 5"], "12345");
  assert.equal(status, 200);
});

Deno.test("9.3.6, 9.3.8: CONNECT and TRACE -> refused, nothing of the request is repeated", async () => {
  await using server = await sharedServer();
  const connect = await sendRaw(server, ["CONNECT example.com:443 HTTP/1.1"]);
  assert.equal(connect.status, 404);
  assert.match(connect.body, /No route matches [^"]*example\.com:443/);
  const trace = await sendRaw(server, [`TRACE ${rooms} HTTP/1.1`, "Cookie: secret"]);
  assert.deepEqual([trace.status, trace.body.includes("secret")], [405, false]);
});

// Deno answers 100 to HTTP/1.0 too. The edge drops the header, see tests/long/edge_test.ts.
Deno.test("10.1.1: Expect: 100-continue -> a status before the body has arrived", async () => {
  await using server = await sharedServer();
  const { hostname, port, host } = new URL(server.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const fields = [`Host: ${host}`, "Expect: 100-continue", "Content-Type: application/json", "Content-Length: 2"];
  await connection.write(new TextEncoder().encode(["POST /api/v1/bookings HTTP/1.1", ...fields, "", ""].join("\r\n")));
  const buffer = new Uint8Array(1_000);
  const text = new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  assert.match(text, /^HTTP\/1\.1 (100|401) /);
});

Deno.test("11.1: the name of the scheme -> in any case", async () => {
  await using server = await sharedServer();
  for (const scheme of ["bearer", "BEARER", "Bearer"]) {
    const fields = [`Authorization: ${scheme} ${await server.token("alice")}`];
    assert.equal((await sendRaw(server, ["GET /api/v1/me HTTP/1.1", ...fields])).status, 200);
  }
});

Deno.test("12.5.1: Accept without JSON -> JSON all the same, also for a refusal", async () => {
  await using server = await sharedServer();
  for (const [path, type] of [[rooms, "application/json"], ["/nowhere", "application/problem+json"]]) {
    const { headers } = await sendRaw(server, [`GET ${path} HTTP/1.1`, "Accept: text/html"]);
    assert.equal(headers.get("Content-Type"), type);
  }
});

Deno.test("13.2.1: condition of a request that is refused anyway -> the refusal", async () => {
  await using server = await sharedServer();
  const refused = async (head: string[], body: string) => {
    const own = [`Authorization: Bearer ${await server.token("admin", "admin")}`, "Content-Type: application/json"];
    return (await sendRaw(server, [...head, ...own, `Content-Length: ${body.length}`], body)).status;
  };
  const { id } = await newRoom(server);
  assert.equal((await sendRaw(server, [`GET ${rooms}/999999999 HTTP/1.1`, "If-None-Match: *"])).status, 404);
  const stale = 'If-Match: "stale"';
  assert.equal(await refused([`PUT /api/v1/admin/rooms/${id} HTTP/1.1`, stale], '{"capacity":-1}'), 400);
  assert.equal(await refused(["PUT /api/v1/admin/rooms/999999999 HTTP/1.1", stale], '{"capacity":2}'), 404);
  assert.equal((await sendRaw(server, [`DELETE /api/v1/admin/rooms/${id} HTTP/1.1`, stale])).status, 401);
});

Deno.test("13.1.1: If-Match with a tag that is not the present one -> 412 and no change, * -> done", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const token = await server.token("admin", "admin");
  const change = async (ifMatch: string) => {
    const fields = [`Authorization: Bearer ${token}`, "Content-Type: application/json", `If-Match: ${ifMatch}`];
    const body = JSON.stringify({ name: ifMatch });
    return await sendRaw(server, [
      `PUT /api/v1/admin/rooms/${room.id} HTTP/1.1`,
      ...fields,
      `Content-Length: ${body.length}`,
    ], body);
  };
  assert.equal((await change('"other"')).status, 412);
  assert.equal((await server.ok("getRoom", { params: { roomId: room.id } })).name, room.name);
  assert.equal((await change("*")).status, 200);
});

Deno.test("13.1.2, 15.4.5: If-None-Match with the tag of GET -> 304 with ETag and Cache-Control, no body", async (t) => {
  await using server = await sharedServer();
  const { room } = await newRoomWithTimeslot(server);
  for (const path of [rooms, `${rooms}/${room.id}`, "/openapi.json", "/openapi.yaml"]) {
    await t.step(path, async () => {
      const { headers } = await sendRaw(server, [`GET ${path} HTTP/1.1`]);
      const tag = headers.get("ETag") ?? assert.fail("no ETag");
      for (const method of ["GET", "HEAD"]) {
        for (const sent of [tag, `"other", W/${tag}`, "*"]) {
          const answer = await sendRaw(server, [`${method} ${path} HTTP/1.1`, `If-None-Match: ${sent}`]);
          assert.deepEqual([answer.status, answer.body], [304, ""]);
          for (const name of ["ETag", "Cache-Control"]) {
            assert.equal(answer.headers.get(name), headers.get(name), name);
          }
        }
      }
      const other = await sendRaw(server, [`GET ${path} HTTP/1.1`, 'If-None-Match: "other"']);
      assert.equal(other.status, 200);
    });
  }
});

Deno.test("13.2.1: If-Modified-Since and If-Range, for which there is no date -> ignored", async () => {
  await using server = await sharedServer();
  const past = "If-Modified-Since: Sat, 29 Oct 2044 19:43:31 GMT";
  assert.equal((await sendRaw(server, [`GET ${rooms} HTTP/1.1`, past])).status, 200);
});

Deno.test("14.2: Range -> ignored, the answer is whole", async () => {
  await using server = await sharedServer();
  const { status, headers } = await sendRaw(server, [`GET ${rooms} HTTP/1.1`, "Range: bytes=0-1", 'If-Range: "x"']);
  assert.deepEqual([status, headers.get("Content-Range")], [200, null]);
});

Deno.test("15.3.2: 201 of a new resource -> Location, where GET finds it", async () => {
  await using server = await sharedServer();
  const admin = await server.token("admin", "admin");
  const body = { name: "Lounge", roomType: "office" };
  const room = await server.call("createRoom", { token: admin, body });
  assert.equal(room.status, 201);
  const at = room.headers.get("Location") ?? "";
  assert.equal(at, `${rooms}/${Object(room.body).id}`);
  assert.deepEqual(await (await fetch(server.url + at)).json(), room.body);

  const { timeslot } = await newRoomWithTimeslot(server);
  const request = { token: await server.token("alice"), body: { roomId: timeslot.roomId, timeslotId: timeslot.id } };
  const headers = { "Idempotency-Key": "location" };
  for (const replay of [null, "true"]) {
    const booking = await server.call("createBooking", { ...request, headers });
    assert.equal(booking.headers.get("Idempotency-Replayed"), replay);
    assert.equal(booking.headers.get("Location"), `/api/v1/bookings/${Object(booking.body).booking.id}`);
  }
});

Deno.test("15.5.14, 15.5.16: body over the limit -> 413, other media type -> 415 without a change", async () => {
  await using server = await sharedServer();
  const fields = [`Authorization: Bearer ${await server.token("admin", "admin")}`];
  const post = (type: string, body: string) =>
    sendRaw(server, [
      "POST /api/v1/admin/rooms HTTP/1.1",
      ...fields,
      `Content-Type: ${type}`,
      `Content-Length: ${body.length}`,
    ], body);
  assert.equal((await post("text/plain", "{}")).status, 415);
  assert.equal((await post("application/json", `"${"x".repeat(65_536)}"`)).status, 413);
  assert.equal((await post("application/json; charset=utf-8", '{"name":"Lounge","roomType":"office"}')).status, 201);
});

Deno.test("15.5.22, 7.8: 426 -> Upgrade, Connection and the version of WebSockets", async () => {
  await using server = await sharedServer();
  const fields = [`Authorization: Bearer ${await server.token("alice")}`];
  const { status, headers } = await sendRaw(server, ["GET /api/v1/ws HTTP/1.1", ...fields]);
  assert.equal(status, 426);
  assert.equal(headers.get("Upgrade"), "websocket");
  assert.match(headers.get("Connection") ?? "", /Upgrade/);
  assert.equal(headers.get("Sec-WebSocket-Version"), "13");
});
