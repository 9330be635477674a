/** Secrets that we hand out once and of which we keep a hash: API keys, and tickets for WebSockets. */

/** 256 bits of chance, as 43 characters that need no escapes in a URL. */
export function newSecret(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** What is kept of a secret. It has too much chance in it to be guessed back, so one round of SHA-256 is enough. */
export async function hashOf(secret: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))).toHex();
}

const marker = "slk_";
const keyForm = /^slk_[0-9a-z]{8}_[\w-]{43}$/;

/** A new API key, and how it begins: that is shown, to recognise it by. */
export function newApiKey(): { key: string; prefix: string } {
  const digits = Array.from(crypto.getRandomValues(new Uint32Array(8)), (digit) => (digit % 36).toString(36));
  const prefix = `${marker}${digits.join("")}`;
  return { key: `${prefix}_${newSecret()}`, prefix };
}

/** Whether this is meant to be an API key. No JSON Web Token begins like one. */
export const looksLikeApiKey = (token: string): boolean => token.startsWith(marker);

/** Whether this can be an API key, so that it is worth looking it up. */
export const isApiKey = (token: string): boolean => keyForm.test(token);

const keySubjects = "api-key:";

/** The subject of the user that a key acts as. */
export const subjectOfKey = (prefix: string): string => `${keySubjects}${prefix}`;

/** Whether a subject is a key's, which no token may have. */
export const isSubjectOfKey = (subject: string): boolean => subject.startsWith(keySubjects);
