/** The SDK with the timers of the runtime. tests/client has clocks that a test moves. */
import assert from "node:assert/strict";
import { createClient } from "@slotkeeper/client";

Deno.test("createClient: one 502 -> retried with the timers and the clock of the runtime", async () => {
  const sentAt: number[] = [];
  const fetch = () => {
    sentAt.push(performance.now());
    return Promise.resolve(sentAt.length === 1 ? new Response(null, { status: 502 }) : Response.json({ items: [] }));
  };
  const { data } = await createClient({ baseUrl: "http://127.0.0.1", fetch }).GET("/api/v1/bookings/rooms");
  assert.deepEqual(data, { items: [] });
  const [first = 0, second = 0, ...others] = sentAt;
  assert.deepEqual(others, []);
  // Timers may fire up to a millisecond early.
  assert(second - first >= 124, `${second - first} ms`);
});
