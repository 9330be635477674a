import ipaddr from "ipaddr.js";

/**
 * Returns the client's address of a request. Without proxies it is the socket's. Behind `trustedProxies` proxies it is
 * the address that the outermost proxy saw, from `X-Forwarded-For`. The client itself sent the entries before that one,
 * so they are ignored. A header that cannot be parsed is ignored.
 *
 * An IPv6 address is cut to its /64 (`2001:db8:1:2::/64`), because one customer has all its addresses. IPv4-mapped IPv6
 * becomes IPv4.
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
  const client = entries.at(-trustedProxies);
  if (client !== undefined) return parse(client) ?? fallback;
  // With fewer entries than proxies the request came from behind the outermost proxy, so all entries are trusted.
  return entries.map(parse).find((address) => address !== undefined) ?? fallback;
}

/** Returns undefined if `entry` is not an address. Removes ports, brackets and quotes, which some proxies add. */
function parse(entry: string): string | undefined {
  const unquoted = entry.replace(/^"(.*)"$/, "$1");
  const bare = /^\[(.+)\](?::\d+)?$/.exec(unquoted)?.[1] ?? /^([\d.]+):\d+$/.exec(unquoted)?.[1] ?? unquoted;
  // The library also accepts old notations of IPv4 such as 0x7f.1, which no proxy writes.
  if (ipaddr.IPv4.isValidFourPartDecimal(bare)) return ipaddr.IPv4.parse(bare).toString();
  if (!ipaddr.IPv6.isValid(bare)) return undefined;
  const address = ipaddr.IPv6.parse(bare);
  if (address.isIPv4MappedAddress()) return address.toIPv4Address().toString();
  return `${new ipaddr.IPv6([...address.parts.slice(0, 4), 0, 0, 0, 0])}/64`;
}
