/** A valid call of each operation: the example of the contract, with the ids of existing rows. */
import assert from "node:assert/strict";
import { type Kysely, sql } from "kysely";
import type { Database } from "../../src/database/connect.ts";
import { newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import { type SharedServer, sharedServer, type TestServer } from "../support/server.ts";
import { accessOf, type ContractOperation, type Json, type JsonObject } from "./document.ts";

/** The server of tests that compare whole tables. No other tests fill its database. */
export function contractServer(): Promise<SharedServer> {
  return sharedServer({ group: "contract", env: { PAYMENT_PROVIDER: "sandbox" } });
}

/** Ids by the contract's names of parameters and fields. */
export type Ids = Record<string, number>;

/**
 * Makes a room, a pending booking of alice, a free timeslot at the same price, and an API key. The booking has a second
 * payment with a failed refund. With `operation` it makes only the rows that the example of the operation names,
 * in the state that it needs.
 */
export async function newExampleRows(server: TestServer, operation?: ContractOperation): Promise<Ids> {
  const admin = await server.token("admin", "admin");
  // The example of setSandboxClock moves the clock.
  await server.ok("resetSandboxClock", { token: admin });
  const named = operation === undefined ? undefined : namesOf(operation);
  const needs = (...names: string[]) => named === undefined || names.some((name) => named.includes(name));
  const ids: Ids = {};
  if (needs("roomId", "bookingId", "timeslotId", "newTimeslotId")) {
    const room = await newRoom(server);
    ids.roomId = room.id;
    if (needs("bookingId", "timeslotId", "newTimeslotId")) {
      const [booked, free] = await newTimeslots(server, room, { date: "2026-03-20" });
      assert(booked && free);
      const booking = await newBooking(server, "alice", booked);
      await failedRefund(server.db, booking.id);
      Object.assign(ids, {
        userId: booking.userId,
        bookingId: booking.id,
        timeslotId: free.id,
        newTimeslotId: free.id,
      });
    }
  }
  if (needs("apiKeyId")) {
    const body = { name: "Door displays", scopes: ["events:read"] };
    ids.apiKeyId = (await server.ok("createApiKey", { token: admin, body })).apiKey.id;
  }
  if (operation !== undefined) await prepareFor(server, operation.operationId, ids);
  return ids;
}

/** Brings the example rows into the state that an operation needs: refundBooking needs a cancelled booking. */
export async function prepareFor({ db }: TestServer, operationId: string, { bookingId }: Ids): Promise<void> {
  if (operationId !== "refundBooking") return;
  // As after a cancellation shortly before the start.
  await sql`
    update bookings set status = 'cancelled', cancellation_reason = 'user_request', cancelled_at = '2026-03-02Z',
      amount_paid = price, payment_status = 'paid', hold_expires_at = null
    where id = ${bookingId}
  `.execute(db);
}

/** Returns the names of the parameters and of the fields of the example. */
function namesOf({ parameters, requestBody }: ContractOperation): string[] {
  const example = requestBody?.content["application/json"].example ?? {};
  return [...parameters.filter(({ required }) => required === true).map(({ name }) => name), ...Object.keys(example)];
}

async function failedRefund(db: Kysely<Database>, bookingId: number): Promise<void> {
  await sql`
    with checkout as (
      insert into checkouts (id, booking_id, provider, created_at, closed_at)
      values (gen_random_uuid(), ${bookingId}, 'sandbox', '2026-03-02Z', '2026-03-02Z') returning id, booking_id
    ),
    payment as (
      insert into payments
        (provider, reference, checkout_id, booking_id, currency, amount, pays_booking, reported_refunded, paid_at)
      select 'sandbox', id::text, id, booking_id, 'EUR', 50, false, 0, '2026-03-02Z'::timestamptz from checkout
      returning id, booking_id
    ),
    refund as (
      insert into refunds (id, payment_id, booking_id, amount, target, status, idempotency_key, job_id, requested_at)
      select gen_random_uuid(), id, booking_id, 50, 50, 'failed', gen_random_uuid(), 0, '2026-03-02Z' from payment
    )
    update bookings set payment_status = 'refund_failed' where id = ${bookingId}
  `.execute(db);
}

export interface ExampleCall {
  params: JsonObject;
  query: JsonObject;
  body?: JsonObject;
}

/** Returns the required parameters and the body of the example, with `ids` instead of the example's ids. */
export function exampleCall({ operationId, parameters, requestBody }: ContractOperation, ids: Ids): ExampleCall {
  const call: ExampleCall = { params: {}, query: {} };
  for (const { name, in: place, required, example } of parameters) {
    if (required !== true) continue;
    const value = ids[name] ?? example;
    assert(value !== undefined, `${operationId} needs an example of its parameter ${name}`);
    call[place === "path" ? "params" : "query"][name] = value;
  }
  if (requestBody === undefined) return call;
  const { example } = requestBody.content["application/json"];
  const body = Object.fromEntries(Object.entries(example).map(([name, value]) => [name, ids[name] ?? value]));
  return { ...call, body };
}

/** Returns the path of the operation with its parameters. */
export function pathOf(
  { path }: ContractOperation,
  { params, query }: { params: JsonObject; query: [name: string, value: Json][] | JsonObject },
): string {
  const filled = path.replaceAll(/\{(\w+)\}/g, (_, name) => encodeURIComponent(String(params[name])));
  const search = new URLSearchParams();
  for (const [name, value] of Array.isArray(query) ? query : Object.entries(query)) search.append(name, String(value));
  return search.size === 0 ? filled : `${filled}?${search}`;
}

/** Returns a token that may call the operation on the example rows: none, alice's or an admin's. */
export async function tokenFor(server: TestServer, operation: ContractOperation): Promise<{ token?: string }> {
  switch (accessOf(operation)) {
    case "public":
      return {};
    case "admin":
      return { token: await server.token("admin", "admin") };
    default:
      return { token: await server.token("alice") };
  }
}

/** Parts to send instead of the example's. */
export interface Request {
  params?: Record<string, string>;
  query?: [name: string, value: string][];
  headers?: Record<string, string>;
  /** A query parameter that is left out. */
  without?: string;
  body?: BodyInit;
  /** `application/json` unless given; null sends none. */
  contentType?: string | null;
}

export type Send = (request: Request) => Promise<{ status: number; body: unknown }>;

/** Returns a function that sends the example of `operation`, with the parts of a {@link Request}. */
export async function sender(server: TestServer, operation: ContractOperation, ids: Ids): Promise<Send> {
  const example = exampleCall(operation, ids);
  const { token } = await tokenFor(server, operation);
  return async ({ params = {}, query = [], headers, without, body = JSON.stringify(example.body), contentType }) => {
    const replacedNames = [without, ...query.map(([name]) => name)];
    const others = Object.entries(example.query).filter(([name]) => !replacedNames.includes(name));
    const path = pathOf(operation, { params: { ...example.params, ...params }, query: [...others, ...query] });
    const response = await fetch(`${server.url}${path}`, {
      method: operation.method,
      headers: {
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        ...(operation.requestBody === undefined || contentType === null
          ? {}
          : { "Content-Type": contentType ?? "application/json" }),
        ...headers,
      },
      // Bytes, because fetch adds a Content-Type to a text.
      ...(operation.requestBody === undefined
        ? {}
        : { body: typeof body === "string" ? new TextEncoder().encode(body) : body }),
    });
    return { status: response.status, body: await response.json() };
  };
}

/** Returns all rows of all tables, by table. */
export async function allRows(db: Kysely<Database>): Promise<Record<string, unknown[]>> {
  const tables = await sql<{ name: string }>`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_type = 'BASE TABLE'
  `.execute(db);
  const contents: Record<string, unknown[]> = {};
  for (const { name } of tables.rows) {
    const { rows } = await sql`select to_jsonb(t) as "row" from ${sql.table(name)} t order by 1`.execute(db);
    contents[name] = rows;
  }
  return contents;
}
