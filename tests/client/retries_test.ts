/** Requests of the SDK that are not answered: sent again so that they are done once, or not sent again at all. */
import assert from "node:assert/strict";
import {
  type Client,
  type ClientOptions,
  createClient,
  isProblem,
  UnexpectedAnswerError,
  unwrap,
} from "@slotkeeper/client";

/** A request as it came. */
interface Received {
  at: number;
  method: string;
  key: string | null;
  authorization: string | null;
  body: string;
}

interface StandIn extends AsyncDisposable {
  url: string;
  received: Received[];
}

type Answer = (request: Request) => Response | Promise<Response>;

/** Gives each request the next of `answers`, and the last one from then on. */
function startStandIn(...answers: Answer[]): StandIn {
  const received: Received[] = [];
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { method, headers } = request;
    const [key, authorization] = [headers.get("Idempotency-Key"), headers.get("Authorization")];
    const answer = answers[Math.min(received.length, answers.length - 1)];
    received.push({ at: performance.now(), method, key, authorization, body: await request.text() });
    assert(answer);
    return await answer(request);
  });
  return { url: `http://127.0.0.1:${http.addr.port}`, received, [Symbol.asyncDispose]: () => http.shutdown() };
}

const ok = () => Response.json({ id: 1 });
const noContent = () => new Response(null, { status: 204 });
/** A page of a proxy. */
const page = (status: number) => () =>
  new Response("<html><h1>Sorry</h1></html>", { status, headers: { "Content-Type": "text/html" } });

function refusal(status: number, code: string, headers: Record<string, string> = {}): Answer {
  const type = `urn:slotkeeper:problem:${code}`;
  const problem = { type, title: code, status, detail: `It is ${code}.`, code, error: code, requestId: "r1" };
  return () => Response.json(problem, { status, headers: { "Content-Type": "application/problem+json", ...headers } });
}

const clientOf = ({ url }: StandIn, options: Partial<ClientOptions> = {}): Client =>
  createClient({ baseUrl: url, token: "t", ...options });
const body = { roomId: 1, timeslotId: 17 };
const book = (client: Client) => client.POST("/api/v1/bookings", { body });

/** Milliseconds between one request and the next. */
function pauses({ received }: StandIn): number[] {
  return received.slice(1).map(({ at }, index) => at - (received[index]?.at ?? 0));
}

Deno.test("each attempt of a call has the same key and body, each call its own key, and a key that is given is kept", async () => {
  await using server = startStandIn(page(502), page(503), ok, page(504), ok, page(502), ok, page(502), ok);
  const client = clientOf(server);
  await unwrap(book(client));
  await unwrap(book(client));
  const header = { "Idempotency-Key": "my own" };
  await unwrap(client.POST("/api/v1/bookings", { body, params: { header } }));
  const path = { bookingId: 1 };
  await unwrap(client.PUT("/api/v1/bookings/{bookingId}/cancel", { params: { path } }));
  const keys = server.received.map(({ key }) => key);
  const [first, , , second, , , , last] = keys;
  assert.deepEqual(keys, [first, first, first, second, second, "my own", "my own", last, last]);
  assert.equal(new Set(keys).size, 4);
  for (const key of [first, second, last]) assert.match(key ?? "", /^[0-9a-f]{32}$/);
  for (const each of server.received.slice(0, 7)) assert.deepEqual(JSON.parse(each.body), body);
});

Deno.test("a Retry-After is waited for, with a chance of up to 250 ms, whatever it comes with", async () => {
  for (
    const answer of [
      refusal(429, "rate_limited", { "Retry-After": "1" }),
      refusal(503, "shutting_down", { "Retry-After": "1" }),
      refusal(409, "idempotency_in_progress", { "Retry-After": "1" }),
    ]
  ) {
    await using server = startStandIn(answer, ok);
    await unwrap(book(clientOf(server)));
    const [pause = 0] = pauses(server);
    assert(pause >= 999, `${pause} ms`);
    assert.equal(server.received[0]?.key, server.received[1]?.key);
  }
});

Deno.test("a Retry-After that is a date is waited for, too", async () => {
  let date = "";
  let cameAt = 0;
  await using server = startStandIn(
    (request) => {
      // Dates have whole seconds, so that of two seconds ahead is at least one away.
      date = new Date(Date.now() + 2_000).toUTCString();
      return refusal(503, "service_unavailable", { "Retry-After": date })(request);
    },
    () => {
      cameAt = Date.now();
      return page(502)();
    },
  );
  await book(clientOf(server, { retries: 1 }));
  assert(cameAt >= Date.parse(date) - 1, `it came at ${cameAt}, not after ${date}`);
});

