/**
 * The direction of imports in `src/` and `generated/`, and the places that know HTTP. Read from the sources themselves.
 * Imports of types count, too.
 */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import config from "../../deno.json" with { type: "json" };

const root = new URL("../../", import.meta.url);

/** The place of a file in the table: `http/router.ts` for `src/http/router.ts`, and `generated/contract.ts`. */
const placeOf = (path: string): string => path.replace(/^src\//, "");

/** All sources by place. */
async function readSources(): Promise<Map<string, string>> {
  const paths = await Promise.all(
    ["src", "generated"].map(async (folder) =>
      (await readdir(new URL(folder, root), { recursive: true })).map((file) => join(folder, file))
    ),
  );
  const sources = paths.flat().filter((path) => path.endsWith(".ts"));
  return new Map(
    await Promise.all(
      sources.map(async (path) => [placeOf(path), await readFile(new URL(path, root), "utf8")] as const),
    ),
  );
}

/** Our own names in the import map, such as `@slotkeeper/client`. Others are packages. */
const ownNames = new Map(Object.entries(config.imports).filter(([, target]) => target.startsWith("./")));

/** The imports of a source: files of ours as places, packages as they are written. A sample in a text does not count. */
function importsOf(file: string, source: string): string[] {
  const statements = /^(?:import|export)\b(?:[^"';]*?\bfrom\s+|\s+)"([^"]+)"|\bimport\s*\(\s*"([^"]+)"/gm;
  const folder = dirname(file.startsWith("generated/") ? file : `src/${file}`);
  return [...source.matchAll(statements)].map(([, name = "", loaded = name]) => {
    const own = ownNames.get(loaded);
    if (own !== undefined) return placeOf(normalize(own));
    return loaded.startsWith(".") ? placeOf(normalize(join(folder, loaded))) : loaded;
  });
}

/** The first folder of a path. A file at the top stands alone. */
const folderOf = (file: string): string => file.split("/")[0] ?? file;

/** One circle in a graph, as the list of its nodes; undefined when there is none. */
function findCircle(graph: Map<string, Iterable<string>>): string[] | undefined {
  const finished = new Set<string>();
  const visit = (node: string, path: string[]): string[] | undefined => {
    if (path.includes(node)) return [...path.slice(path.indexOf(node)), node];
    if (finished.has(node)) return undefined;
    for (const next of graph.get(node) ?? []) {
      const circle = visit(next, [...path, node]);
      if (circle !== undefined) return circle;
    }
    finished.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const circle = visit(node, []);
    if (circle !== undefined) return circle;
  }
  return undefined;
}

/** Comments, and texts on one line. Templates stay, because they contain code. */
const commentsAndTexts = /\/\*[\s\S]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/g;

/** Returns the uses of HTTP in a source: `src/http`, libraries, and globals of the runtime. */
function httpUsesOf(file: string, source: string): Set<string> {
  const modules = importsOf(file, source).flatMap((target) => {
    if (folderOf(target) === "http" && folderOf(file) !== "http") return ["src/http"];
    return /^(hono|@hono|@scalar)\b/.test(target) ? ["hono"] : [];
  });
  const globals = source.replaceAll(commentsAndTexts, '""')
    .matchAll(/(?:\bglobalThis\.|(?<![\w.]))(Request|Response|Headers|fetch)\b/g);
  return new Set([...modules, ...[...globals].map(([, name = ""]) => name)]);
}

/** Places that know HTTP: what they use of it, and the reason. Rules and queries are not among them. */
const httpPlaces: [place: string, uses: string, reason: string][] = [
  ["http/", "hono Request Response", "the request pipeline"],
  ["docs/", "src/http hono", "pages"],
  ["checkout/", "src/http hono Response", "pages about a checkout"],
  ["sandbox/checkout_page.ts", "src/http hono Request Response", "a page, which delivers the sandbox's webhooks"],
  ["app.ts", "src/http hono fetch", "composes all parts"],
  ["main.ts", "src/http", "drains the requests at the end"],
  ["generated/contract.ts", "hono Response", "the routes of the contract, and the answer of openSocket"],
  ["parameters.ts", "hono", "schemas of the routes' parameters"],
  ["contract/handlers.ts", "Request", "raw input of openSocket and receivePaymentEvent"],
  ["execution/execution.ts", "Response", "returns the answer of openSocket as it is"],
  ["subscriptions/handshake.ts", "Request", "the handshake of a WebSocket"],
  ["payments/provider.ts", "Headers", "the signature of a webhook"],
  ["payments/sandbox.ts", "Headers", "the signature of a webhook"],
  ["boot/check_services.ts", "fetch src/http", "the start reads the issuer's keys and asks Redis"],
  ["client/", "Request Response Headers fetch", "the SDK sends requests"],
];

const sources = await readSources();
const imports = new Map([...sources].map(([file, source]) => [file, importsOf(file, source)]));

Deno.test("imports: any two files -> no circle", () => {
  assert.equal(findCircle(imports)?.join(" -> "), undefined);
});

Deno.test("imports: any two folders -> no circle", () => {
  const folders = new Map<string, Set<string>>();
  for (const [file, targets] of imports) {
    const from = folderOf(file);
    const others = folders.get(from) ?? new Set();
    for (const target of targets) if (imports.has(target) && folderOf(target) !== from) others.add(folderOf(target));
    folders.set(from, others);
  }
  assert.equal(findCircle(folders)?.join(" -> "), undefined);
});

Deno.test("imports: each folder -> only folders below it in the table of the guide on architecture", async () => {
  const guide = await readFile(new URL("../../src/docs/guides/architecture.md", import.meta.url), "utf8");
  const rows = [...guide.matchAll(/^\| (`(?:src|generated)\/[^|]+)\|/gm)].map(([, cell = ""]) =>
    [...cell.matchAll(/`(?:src\/)?([\w.]+)\/?`/g)].map(([, name = ""]) => name)
  );
  const rank = (folder: string) => rows.findIndex((row) => row.includes(folder));
  for (const [file, targets] of imports) {
    const from = folderOf(file);
    assert.notEqual(rank(from), -1, `${from} is missing in the table`);
    for (const target of targets.filter((target) => imports.has(target)).map(folderOf)) {
      assert(target === from || rank(target) > rank(from), `${file} imports ${target}, which is not below ${from}`);
    }
  }
});

Deno.test("imports: rules and queries -> no HTTP", () => {
  const unused = new Map(httpPlaces.map(([place, uses]) => [place, new Set(uses.split(" "))]));
  for (const [file, source] of sources) {
    const [place = "", uses = ""] = httpPlaces.find(([place]) => file.startsWith(place)) ?? [];
    for (const use of httpUsesOf(file, source)) {
      assert(uses.split(" ").includes(use), `${file} uses ${use}`);
      unused.get(place)?.delete(use);
    }
  }
  for (const [place, uses] of unused) assert.deepEqual([...uses], [], `${place} does not use these`);
});

Deno.test("imports: the SDK -> only its own files, the generated types and openapi-fetch", () => {
  for (const [file, targets] of imports) {
    if (folderOf(file) !== "client") continue;
    const others = targets.filter((target) => !["client", "generated", "openapi-fetch"].includes(folderOf(target)));
    assert.deepEqual(others, [], file);
  }
});

Deno.test("imports: the server -> not the SDK", () => {
  for (const [file, targets] of imports) {
    if (folderOf(file) === "client") continue;
    assert.deepEqual(targets.filter((target) => folderOf(target) === "client"), [], file);
  }
});

Deno.test("imports: libraries of Redis -> loaded by two dynamic imports, which only REDIS_URL reaches", () => {
  const ofRedis = /^(ioredis|rate-limiter-flexible|http\/shared_counts\.ts)$/;
  for (const [file, source] of sources) {
    if (file === "http/shared_counts.ts") continue;
    const loaded = importsOf(file, source.replaceAll(/^import type [^;]+;$/gm, "")).filter((target) =>
      ofRedis.test(target)
    );
    const mayLoad = ["http/rate_limits.ts", "boot/check_services.ts"].includes(file);
    assert.deepEqual(loaded, mayLoad ? ["http/shared_counts.ts"] : [], file);
  }
  const opening = /if \(redisUrl === undefined\) return;\s+this\.opening = import\("\.\/shared_counts\.ts"\)/;
  assert.match(sources.get("http/rate_limits.ts") ?? "", opening);
  const checks = sources.get("boot/check_services.ts") ?? "";
  assert.match(checks, /redisUrl === undefined \|\| !rateLimit \? undefined : faultOfRedis\(redisUrl\)/);
  assert.match(checks, /const \{ findRefusal \} = await import\("\.\.\/http\/shared_counts\.ts"\);/);
});

Deno.test("imports: any form of import -> found, samples in texts not", () => {
  const source = [
    'import type {\n  A,\n} from "../log.ts";',
    'export * from "./rooms.ts";',
    'import "hono/cors";',
    'const { b } = await import("@slotkeeper/client");',
    `const sample = 'import { c } from "stripe";';`,
  ].join("\n");
  assert.deepEqual(importsOf("rooms/a.ts", source), ["log.ts", "rooms/rooms.ts", "hono/cors", "client/mod.ts"]);
});

Deno.test("imports: any use of HTTP -> found, in comments, texts and names of members not", () => {
  const uses = (source: string) => [...httpUsesOf("rooms/a.ts", source)];
  assert.deepEqual(uses('import { z } from "@hono/zod-openapi";\nimport { b } from "../http/router.ts";'), [
    "hono",
    "src/http",
  ]);
  assert.deepEqual(uses("const a = (b: Request) => globalThis.fetch(b);"), ["Request", "fetch"]);
  assert.deepEqual(uses('/** A Request. */ const a = "X-Request"; // fetch\napp.fetch(a);'), []);
});

Deno.test("imports: a circle -> found", () => {
  assert.deepEqual(findCircle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])), ["b", "c", "b"]);
  assert.equal(findCircle(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), undefined);
});
