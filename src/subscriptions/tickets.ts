/**
 * Tickets for opening a WebSocket in a browser, which cannot send a token with it. They expire by the machine's clock,
 * as tokens do.
 */
import type { Kysely } from "kysely";
import type { SocketTicket } from "../../generated/contract.ts";
import { hashOf, newSecret } from "../auth/secrets.ts";
import { toScopes } from "../contract/access.ts";
import type { Caller } from "../contract/caller.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import { deleteTicket, insertTicket, removeTickets } from "./ticket_queries.ts";

/** Milliseconds for which a ticket is valid. */
const lifetimeMs = 30_000;
/** Expired tickets per statement. */
const chunkSize = 1_000;

/** Creates a ticket that authenticates `caller` once. */
export async function createSocketTicket(
  db: Kysely<Database>,
  { userId, role, expiresAt, apiKey }: Caller,
): Promise<SocketTicket> {
  const ticket = newSecret();
  const expiry = new Date(Date.now() + lifetimeMs);
  await insertTicket(db, {
    hash: await hashOf(ticket),
    user_id: userId,
    role,
    token_expires_at: new Date(expiresAt * 1_000),
    expires_at: expiry,
    api_key_id: apiKey?.id ?? null,
  });
  return { ticket, expiresAt: expiry.toISOString() };
}

/**
 * Returns the ticket's caller. A ticket works once, and not after the API key that requested it was revoked.
 *
 * @throws {Problem} `ticket_invalid`.
 */
export async function redeemTicket(db: Kysely<Database>, ticket: string): Promise<Caller> {
  const row = await deleteTicket(db, await hashOf(ticket));
  const until = row === undefined ? 0 : Math.min(Date.parse(row.expires_at), Date.parse(row.token_expires_at));
  if (row === undefined || until <= Date.now() || row.key_revoked_at !== null) {
    const detail = "The ticket is not valid: it was used, is older than 30 seconds, or is unknown. " +
      "Or its token or API key is no longer valid. Get a new one.";
    throw new Problem("ticket_invalid", detail);
  }
  return {
    userId: row.user_id,
    subject: row.subject,
    role: row.role === "admin" ? "admin" : "user",
    name: row.name,
    email: row.email,
    expiresAt: Date.parse(row.token_expires_at) / 1_000,
    apiKey: row.api_key_id === null ? undefined : { id: row.api_key_id, scopes: toScopes(row.scopes ?? []) },
  };
}

/** Removes expired tickets. */
export async function removeOldTickets(db: Kysely<Database>): Promise<void> {
  const before = new Date();
  await sweepInChunks(chunkSize, (limit) => retryConflicts(db, () => removeTickets(db, { before, limit })));
}
