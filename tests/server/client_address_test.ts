import assert from "node:assert/strict";
import { clientAddress } from "../../src/http/client_address.ts";

const socket = "198.51.100.1";

for (
  const [condition, trustedProxies, forwardedFor, expected] of [
    ["no proxy", 0, "203.0.113.9", socket],
    ["no header", 1, null, socket],
    ["empty header", 1, " , ", socket],
    ["one proxy", 1, "203.0.113.9", "203.0.113.9"],
    ["one proxy, entries invented by the client", 1, "192.0.2.1, 192.0.2.2,203.0.113.9", "203.0.113.9"],
    ["two proxies", 2, "192.0.2.1, 203.0.113.9, 198.51.100.2", "203.0.113.9"],
    ["empty entries", 2, "203.0.113.9, ,198.51.100.2,", "203.0.113.9"],
    ["fewer entries than proxies", 3, "203.0.113.9, 198.51.100.2", "203.0.113.9"],
    ["fewer entries than proxies, the first no address", 3, "unknown, 203.0.113.9", "203.0.113.9"],
    ["fewer entries than proxies, none an address", 3, "unknown, _hidden", socket],
    ["no address in the entry", 1, "203.0.113.9, garbage", socket],
    ["port", 1, "203.0.113.9:5678", "203.0.113.9"],
    ["quotes", 1, '"203.0.113.9:5678"', "203.0.113.9"],
    ["octet over 255", 1, "203.0.113.256", socket],
    ["hexadecimal IPv4", 1, "0x7f.1", socket],
    ["number", 1, "3405803785", socket],
    ["octet with a leading zero, perhaps octal", 1, "203.0.113.010", socket],
    ["host name", 1, "client.example", socket],
    ["IPv6", 1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["IPv6 in another notation", 1, "2001:0DB8:0001:0002::6", "2001:db8:1:2::/64"],
    ["IPv6 with zeros in the network", 1, "2001:db8::1", "2001:db8::/64"],
    ["IPv6 in brackets", 1, "[2001:db8:1:2::6]", "2001:db8:1:2::/64"],
    ["IPv6 in brackets with a port", 1, "[2001:db8:1:2::6]:443", "2001:db8:1:2::/64"],
    ["IPv6 in brackets with a port and quotes", 1, '"[2001:db8:1:2::6]:443"', "2001:db8:1:2::/64"],
    ["IPv6 with a zone", 1, "fe80::1%eth0", "fe80::/64"],
    ["IPv6 with a prefix", 1, "2001:db8::/32", socket],
    ["IPv4 in IPv6", 1, "::ffff:203.0.113.9", "203.0.113.9"],
    ["hexadecimal IPv4 in IPv6", 1, "[::FFFF:cb00:7109]:443", "203.0.113.9"],
  ] as const
) {
  Deno.test(`client address: ${condition} -> ${expected}`, () => {
    assert.equal(clientAddress({ remoteAddress: socket, forwardedFor, trustedProxies }), expected);
  });
}

Deno.test("client address: socket's address -> normalized as those in the header", () => {
  const of = (remoteAddress: string) => clientAddress({ remoteAddress, forwardedFor: null, trustedProxies: 0 });
  assert.equal(of("::ffff:203.0.113.9"), "203.0.113.9");
  assert.equal(of("2001:db8:1:2::6"), "2001:db8:1:2::/64");
  assert.equal(of("::1"), "::/64");
});