Deno.test("a subscription whose ticket is refused asks for another one not before its Retry-After", async () => {
  await using server = startStandIn(
    refusal(429, "rate_limited", { "Retry-After": "2" }),
    refusal(403, "scope_missing"),
  );
  await assert.rejects(Array.fromAsync(clientOf(server).subscribe()), /scope_missing/);
  const [pause = 0, ...others] = pauses(server);
  assert(pause >= 1_999 && others.length === 0, `it was ${pause} ms`);
});

Deno.test("without a Retry-After the pauses grow, and a refusal that is one comes back at once", async () => {
  await using server = startStandIn(page(502), page(502), page(502), refusal(400, "timeslot_unavailable"));
  const { error } = await book(clientOf(server));
  assert(isProblem(error, "timeslot_unavailable"));
  assert.equal(server.received.length, 4);
  for (const [index, pause] of pauses(server).entries()) {
    assert(pause >= 125 * 2 ** index - 1, `pause ${index} was ${pause} ms`);
  }
  for (const status of [400, 401, 403, 404, 409, 410, 412, 413, 422, 500]) {
    await using other = startStandIn(refusal(status, "anything"));
    assert.equal((await book(clientOf(other))).response.status, status);
    assert.equal(other.received.length, 1, `${status}`);
  }
});

Deno.test("a Retry-After of more than a minute is left to the caller, and `retries: 0` leaves everything to them", async () => {
  await using server = startStandIn(refusal(429, "rate_limited", { "Retry-After": "61" }));
  const { error, response } = await book(clientOf(server));
  assert(isProblem(error, "rate_limited"));
  assert.equal(response.headers.get("Retry-After"), "61");
  assert.equal(server.received.length, 1);
  for (const answer of [page(502), refusal(429, "rate_limited", { "Retry-After": "1" })]) {
    await using other = startStandIn(answer);
    await assert.rejects(unwrap(book(clientOf(other, { retries: 0 }))));
    assert.equal(other.received.length, 1);
  }
});

Deno.test("an error page that stays is thrown by unwrap as what it is: not a refusal of Slotkeeper's", async () => {
  await using server = startStandIn(page(502));
  const answer = unwrap(book(clientOf(server, { retries: 2 })));
  await assert.rejects(answer, (failure) => {
    assert(failure instanceof UnexpectedAnswerError && !isProblem(failure));
    assert.equal(failure.status, 502);
    assert.match(String(failure.cause), /Sorry/);
    return true;
  });
  assert.equal(server.received.length, 3);
});

Deno.test("a page that comes in the place of an answer is told as what it is", async () => {
  await using server = startStandIn(page(200));
  await assert.rejects(unwrap(book(clientOf(server))), (failure) => {
    return failure instanceof UnexpectedAnswerError && failure.status === 200 && /Sorry/.test(String(failure.cause));
  });
  assert.equal(server.received.length, 1);
});

Deno.test("DELETE, which takes no key, is sent again only when it was not looked at", async () => {
  const remove = (client: Client) => client.DELETE("/api/v1/admin/rooms/{roomId}", { params: { path: { roomId: 1 } } });
  for (const answer of [refusal(429, "rate_limited", { "Retry-After": "1" }), refusal(408, "request_timeout")]) {
    await using server = startStandIn(answer, noContent);
    await unwrap(remove(clientOf(server)));
    assert.deepEqual(server.received.map(({ key }) => key), [null, null]);
  }
  for (const status of [502, 503, 504, 409]) {
    await using server = startStandIn(refusal(status, "anything", { "Retry-After": "1" }), noContent);
    assert.equal((await remove(clientOf(server))).response.status, status);
    assert.equal(server.received.length, 1);
  }
  const cut = startCutter("HTTP/1.1 204 No");
  await assert.rejects(remove(createClient({ baseUrl: cut.url })));
  assert.equal(cut.connections(), 1);
  await cut.close();
});

