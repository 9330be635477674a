/** Checks the address that the server will listen on, before anything is started. */
import { type Config, ConfigError } from "../config.ts";

type Address = Pick<Config, "host" | "port">;

/** @throws {ConfigError} if this process cannot listen on the address. */
export function assertCanListen({ host, port }: Address): void {
  try {
    Deno.listen({ hostname: host, port }).close();
  } catch (failure) {
    throw listenFault(failure, { host, port }) ?? failure;
  }
}

/** Returns what is wrong with the address, or undefined if `failure` has another cause. */
export function listenFault(failure: unknown, { host, port }: Address): ConfigError | undefined {
  const { AddrInUse, AddrNotAvailable, PermissionDenied } = Deno.errors;
  if (failure instanceof AddrInUse) {
    const other = port < 65_535 ? port + 1 : port - 1;
    const advice = `Stop it, or choose another port, such as PORT=${other}. PORT=0 takes a free one.`;
    return new ConfigError(`PORT: another program listens on port ${port} of ${host}. ${advice}`);
  }
  if (failure instanceof PermissionDenied) {
    return new ConfigError(`PORT: this user may not listen on port ${port}. Choose one from 1024, such as PORT=8000.`);
  }
  if (failure instanceof AddrNotAvailable) {
    const advice = "Use 127.0.0.1 for this machine alone, or 0.0.0.0 for all its addresses.";
    return new ConfigError(`HOST: ${host} is not an address of this machine. ${advice}`);
  }
  // The resolver reports its failures without a class of their own.
  if (failure instanceof URIError || failure instanceof Error && failure.message.includes("lookup address")) {
    return new ConfigError(
      `HOST: ${host} has no address. Use 127.0.0.1, or 0.0.0.0 for all addresses of this machine.`,
    );
  }
  return undefined;
}
