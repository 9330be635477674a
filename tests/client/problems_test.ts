/** Problems and unexpected answers in programs that use the SDK. */
import assert from "node:assert/strict";
import { createClient, isProblem, ProblemError, unwrap } from "@slotkeeper/client";
import { newRoom } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

Deno.test("unwrap: createBooking with an invalid timeslot -> ProblemError with all fields of the problem", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const client = createClient({ baseUrl: server.url, token: await server.token("alice") });
  const book = () => client.POST("/api/v1/bookings", { body: { roomId: room.id, timeslotId: 0 } });
  const { error, response } = await book();
  assert(isProblem(error) && isProblem(error, "validation_failed") && isProblem(error, "token_missing", error.code));
  assert(!isProblem(error, "timeslot_unavailable"));
  assert.equal(error.errors.length, 1);
  assert.equal(error.requestId, response.headers.get("X-Request-Id"));
  const failure = await unwrap(book()).then(() => assert.fail(), (failure: unknown) => failure);
  assert(failure instanceof ProblemError && failure instanceof Error && isProblem(failure, "validation_failed"));
  assert.equal(failure.message, failure.detail);
  assert.equal(`${failure}`, `ProblemError: ${failure.detail}`);
  assert.deepEqual({ ...failure, requestId: "" }, { ...error, requestId: "" });
});

Deno.test("isProblem: `type` and `code` do not match, or one is missing -> false", () => {
  const type = "urn:slotkeeper:problem:token_missing";
  assert(isProblem({ type, code: "token_missing" }));
  for (
    const error of [
      undefined,
      null,
      "token_missing",
      502,
      new Error("token_missing"),
      {},
      { code: "token_missing" },
      { type },
      { type, code: "token_invalid" },
      { type: "about:blank", code: "token_missing" },
      { type: "urn:slotkeeper:problem:undefined", code: null },
    ]
  ) assert(!isProblem(error), JSON.stringify(error));
});

Deno.test("unwrap: getRoom 200 -> the room; 304 -> UnexpectedAnswerError", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  const client = createClient({ baseUrl: server.url, token: await server.token("admin", "admin") });
  const path = { roomId: room.id };
  const { data, response } = await client.GET("/api/v1/bookings/rooms/{roomId}", { params: { path } });
  assert.deepEqual(data, room);
  const header = { "If-None-Match": response.headers.get("ETag") ?? "" };
  const unchanged = client.GET("/api/v1/bookings/rooms/{roomId}", { params: { path, header } });
  await assert.rejects(unwrap(unchanged), { name: "UnexpectedAnswerError", message: /304/ });
  assert.equal((await unchanged).response.status, 304);
});

Deno.test("createClient: no token, with or without an own `fetch` -> public operations work", async () => {
  await using server = await sharedServer();
  const room = await newRoom(server);
  for (const fetch of [undefined, (request: Request) => globalThis.fetch(request)]) {
    const client = createClient({ baseUrl: server.url, ...(fetch === undefined ? {} : { fetch }) });
    const params = { path: { roomId: room.id } };
    assert.deepEqual(await unwrap(client.GET("/api/v1/bookings/rooms/{roomId}", { params })), room);
  }
});
