/** A server with prepared answers, and a client of the SDK with a clock in the test's hand. */
import assert from "node:assert/strict";
import type { Client, ClientOptions } from "@slotkeeper/client";
import { createClientWithTiming } from "../../src/client/client.ts";
import { ManualTiming } from "./manual_timing.ts";

interface ReceivedRequest {
  method: string;
  key: string | null;
  authorization: string | null;
  body: string;
}

interface StandIn extends AsyncDisposable {
  url: string;
  received: ReceivedRequest[];
}

type Answer = (request: Request) => Response | Promise<Response>;

/** Starts a server that answers each request with the next of `answers`, and then with the last one. */
export function startStandIn(...answers: Answer[]): StandIn {
  const received: ReceivedRequest[] = [];
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { method, headers } = request;
    const [key, authorization] = [headers.get("Idempotency-Key"), headers.get("Authorization")];
    const answer = answers[Math.min(received.length, answers.length - 1)];
    received.push({ method, key, authorization, body: await request.text() });
    assert(answer);
    return await answer(request);
  });
  return { url: `http://127.0.0.1:${http.addr.port}`, received, [Symbol.asyncDispose]: () => http.shutdown() };
}

export const ok = (): Response => Response.json({ id: 1 });
/** The error page of a proxy. */
export const page = (status: number): Answer => () =>
  new Response("<html><h1>Sorry</h1></html>", { status, headers: { "Content-Type": "text/html" } });

export function problem(status: number, code: string, headers: Record<string, string> = {}): Answer {
  const type = `urn:slotkeeper:problem:${code}`;
  const body = { type, title: code, status, detail: `It is ${code}.`, code, error: code, requestId: "r1" };
  return () => Response.json(body, { status, headers: { "Content-Type": "application/problem+json", ...headers } });
}

interface ClientParts {
  client: Client;
  timing: ManualTiming;
}

export function newClient({ url }: { url: string }, options: Partial<ClientOptions> = {}): ClientParts {
  const timing = new ManualTiming();
  return { client: createClientWithTiming({ baseUrl: url, token: "t", ...options }, timing), timing };
}

export const body = { roomId: 1, timeslotId: 17 };
