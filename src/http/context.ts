/** The environment of a request in Hono: its connection and the variables that the pipeline sets. */
import type { Caller } from "../contract/caller.ts";
import type { Operation } from "../contract/handlers.ts";

export interface AppEnv {
  /** The connection, from `Deno.serve`. Empty for a request that the server sends to itself. */
  Bindings: Partial<Deno.ServeHandlerInfo<Deno.NetAddr>>;
  Variables: { requestId: string; operation?: Operation; caller?: Caller; bodyText?: string };
}
