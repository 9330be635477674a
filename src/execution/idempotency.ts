/**
 * Requests that may be sent again (draft-ietf-httpapi-idempotency-key-header): what was answered is stored in the
 * transaction of the change, so that a crash can neither repeat the change nor lose the answer.
 *
 * Neither the key nor the answer can be read in the database by who cannot guess the key: of it there is a hash, and the
 * answer, which may hold a secret that is shown once, is sealed with it.
 *
 * Keys live by the machine's time: who moves the sandbox's clock and asks again is answered as the first time.
 */
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto";
import { type Kysely, sql, type Transaction } from "kysely";
import type { Database } from "../database/connect.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import { Problem } from "../contract/problems.ts";
import {
  findKey,
  finishKey,
  type IdempotencyId,
  lockKey,
  releaseKey,
  removeKeys,
  settleKey,
  storeKey,
} from "./idempotency_queries.ts";

/** An answer as it goes out. */
export interface SerializedAnswer {
  status: number;
  /** JSON. */
  text: string;
}

/** A request with an Idempotency-Key. Keys are per caller. */
export interface KeyedRequest {
  userId: number;
  key: string;
  /** What makes it the same request: method, target, `If-Match` and body. */
  content: string[];
}

/** Milliseconds for which an answer is stored. */
const lifetimeMs = 24 * 60 * 60 * 1_000;
/** Milliseconds that a request may still take for what is done outside of its transaction. A provider is waited for 8 s. */
const finishLimitMs = 15_000;
/** Keys a statement. */
const chunkSize = 1_000;

const digest = (...parts: string[]): Uint8Array => {
  const hash = createHash("sha256");
  // Lengths, so that no two lists of parts are the same text.
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest();
};

const idOf = ({ userId, key }: KeyedRequest): IdempotencyId => ({
  user_id: userId,
  key_hash: digest("key", key).toHex(),
});

/** The key that an answer is sealed with. */
const sealOf = ({ userId, key }: KeyedRequest) => digest("seal", String(userId), key);

/**
 * Begins a request within its transaction. Returns the answer that is stored for it, or undefined when it is to be done now.
 * Until the transaction ends nobody else can begin it.
 *
 * @throws {Problem} `idempotency_in_progress` or `idempotency_key_reused`.
 */
export async function claimKey(
  trx: Transaction<Database>,
  request: KeyedRequest,
): Promise<SerializedAnswer | undefined> {
  const now = new Date();
  const id = idOf(request);
  const lock = new DataView(digest("lock", String(request.userId), request.key).buffer).getBigInt64(0);
  // Sent together. They run in this order, so the second sees what the holder of the lock before has committed.
  const [isFree, row] = await Promise.all([
    lockKey(trx, lock),
    findKey(trx, { ...id, since: new Date(now.getTime() - lifetimeMs) }),
    sql`savepoint begun`.execute(trx),
  ]);
  if (!isFree) throw inProgress();
  if (row === undefined) return undefined;
  if (row.request_hash !== digest(...request.content).toHex()) {
    const detail = "You used this Idempotency-Key for another request. " +
      "Use a new key for each new request.";
    throw new Problem("idempotency_key_reused", detail);
  }
  if (row.pending_until !== null && row.pending_until > now) throw inProgress();
  if (row.status === null || row.answer === null) return undefined;
  // What is given now stays the answer, also if the request that took too long comes to its end after all.
  if (row.pending_until !== null) await settleKey(trx, id);
  return { status: row.status, text: unseal(row.answer, request) };
}

/** Undoes what was done since {@link claimKey}, and keeps the key. */
export async function undoAttempt(trx: Transaction<Database>): Promise<void> {
  await sql`rollback to savepoint begun`.execute(trx);
}

/**
 * Stores the answer to a request that was claimed. One that is not final may be replaced for a while by {@link finish},
 * during which the request is still running; undefined when there is no answer without that. Returns until when.
 */
export async function keepAnswer(
  trx: Transaction<Database>,
  request: KeyedRequest,
  { answer, isFinal }: { answer: SerializedAnswer | undefined; isFinal: boolean },
): Promise<Date | null> {
  // From here on it is timed, however long it has waited before.
  const now = new Date();
  const pending_until = isFinal ? null : new Date(now.getTime() + finishLimitMs);
  await storeKey(trx, {
    ...idOf(request),
    request_hash: digest(...request.content).toHex(),
    ...sealed(answer, request),
    pending_until,
    created_at: now,
  });
  return pending_until;
}

/**
 * Stores the final answer; undefined lets the request be done anew when it is sent again. Does nothing when its time, until
 * `pendingUntil`, was over and it was replayed or begun anew: by that it is known whose row it is.
 */
export async function finish(
  db: Kysely<Database>,
  request: KeyedRequest,
  { answer, pendingUntil }: { answer: SerializedAnswer | undefined; pendingUntil: Date },
): Promise<void> {
  const attempt = { ...idOf(request), pending_until: pendingUntil };
  if (answer === undefined) await releaseKey(db, attempt);
  else await finishKey(db, { ...attempt, ...sealed(answer, request) });
}

/** Removes keys that have had their time. */
export async function removeOldKeys(db: Kysely<Database>): Promise<void> {
  const before = new Date(Date.now() - lifetimeMs);
  await sweepInChunks(chunkSize, (limit) => retryConflicts(db, () => removeKeys(db, { before, limit })));
}

function inProgress(): Problem {
  const detail = "A request with this Idempotency-Key is still running. Send it again in a moment.";
  return new Problem("idempotency_in_progress", detail, { retryAfter: 1 });
}

const cipher = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

function sealed(answer: SerializedAnswer | undefined, request: KeyedRequest) {
  if (answer === undefined) return { status: null, answer: null };
  const nonce = randomBytes(nonceBytes);
  const seal = createCipheriv(cipher, sealOf(request), nonce);
  const text = Buffer.concat([seal.update(answer.text, "utf8"), seal.final()]);
  return { status: answer.status, answer: Buffer.concat([nonce, seal.getAuthTag(), text]) };
}

function unseal(bytes: Uint8Array, request: KeyedRequest): string {
  const seal = createDecipheriv(cipher, sealOf(request), bytes.subarray(0, nonceBytes));
  seal.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  return Buffer.concat([seal.update(bytes.subarray(nonceBytes + tagBytes)), seal.final()]).toString("utf8");
}
