/** The router, compared with Hono's own for each path of the contract and what lies beside it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TrieRouter } from "hono/router/trie-router";
import { operations } from "../../generated/contract.ts";
import { OperationRouter } from "../../src/http/operation_router.ts";
import { runs } from "../support/properties.ts";

const ours = new OperationRouter<string>(new TrieRouter());
const honos = new TrieRouter<string>();
for (const { id, route } of Object.values(operations)) {
  const [method, path] = [route.method.toUpperCase(), route.getRoutingPath()];
  ours.addOperation(method, path, id);
  honos.add(method, path, id);
}
ours.add("GET", "/docs", "docs");
honos.add("GET", "/docs", "docs");

const paths = [...new Set(Object.values(operations).map(({ route }) => route.path))];
const methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/** Returns the first handler and its parameters, as Hono passes them on. */
function found(router: typeof ours | typeof honos, method: string, path: string): unknown {
  const [handlers, stash] = router.match(method, path);
  const [handler, params] = handlers[0] ?? [];
  if (handler === undefined) return undefined;
  const values = Object.entries(params ?? {}).map(([name, value]) => [name, stash?.[Number(value)] ?? value]);
  return { handler, params: Object.fromEntries(values) };
}

/** Segments that are in some path, and others: empty, encoded, with wildcards of routers, names of Object's properties. */
const segments = [
  ...new Set(paths.flatMap((path) => path.split("/"))),
  ...["", "1", "x", "%20", "%2F", "*", ":id", "..", ".", "__proto__", "constructor", "toString", "é", "a?b"],
];

Deno.test("router: paths of the contract and beside it -> the handler and parameters of Hono's router", () => {
  const path = fc.oneof(
    fc.constantFrom(...paths).map((each) => each.replaceAll(/\{\w+\}/g, "7")),
    fc.array(fc.constantFrom(...segments), { maxLength: 8 }).map((parts) => `/${parts.join("/")}`),
    fc.tuple(fc.constantFrom(...paths), fc.nat(), fc.constantFrom(...segments), fc.boolean()).map(
      ([base, at, segment, isAdded]) => base.split("/").toSpliced(at % 8, isAdded ? 0 : 1, segment).join("/"),
    ),
  );
  fc.assert(
    fc.property(fc.constantFrom(...methods), path, (method, at) => {
      assert.deepEqual(found(ours, method, at), found(honos, method, at), `${method} ${at}`);
    }),
    { numRuns: runs(2_000, 50_000) },
  );
});

Deno.test("router: methods of a path -> those of its operations and pages, GET with HEAD", () => {
  assert.deepEqual(ours.methodsOf("/api/v1/bookings/rooms"), ["GET", "HEAD"]);
  assert.deepEqual(ours.methodsOf("/docs"), ["GET", "HEAD"]);
  assert.deepEqual(ours.methodsOf("/docs/"), []);
  assert.deepEqual(ours.methodsOf("/api/v1/bookings/7/cancel"), ["PUT"]);
});
