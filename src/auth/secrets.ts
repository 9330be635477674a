/** Secrets that are shown once and stored as a hash: API keys, and tickets for WebSockets. */

/** Returns 256 random bits as 43 characters that need no escaping in a URL. */
export function newSecret(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Returns the hash that is stored. One round of SHA-256 is enough for 256 random bits. */
export async function hashOf(secret: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))).toHex();
}

const marker = "slk_";
const keyForm = /^slk_[0-9a-z]{8}_[\w-]{43}$/;

/** Returns a new API key, and its prefix, by which lists show the key. */
export function newApiKey(): { key: string; prefix: string } {
  const digits = Array.from(crypto.getRandomValues(new Uint32Array(8)), (digit) => (digit % 36).toString(36));
  const prefix = `${marker}${digits.join("")}`;
  return { key: `${prefix}_${newSecret()}`, prefix };
}

/** Returns whether a token is an API key, valid or not. No JSON Web Token begins like one. */
export const looksLikeApiKey = (token: string): boolean => token.startsWith(marker);

/** Returns whether a token has the form of an API key. Others are not looked up. */
export const isApiKey = (token: string): boolean => keyForm.test(token);

const keySubjects = "api-key:";

/** Returns the subject of a key's own user. */
export const subjectOfKey = (prefix: string): string => `${keySubjects}${prefix}`;

/** Returns whether a subject is that of a key. No token may have one. */
export const isSubjectOfKey = (subject: string): boolean => subject.startsWith(keySubjects);
