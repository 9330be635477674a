/** The handshake of a WebSocket: which requests may open one, and the upgrade of the connection. */
import type { Config } from "../config.ts";
import { Problem } from "../contract/problems.ts";

/** The runtime pings a socket after half of this time without a frame. It closes the socket if no answer comes. */
const idleTimeoutSeconds = 30;

export type AllowedOrigins = Pick<Config, "corsOrigins" | "publicUrl">;

/** @throws {Problem} `origin_not_allowed`, or `upgrade_required` for a request without a handshake. */
export function assertHandshake(request: Request, allowed: AllowedOrigins): void {
  assertOrigin(request, allowed);
  if (!isWebSocketRequest(request)) throw upgradeRequired();
}

/**
 * Turns `request` into a WebSocket, which opens after the response is sent.
 *
 * @throws {Problem} `upgrade_required` when the headers are not a valid handshake.
 */
export function upgrade(request: Request): Deno.WebSocketUpgrade {
  try {
    return Deno.upgradeWebSocket(request, { idleTimeout: idleTimeoutSeconds });
  } catch (failure) {
    if (failure instanceof TypeError) throw upgradeRequired();
    throw failure;
  }
}

/** Programs send no origin. A page must be on this server or on an origin that the operator allows. */
function assertOrigin({ headers }: Request, { corsOrigins, publicUrl }: AllowedOrigins): void {
  const origin = headers.get("Origin");
  if (origin === null) return;
  const own = publicUrl === undefined ? [] : [new URL(publicUrl).origin];
  if ([...corsOrigins, ...own].includes(origin)) return;
  const host = headers.get("Host");
  if (origin === `http://${host}` || origin === `https://${host}`) return;
  throw new Problem("origin_not_allowed", `Pages of ${origin} may not open a WebSocket here.`);
}

/** RFC 6455, 4.2.1. The runtime checks the rest of the handshake. */
function isWebSocketRequest({ method, headers }: Request): boolean {
  const protocols = headers.get("Upgrade")?.toLowerCase().split(",").map((each) => each.trim()) ?? [];
  return method === "GET" && protocols.includes("websocket") && headers.get("Sec-WebSocket-Version") === "13";
}

function upgradeRequired(): Problem {
  return new Problem(
    "upgrade_required",
    "Open a WebSocket of version 13 here: send `Connection: Upgrade` and `Upgrade: websocket`.",
  );
}
