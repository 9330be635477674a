/**
 * Answers to requests with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header). An answer is stored in the
 * transaction of the change. So a crash can neither repeat the change nor lose the answer.
 *
 * The database has a hash of the key, and the answer encrypted with the key. Its reader sees neither, unless they guess
 * the key. A `KeyedChange` stores its result instead, which is a row that the database has anyway. See the guide on
 * decisions.
 *
 * Keys expire by the machine's clock. Moving the sandbox's clock does not expire them.
 */
import type { Kysely, Transaction } from "kysely";
import { Buffer } from "node:buffer";
import { createCipheriv, createDecipheriv, hash, randomBytes } from "node:crypto";
import type { NewKey } from "../contract/handlers.ts";
import { Problem } from "../contract/problems.ts";
import type { Database } from "../database/connect.ts";
import { isAfter } from "../database/instants.ts";
import { sweepInChunks } from "../database/sweep.ts";
import { retryConflicts } from "../database/transactions.ts";
import {
  claimKeyRow,
  finalizeKey,
  finishKey,
  type IdempotencyId,
  releaseKey,
  removeKeys,
  storeKey,
} from "./queries.ts";

/** An answer as it is sent. */
export interface SerializedAnswer {
  status: number;
  /** JSON. */
  text: string;
}

/** A request with an Idempotency-Key. Keys are per caller. */
export interface KeyedRequest {
  userId: number;
  key: string;
  /** Identifies the request under its key: method, target, `If-Match` and body. */
  content: string[];
}

/** Milliseconds for which an answer is stored. */
const lifetimeMs = 24 * 60 * 60 * 1_000;
/** Milliseconds that a request may take after its transaction. A provider has 8 s of them to answer. */
const finishLimitMs = 15_000;
/** Keys per statement. */
const chunkSize = 1_000;

/** SHA-256 in hexadecimal. */
const digest = (...parts: string[]): string => {
  // With their lengths, so that no two lists of parts give the same text.
  let text = "";
  for (const part of parts) text += `${part.length}:${part}`;
  return hash("sha256", text);
};

const idOf = ({ userId, key }: KeyedRequest): IdempotencyId => ({ user_id: userId, key_hash: digest("key", key) });

/** The number of the lock of a key. */
const lockOf = ({ userId, key }: KeyedRequest): string =>
  String(BigInt.asIntN(64, BigInt(`0x${digest("lock", String(userId), key).slice(0, 16)}`)));

/** The key that encrypts an answer. */
const encryptionKeyOf = ({ userId, key }: KeyedRequest) => Buffer.from(digest("seal", String(userId), key), "hex");

/** The key of a request, for a `KeyedChange`. */
export function newKey(request: KeyedRequest): NewKey {
  const { user_id: keyUserId, key_hash: keyHash } = idOf(request);
  const requestHash = digest(...request.content);
  return { keyUserId, keyHash, keyLock: lockOf(request), requestHash, keyCreatedAt: new Date() };
}

/** The answer of an earlier request with the key, or the result of its `KeyedChange`. */
export type Stored = { answer: SerializedAnswer } | { result: object };

/**
 * Claims the key of a request in its transaction. Returns what is stored, or undefined when the request must run now. No
 * other request can claim the key until the transaction ends.
 *
 * @throws {Problem} `idempotency_in_progress` or `idempotency_key_reused`.
 */
export async function claimKey(
  trx: Transaction<Database>,
  request: KeyedRequest,
): Promise<Stored | undefined> {
  const now = new Date();
  const id = idOf(request);
  const claimed = await claimKeyRow(trx, {
    ...id,
    lock: lockOf(request),
    since: new Date(now.getTime() - lifetimeMs),
  });
  if (!claimed.is_free) throw inProgress();
  const { request_hash, status, answer, result, pending_until } = claimed;
  if (request_hash === null) return undefined;
  if (request_hash !== digest(...request.content)) {
    const detail =
      "This Idempotency-Key belongs to a request with another path, body or If-Match. Use a new key for each new request.";
    throw new Problem("idempotency_key_reused", detail);
  }
  if (pending_until !== null && isAfter(pending_until, now)) throw inProgress();
  if (status === null || answer === null) {
    // A server of the previous version leaves the result of an expired key in the row. With a limit the row is its own.
    return result === null || pending_until !== null ? undefined : { result };
  }
  // A replayed answer becomes final, even if the slow request still finishes.
  if (pending_until !== null) await finalizeKey(trx, id);
  return { answer: { status, text: decrypt(answer, request) } };
}

/** The end of the time that an attempt may take from now on, after its transaction. */
export function finishLimit(): Date {
  return new Date(Date.now() + finishLimitMs);
}

/**
 * Stores the answer to a claimed request. {@link storeFinalAnswer} may replace it until `pendingUntil`, and until then
 * the request counts as running. Null if the answer is final. `answer` is undefined if only the final one is an answer.
 */
export async function storeAnswer(
  trx: Transaction<Database>,
  request: KeyedRequest,
  { answer, pendingUntil }: { answer: SerializedAnswer | undefined; pendingUntil: Date | null },
): Promise<void> {
  await storeKey(trx, {
    ...idOf(request),
    request_hash: digest(...request.content),
    ...encrypt(answer, request),
    pending_until: pendingUntil,
    created_at: new Date(),
  });
}

/**
 * Stores the final answer. With undefined, the request runs again when it is repeated. Does nothing if the request was
 * replayed or ran again after `pendingUntil`, which identifies the attempt.
 */
export async function storeFinalAnswer(
  db: Kysely<Database>,
  request: KeyedRequest,
  { answer, pendingUntil }: { answer: SerializedAnswer | undefined; pendingUntil: Date },
): Promise<void> {
  const attempt = { ...idOf(request), pending_until: pendingUntil };
  if (answer === undefined) await releaseKey(db, attempt);
  else await finishKey(db, { ...attempt, ...encrypt(answer, request) });
}

/** Removes expired keys. */
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

function encrypt(answer: SerializedAnswer | undefined, request: KeyedRequest) {
  if (answer === undefined) return { status: null, answer: null };
  const nonce = randomBytes(nonceBytes);
  const encryption = createCipheriv(cipher, encryptionKeyOf(request), nonce);
  const text = Buffer.concat([encryption.update(answer.text, "utf8"), encryption.final()]);
  return { status: answer.status, answer: Buffer.concat([nonce, encryption.getAuthTag(), text]) };
}

function decrypt(bytes: Uint8Array, request: KeyedRequest): string {
  const decryption = createDecipheriv(cipher, encryptionKeyOf(request), bytes.subarray(0, nonceBytes));
  decryption.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  return Buffer.concat([decryption.update(bytes.subarray(nonceBytes + tagBytes)), decryption.final()]).toString("utf8");
}
