/** The client, as the environment says. */
import { type Client, createClient } from "@slotkeeper/client";
import { ConnectionError, Interrupted } from "./failures.ts";

/** How often what was not answered is sent again. Over one to two seconds, as somebody may be waiting. */
const retries = 3;
/** How long an attempt may take, in milliseconds. Nothing that is asked for here takes longer on a server that is well. */
const timeoutMs = 20_000;

/**
 * A client of the Slotkeeper at `SLOTKEEPER_URL`, as whom `SLOTKEEPER_TOKEN` stands for.
 *
 * @throws {ConnectionError} when one of them is missing, or cannot be what it is for.
 */
export function connect(): Client {
  const baseUrl = serverUrl();
  const token = Deno.env.get("SLOTKEEPER_TOKEN");
  if (token === undefined || token === "") {
    throw new ConnectionError("SLOTKEEPER_TOKEN is missing: set it to a token with the role admin, or to an API key.");
  }
  // Neither is repeated here: it is a secret.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new ConnectionError("SLOTKEEPER_TOKEN has a character that no token has, such as a space or a line break.");
  }
  return createClient({ baseUrl, token, retries, timeoutMs, fetch: (request) => reach(request, baseUrl) });
}

function serverUrl(): string {
  const text = Deno.env.get("SLOTKEEPER_URL");
  if (text === undefined || text === "") {
    throw new ConnectionError(
      "SLOTKEEPER_URL is missing: set it to where Slotkeeper is, such as http://127.0.0.1:8000.",
    );
  }
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new ConnectionError(`SLOTKEEPER_URL must be an address such as http://127.0.0.1:8000: ${text}`);
  }
  return text.replace(/\/+$/, "");
}

async function reach(request: Request, baseUrl: string): Promise<Response> {
  const response = await send(request, baseUrl);
  const seconds = Number(response.headers.get("Retry-After"));
  if (seconds > 1) console.error(`The server asks to wait for ${seconds} seconds.`);
  return response;
}

async function send(request: Request, baseUrl: string): Promise<Response> {
  try {
    return await fetch(request);
  } catch (failure) {
    const reason: unknown = request.signal.aborted ? request.signal.reason : failure;
    if (reason instanceof Interrupted) throw reason;
    throw new ConnectionError(`Cannot reach ${baseUrl} (SLOTKEEPER_URL): ${sentence(reason)}.`, { cause: reason });
  }
}

/** The innermost reason alone, of a chain such as `error sending request for url (…): client error (Connect): …`. */
function sentence(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  const { message } = failure.cause instanceof Error ? failure.cause : failure;
  const [, innermost = message] = /^error sending request.*?: (?:client error \(\w+\): )?(.+)$/s.exec(message) ?? [];
  return innermost.replace(/^(?:tcp connect|dns) error: /, "").replace(/ \(os error \d+\)$/, "");
}
