/** The server under test with its rows, and the tokens of callers. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { ApiKeyScope } from "../../../generated/contract.ts";
import { isSandboxPayments, type SandboxEvent } from "../../../src/payments/sandbox.ts";
import { newBooking, newRoom, newTimeslots } from "../../support/builders.ts";
import { startServer, testSecret, type TestServer } from "../../support/server.ts";
import { newExampleRows, prepareFor } from "../example_calls.ts";
import { parsed } from "./checker.ts";
import type { Target } from "./send.ts";
import { rows } from "./values.ts";

/** Room 1 has most timeslots. Two users have bookings in it and in rooms of the examples. */
export async function startFuzzServer(): Promise<TestServer> {
  const server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" }, pool: 8 });
  const room = await newRoom(server);
  const timeslots = [];
  for (const date of ["2026-03-09", "2026-03-10", "2026-03-11"]) {
    timeslots.push(...await newTimeslots(server, room, { date, slotDuration: 5, workingHours: { end: "24:00" } }));
  }
  for (let count = 0; count < 8; count++) await newExampleRows(server);
  // More of these, because each can be refunded only until nothing is left.
  for (let count = 0; count < 8; count++) await prepareFor(server, "refundBooking", await newExampleRows(server));
  for (const [index, timeslot] of timeslots.slice(-rows).entries()) {
    await newBooking(server, index % 8 === 0 ? "mallory" : "alice", timeslot);
  }
  return server;
}

export async function fuzzTarget(server: TestServer): Promise<Target> {
  const { url, token, payments } = server;
  const { hostname, port } = new URL(url);
  const admin = await token("admin", "admin");
  const { key } = await server.ok("createApiKey", {
    token: admin,
    body: { name: "Fuzz", scopes: ApiKeyScope.options },
  });
  assert(isSandboxPayments(payments));
  const expired = new SignJWT({ sub: "alice", exp: 1_000_000_000 }).setProtectedHeader({ alg: "HS256" });
  return {
    hostname,
    port: Number(port),
    tokens: {
      alice: await token("alice"),
      mallory: await token("mallory"),
      admin,
      apiKey: key,
      expired: await expired.sign(new TextEncoder().encode(testSecret)),
      garbage: "garbage",
      none: "",
    },
    async sign(body) {
      const event = parsed(body);
      // Signs any JSON. The server refuses unknown events.
      return event === undefined ? new Headers() : (await payments.sign(event as SandboxEvent)).headers;
    },
  };
}
