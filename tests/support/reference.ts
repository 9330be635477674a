/** The requests of the reference, as its form fills them in. */
import assert from "node:assert/strict";
import type { OperationId } from "./server.ts";

interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required?: boolean;
  example?: unknown;
  examples?: unknown;
  schema: Record<string, unknown>;
}

interface Operation {
  operationId: OperationId;
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  security: Record<string, string[]>[];
}

export interface FilledIn {
  id: OperationId;
  method: string;
  /** Path and query. */
  target: string;
  body: unknown;
  /** The security scheme whose token is sent. */
  scheme: string | undefined;
}

interface Reference {
  paths: Record<string, Record<string, Operation>>;
}

/** Returns the requests of the document of the reference, in its order. */
export function requestsOf({ paths }: Reference): FilledIn[] {
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => fillIn(path, method.toUpperCase(), operation))
  );
}

function fillIn(
  path: string,
  method: string,
  { operationId, parameters = [], requestBody, security }: Operation,
): FilledIn {
  const query = new URLSearchParams();
  let target = path;
  for (const { name, in: place, example: value, examples, schema, required } of parameters) {
    if (required !== true) {
      const sent = ["default", "enum", "examples", "example", "$ref"].filter((key) => key in schema);
      assert.deepEqual({ value, examples, sent }, { value: undefined, examples: undefined, sent: [] }, name);
      continue;
    }
    if (place === "path") target = target.replace(`{${name}}`, encodeURIComponent(String(value)));
    else if (place === "query") query.set(name, String(value));
    else throw new Error(`the header ${name} is filled in`);
  }
  const search = query.size === 0 ? "" : `?${query}`;
  const body = requestBody?.content["application/json"]?.example;
  return { id: operationId, method, target: target + search, body, scheme: Object.keys(security[0] ?? {})[0] };
}

/** Loads the document of the reference, and returns its requests. */
export async function readReference(url: string): Promise<FilledIn[]> {
  return requestsOf(await (await fetch(`${url}/docs/reference.json`)).json());
}

/** Answers to requests of the reference that are no success, at the first time or when they are sent again. */
export const refusals: Partial<Record<OperationId, { first?: string; again?: string }>> = {
  // Only the provider can sign. Only a WebSocket can shake hands.
  receivePaymentEvent: { first: "webhook_invalid", again: "webhook_invalid" },
  openSocket: { first: "upgrade_required", again: "upgrade_required" },
  createBooking: { again: "timeslot_unavailable" },
  cancelBooking: { again: "booking_not_cancellable" },
  rescheduleBooking: { again: "timeslot_unavailable" },
  deleteTimeslot: { again: "timeslot_not_found" },
  updateBookingStatus: { again: "invalid_status_transition" },
  retryRefund: { again: "no_failed_refund" },
  settleRefund: { again: "no_failed_refund" },
  refundBooking: { again: "booking_not_refundable" },
};
