/** The server and the bare server on one Postgres, with the client that sends them the same load. */
import assert from "node:assert/strict";
import { type Call, headersOf, type LoadClient, startClient } from "./load.ts";
import { makeWorld, type Operation, type World } from "./operations.ts";
import { type BenchServer, type ServerOptions, startScript, startServer } from "./processes.ts";

const secret = "a secret of the benchmark, 32 bytes or more";
const compared = 3;

export interface Contenders {
  world: World;
  client: LoadClient;
  server: BenchServer;
}

/** The environment of a server on the database of {@link Contenders}. */
export function serverEnv(databaseUrl: string): Record<string, string> {
  return { DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret, RATE_LIMIT: "off", PAYMENT_PROVIDER: "none" };
}

/** Fills an empty database, and starts the server on it, like the task `serve` without limits, and the client. */
export async function startContenders(
  resources: AsyncDisposableStack,
  databaseUrl: string,
  { rooms, ...options }: ServerOptions & { rooms: number },
): Promise<Contenders> {
  // Migrates the database.
  const server = await startServer(serverEnv(databaseUrl), { logsRequests: true, ...options });
  resources.defer(() => server.stop());
  const world = resources.use(await makeWorld(databaseUrl, { rooms, secret }));
  return { world, server, client: resources.use(startClient()) };
}

export async function startBareServer(
  resources: AsyncDisposableStack,
  databaseUrl: string,
  { users }: World,
): Promise<BenchServer> {
  const env = { DATABASE_URL: databaseUrl, AUTH_JWT_SECRET: secret };
  const bare = await startScript(new URL("bare_server.ts", import.meta.url), { env, input: users });
  resources.defer(() => bare.stop());
  return bare;
}

/**
 * Checks that both servers answer the same JSON. Two writes cannot be the same, so only their fields are compared.
 *
 * @throws {assert.AssertionError} with the difference.
 */
export async function compareAnswers(
  { world, server }: Contenders,
  bare: BenchServer,
  operations: Operation[],
): Promise<void> {
  for (const { name, isWrite, prepare } of operations) {
    const { calls } = await prepare();
    for (let number = 0; number < compared; number++) {
      const [first, second] = isWrite ? calls.slice(2 * number) : [calls[number], calls[number]];
      const [ours, theirs] = await Promise.all([ask(server, first), ask(bare, second)]);
      if (isWrite) assert.deepEqual(shapeOf(theirs), shapeOf(ours), name);
      else assert.deepEqual(theirs, ours, name);
    }
    if (isWrite) await world.restore();
  }
}

async function ask({ url }: BenchServer, call: Call | undefined): Promise<unknown> {
  assert(call !== undefined);
  const { method, path, body } = call;
  const response = await fetch(url + path, {
    method,
    headers: headersOf(call),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  assert(response.ok, `${method} ${path} answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** The value with the type of each field instead of its value. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== "object" || value === null) return value === null ? null : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, shapeOf(field)]));
}