/** Cuts its first connections, up to `times`, after `text`; from then on the connection is answered in full. */
function startCutter(text: string, times = Infinity) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  let count = 0;
  const serving = (async () => {
    for await (const connection of listener) {
      const isCut = count++ < times;
      const json = JSON.stringify({ id: 1 });
      const whole = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${json.length}\r\n` +
        `Connection: close\r\n\r\n${json}`;
      await connection.read(new Uint8Array(1 << 16));
      await connection.write(new TextEncoder().encode(isCut ? text : whole));
      connection.close();
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    connections: () => count,
    close: () => (listener.close(), serving),
  };
}

Deno.test("a connection that is cut in the middle of a header or a body is an attempt that failed", async () => {
  for (
    const text of [
      "",
      "HTTP/1.1 200 O",
      'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"id"',
      'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"id"',
    ]
  ) {
    const cutter = startCutter(text, 2);
    assert.deepEqual(await unwrap(book(createClient({ baseUrl: cutter.url }))), { id: 1 });
    assert.equal(cutter.connections(), 3);
    await cutter.close();
  }
});

Deno.test("a server that never answers, not even with the rest of a body, is given up after `timeoutMs`", async () => {
  const atAll = (end: Promise<void>): Answer => () => end.then(ok);
  const whole = (end: Promise<void>): Answer => () =>
    new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(new TextEncoder().encode('{"id":'));
          await end;
          controller.close();
        },
      }),
    );
  await Promise.all([atAll, whole].map(async (never) => {
    const { promise, resolve: end } = Promise.withResolvers<void>();
    await using silent = startStandIn(never(promise));
    // One with an answer, which may take its time on a busy machine.
    await using server = startStandIn(never(promise), ok);
    // They end with their last answer.
    using _ = { [Symbol.dispose]: end };
    let attempts = 0;
    const impatient = clientOf(silent, { timeoutMs: 50, retries: 2, fetch: (request) => (attempts++, fetch(request)) });
    await assert.rejects(book(impatient), /No answer within 50 ms/);
    assert.equal(attempts, 3);
    assert.deepEqual(await unwrap(book(clientOf(server, { timeoutMs: 4_000 }))), { id: 1 });
    assert.equal(server.received.length, 2);
  }));
});

Deno.test("an abort ends a call while it is answered, while it waits, and before it began", async () => {
  const never = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  await using server = startStandIn(
    () => (arrived.resolve(), never.promise.then(ok)),
    refusal(429, "rate_limited", { "Retry-After": "60" }),
  );
  const isMine = (failure: unknown) => failure instanceof RangeError && failure.message === "mine";
  const mine = new RangeError("mine");

  const running = new AbortController();
  const first = clientOf(server).POST("/api/v1/bookings", { body, signal: running.signal });
  await arrived.promise;
  running.abort(mine);
  await assert.rejects(first, isMine);

  const waiting = new AbortController();
  const answered = Promise.withResolvers<void>();
  const client = clientOf(server, {
    fetch: async (request) => {
      const response = await fetch(request);
      // By its next turn the client has read it.
      setTimeout(answered.resolve);
      return response;
    },
  });
  const second = client.POST("/api/v1/bookings", { body, signal: waiting.signal });
  await answered.promise;
  waiting.abort(mine);
  await assert.rejects(second, isMine);
  assert.equal(server.received.length, 2);

  await assert.rejects(client.POST("/api/v1/bookings", { body, signal: AbortSignal.abort(mine) }), isMine);
  assert.equal(server.received.length, 2);
  never.resolve();
});

Deno.test("a function for tokens is asked before each attempt, and its failure is the caller's", async () => {
  await using server = startStandIn(page(502), page(502), ok);
  let asked = 0;
  await unwrap(book(clientOf(server, { token: () => Promise.resolve(`token ${++asked}`) })));
  const tokens = server.received.map(({ authorization }) => authorization);
  assert.deepEqual(tokens, ["Bearer token 1", "Bearer token 2", "Bearer token 3"]);
  const failing = clientOf(server, {
    token: () => {
      asked++;
      throw new RangeError("signed out");
    },
  });
  await assert.rejects(book(failing), (failure) => {
    return failure instanceof Error && /signed out/.test(failure.message) && failure.cause instanceof RangeError;
  });
  assert.equal(asked, 4);
  // What no header may have would fail each time.
  const pasted = () => {
    asked++;
    return "pasted…";
  };
  await assert.rejects(book(clientOf(server, { token: pasted })), /No token/);
  assert.equal(asked, 5);
  // Who names the caller by themselves is left alone.
  const headers = { Authorization: "Bearer mine" };
  await unwrap(clientOf(server).POST("/api/v1/bookings", { body, headers }));
  assert.equal(server.received.at(-1)?.authorization, "Bearer mine");
  await unwrap(book(createClient({ baseUrl: server.url })));
  assert.equal(server.received.at(-1)?.authorization, null);
});
