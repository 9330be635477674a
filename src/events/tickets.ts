/**
 * Tickets for opening a WebSocket: for browsers, which cannot send a token with it. They live by the machine's time, as
 * tokens do.
 */
import type { Kysely } from "kysely";
import type { SocketTicket } from "../../generated/contract.ts";
import type { Caller } from "../auth/callers.ts";
import type { Database } from "../database/connect.ts";
import { Problem } from "../problems.ts";
import { insertTicket, removeTickets, takeTicket } from "./ticket_queries.ts";

/** Milliseconds. */
const lifetimeMs = 30_000;

/** A ticket that stands for `caller`, once. */
export async function createTicket(db: Kysely<Database>, { userId, role, expiresAt }: Caller): Promise<SocketTicket> {
  const ticket = crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
  const expiry = new Date(Date.now() + lifetimeMs);
  await insertTicket(db, {
    hash: await hashOf(ticket),
    user_id: userId,
    role,
    token_expires_at: new Date(expiresAt * 1_000),
    expires_at: expiry,
  });
  return { ticket, expiresAt: expiry.toISOString() };
}

/**
 * Whom a ticket stands for. It does so once.
 *
 * @throws {Problem} `ticket_invalid`.
 */
export async function redeemTicket(db: Kysely<Database>, ticket: string): Promise<Caller> {
  const row = await takeTicket(db, await hashOf(ticket));
  const until = row === undefined ? 0 : Math.min(row.expires_at.getTime(), row.token_expires_at.getTime());
  if (row === undefined || until <= Date.now()) {
    const why = "it was used, is older than 30 seconds, or never was one";
    throw new Problem("ticket_invalid", `The ticket is not valid: ${why}. Get a new one.`);
  }
  return {
    userId: row.user_id,
    subject: row.subject,
    role: row.role === "admin" ? "admin" : "user",
    name: row.name,
    email: row.email,
    expiresAt: row.token_expires_at.getTime() / 1_000,
  };
}

/** Removes tickets that nobody has used in time. */
export async function removeOldTickets(db: Kysely<Database>): Promise<void> {
  await removeTickets(db, new Date());
}

async function hashOf(ticket: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(ticket))).toHex();
}
