import ipaddr from "ipaddr.js";

/**
 * The address that a request comes from: the socket's, or behind `trustedProxies` proxies the one that the outermost of
 * them saw, as `X-Forwarded-For` has it. IPv6 is cut to its /64 (`2001:db8:1:2::/64`), which is what one customer gets
 * and can change addresses in; IPv4-mapped IPv6 is IPv4.
 *
 * What is left of the trusted entries was sent by the client, and is not looked at. A header that makes no sense counts
 * as none.
 */
export function clientAddress(
  { remoteAddress, forwardedFor, trustedProxies }: {
    remoteAddress: string;
    forwardedFor: string | null;
    trustedProxies: number;
  },
): string {
  const fallback = parse(remoteAddress) ?? remoteAddress;
  if (trustedProxies === 0 || forwardedFor === null) return fallback;
  const entries = forwardedFor.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
  const seen = entries.at(-trustedProxies);
  if (seen !== undefined) return parse(seen) ?? fallback;
  // Fewer than promised: the request came in further inside, so that all entries are of trusted proxies.
  return entries.map(parse).find((address) => address !== undefined) ?? fallback;
}

/** Undefined for what is no address. Ports, brackets and quotes, which some proxies write, are taken off. */
function parse(entry: string): string | undefined {
  const unquoted = entry.replace(/^"(.*)"$/, "$1");
  const bare = /^\[(.+)\](?::\d+)?$/.exec(unquoted)?.[1] ?? /^([\d.]+):\d+$/.exec(unquoted)?.[1] ?? unquoted;
  // Of IPv4 the library also knows the old notations, such as 0x7f.1, which are no address to a proxy.
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return ipaddr.IPv4.parse(bare).toString();
  if (!ipaddr.IPv6.isValid(bare)) return undefined;
  const address = ipaddr.IPv6.parse(bare);
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().toString();
  return `${new ipaddr.IPv6([...address.parts.slice(0, 4), 0, 0, 0, 0])}/64`;
}
