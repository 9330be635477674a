/** Sockets for the tests of frames. */
import type { TestServer } from "../support/server.ts";
import { openSocket, type TestSocket } from "../support/socket.ts";

/** Largest frame in bytes. */
export const frameLimit = 4_096;

/** Opens a socket of a user or admin. */
export async function open(server: TestServer, subject: string, role?: "admin"): Promise<TestSocket> {
  return await openSocket(server, { token: await server.token(subject, role) });
}
