/** Requests of the SDK that take too long, or that the caller aborts. */
import assert from "node:assert/strict";
import { type Client, ConnectionError, TimeoutError, unwrap } from "@slotkeeper/client";
import { body, newClient, ok, problem, startStandIn } from "./stand_in.ts";

const book = (client: Client) => client.POST("/api/v1/bookings", { body });

/** A failure of an attempt of `book` that took too long. */
function isTimeout(url: string) {
  return (failure: unknown) => {
    assert(failure instanceof TimeoutError && failure instanceof ConnectionError);
    assert.equal(failure.message, `No answer to POST ${url}/api/v1/bookings: the limit is 50 ms`);
    assert.equal(failure.name, "TimeoutError");
    assert(failure.cause instanceof DOMException && failure.cause.name === "TimeoutError");
    return true;
  };
}

Deno.test("timeoutMs: server does not answer -> attempt aborted, retried, last failure thrown", async () => {
  const end = Promise.withResolvers<void>();
  const silent = () => {
    expired.push(timing.fire(50));
    return end.promise.then(ok);
  };
  const expired: Promise<void>[] = [];
  await using server = startStandIn(silent, silent, silent, silent, ok);
  // The server waits for its answers when it shuts down.
  using _ = { [Symbol.dispose]: end.resolve };
  const { client, timing } = newClient(server, { timeoutMs: 50, retries: 2 });
  await assert.rejects(book(client), isTimeout(server.url));
  assert.equal(server.received.length, 3);
  assert.deepEqual(await unwrap(book(client)), { id: 1 });
  assert.equal(server.received.length, 5);
  await Promise.all(expired);
  assert.equal(timing.timers, 0);
});

Deno.test("timeoutMs: body stops in the middle -> attempt aborted, retried, last failure thrown", async () => {
  const end = Promise.withResolvers<void>();
  const stopped = () =>
    new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(new TextEncoder().encode('{"id":'));
          await end.promise;
          controller.close();
        },
      }),
    );
  await using server = startStandIn(stopped, stopped, stopped, stopped, ok);
  using _ = { [Symbol.dispose]: end.resolve };
  const expired: Promise<void>[] = [];
  const { client, timing } = newClient(server, {
    timeoutMs: 50,
    retries: 2,
    async fetch(request) {
      const response = await fetch(request);
      // The headers have arrived.
      if (response.headers.get("Content-Type") === null) expired.push(timing.fire(50));
      return response;
    },
  });
  await assert.rejects(book(client), isTimeout(server.url));
  assert.equal(server.received.length, 3);
  assert.deepEqual(await unwrap(book(client)), { id: 1 });
  assert.equal(server.received.length, 5);
  await Promise.all(expired);
  assert.equal(timing.timers, 0);
});

Deno.test("signal: aborted during an attempt, during a pause, or before the call -> its reason, no further attempt", async () => {
  const end = Promise.withResolvers<void>();
  const arrived = Promise.withResolvers<void>();
  await using server = startStandIn(
    () => (arrived.resolve(), end.promise.then(ok)),
    problem(429, "rate_limited", { "Retry-After": "60" }),
  );
  using _ = { [Symbol.dispose]: end.resolve };
  const { client, timing } = newClient(server);
  timing.hold();
  const reason = new RangeError("mine");
  const isReason = (failure: unknown) => failure === reason;

  const first = new AbortController();
  const answered = client.POST("/api/v1/bookings", { body, signal: first.signal });
  await arrived.promise;
  first.abort(reason);
  await assert.rejects(answered, isReason);

  const second = new AbortController();
  const paused = client.POST("/api/v1/bookings", { body, signal: second.signal });
  await timing.untilPauses(1);
  second.abort(reason);
  await assert.rejects(paused, isReason);
  assert.equal(server.received.length, 2);

  await assert.rejects(client.POST("/api/v1/bookings", { body, signal: AbortSignal.abort(reason) }), isReason);
  await assert.rejects(client.POST("/api/v1/bookings", { body, signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.equal(server.received.length, 2);
  assert.equal(timing.timers, 0);
});
