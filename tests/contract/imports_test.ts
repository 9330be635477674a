/** The direction of imports in `src/` and `generated/`, read from the sources themselves. Imports of types count, too. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";

const root = new URL("../../", import.meta.url);

/** The place of a file in the table: `http/router.ts` for `src/http/router.ts`, and `generated/contract.ts`. */
const placeOf = (path: string): string => path.replace(/^src\//, "");

/** The imports of each file of `src/` and `generated/`, as places. */
async function importsOfFiles(): Promise<Map<string, string[]>> {
  const paths = await Promise.all(
    ["src", "generated"].map(async (folder) =>
      (await readdir(new URL(folder, root), { recursive: true })).map((file) => join(folder, file))
    ),
  );
  return new Map(
    await Promise.all(
      paths.flat().filter((path) => path.endsWith(".ts")).map(async (path): Promise<[string, string[]]> => {
        const source = await readFile(new URL(path, root), "utf8");
        const targets = source.matchAll(/\b(?:from|import)\s*\(?\s*"(\.[^"]+)"/g).map(([, target = ""]) => target);
        return [placeOf(path), [...targets].map((target) => placeOf(normalize(join(dirname(path), target))))];
      }),
    ),
  );
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

const imports = await importsOfFiles();

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
  /** Files that put something on HTTP: the pipeline itself, pages, and what connects all of it. */
  const onHttp = /^(http\/|docs\/|main\.ts$|app\.ts$|sandbox\/checkout_page\.ts$)/;
  for (const [file, targets] of imports) {
    if (onHttp.test(file)) continue;
    assert.deepEqual(targets.filter((target) => folderOf(target) === "http"), [], file);
  }
});

Deno.test("imports: the SDK -> only its own files and the generated types", () => {
  for (const [file, targets] of imports) {
    if (folderOf(file) !== "client") continue;
    assert.deepEqual(
      targets.filter((target) => !target.startsWith("client/") && !target.startsWith("generated/")),
      [],
    );
  }
});

Deno.test("imports: a circle -> found", () => {
  assert.deepEqual(findCircle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])), ["b", "c", "b"]);
  assert.equal(findCircle(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), undefined);
});
