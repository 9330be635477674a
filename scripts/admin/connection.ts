/** The client of the SDK, as the environment configures it. */
import { type Client, createClient } from "@slotkeeper/client";
import { EnvironmentError } from "./failures.ts";
import { printNote, type Shell } from "./shell.ts";

/** Retries of a request without an answer. They take one to two seconds, because a person may be waiting. */
const retries = 3;
/** Longest time of an attempt in milliseconds. No request of this program takes longer on a healthy server. */
const timeoutMs = 20_000;

/**
 * Creates a client for `SLOTKEEPER_URL` that authenticates with `SLOTKEEPER_TOKEN`.
 *
 * @throws {EnvironmentError} when one of them is missing or malformed.
 */
export function connect(shell: Shell): Client {
  const baseUrl = serverUrl(shell);
  const token = shell.env("SLOTKEEPER_TOKEN");
  if (token === undefined || token === "") {
    throw new EnvironmentError("SLOTKEEPER_TOKEN is missing: set it to a token with the role admin, or to an API key.");
  }
  // The token is a secret, so the message does not repeat it.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new EnvironmentError("SLOTKEEPER_TOKEN has a character that no token has, such as a space or a line break.");
  }
  return createClient({
    ...{ baseUrl, token, retries, timeoutMs },
    async fetch(request) {
      const response = await fetch(request);
      const seconds = Number(response.headers.get("Retry-After"));
      if (seconds > 1) printNote(shell, `The server asks to wait for ${seconds} seconds.`);
      return response;
    },
  });
}

function serverUrl(shell: Shell): string {
  const text = shell.env("SLOTKEEPER_URL");
  if (text === undefined || text === "") {
    throw new EnvironmentError(
      "SLOTKEEPER_URL is missing: set it to the address of Slotkeeper, such as http://127.0.0.1:8000.",
    );
  }
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new EnvironmentError(`SLOTKEEPER_URL must be an address such as http://127.0.0.1:8000: ${text}`);
  }
  return text.replace(/\/+$/, "");
}
