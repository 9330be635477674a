/** Chooses the test files of a run, and deals them to shards: modules that each import many test files. */
import { readdir } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** A test file and its text. */
export interface TestFile {
  path: string;
  text: string;
}

const isTestFile = (path: string) => path.endsWith("_test.ts");

/** The test files below `paths`, in the order of their names. */
export async function readTestFiles(paths: string[]): Promise<TestFile[]> {
  const found = await Promise.all(paths.map(async (path) => {
    if (!(await Deno.stat(path)).isDirectory) return [path];
    return (await readdir(path, { recursive: true })).filter(isTestFile).map((name) => `${path}/${name}`);
  }));
  const unique = [...new Set(found.flat().map((path) => path.replace("//", "/")))].toSorted();
  return await Promise.all(unique.map(async (path) => ({ path, text: await Deno.readTextFile(path) })));
}

/** Folders whose tests take several times as long as others, because they start servers and databases of their own. */
const heavyFolders = { "tests/rules/": 3, "tests/server/": 3, "tests/idempotency/": 2, "tests/events/": 2 };

/** A guess at how long a file takes: its number of tests, times the weight of its folder. */
function weight({ path, text }: TestFile): number {
  const [, factor = 1] = Object.entries(heavyFolders).find(([folder]) => path.startsWith(folder)) ?? [];
  return text.split("Deno.test(").length * factor;
}

/** Deals files to at most `count` shards: the heaviest first, each to the lightest shard. The heaviest shard comes first. */
export function dealShards(files: TestFile[], count: number): TestFile[][] {
  const shards = Array.from({ length: Math.min(count, files.length) }, () => ({ total: 0, files: [] as TestFile[] }));
  for (const file of files.toSorted((a, b) => weight(b) - weight(a))) {
    const [lightest] = shards.toSorted((a, b) => a.total - b.total);
    lightest?.files.push(file);
    if (lightest !== undefined) lightest.total += weight(file);
  }
  return shards.toSorted((a, b) => b.total - a.total).map((shard) => shard.files);
}

/**
 * The source of a shard. A file that cannot be loaded becomes a failed test with the file's name. The other files of the
 * shard still run.
 */
export function shardSource(files: TestFile[]): string {
  const loads = files.map(({ path }) => {
    const name = JSON.stringify(`${path}: cannot be loaded`);
    const url = JSON.stringify(pathToFileURL(resolve(path)).href);
    return `await import(${url}).catch((failure) => Deno.test(${name}, () => Promise.reject(failure)));\n`;
  });
  return loads.join("");
}

const toSnakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\\/]/g, "\\$&");

export interface NamedTests {
  files: TestFile[];
  /** For `--filter` of `deno test`. */
  filter: string;
}

/**
 * Selects the tests of one name, such as an operation. These are the tests with `name` in their own name, and the files
 * named after it (`createBooking`: `create_booking_test.ts`).
 *
 * @returns undefined if no test has that name.
 */
export function selectByName(all: TestFile[], name: string): NamedTests | undefined {
  const fileName = `${toSnakeCase(name)}_test.ts`;
  const isNamed = ({ path }: TestFile) => basename(path) === fileName;
  const names = (text: string) =>
    [...text.matchAll(/Deno\.test\(\s*(["'`])(.+?)\1,/g)].map(([, , found = ""]) => found);
  // A name with `${…}` is built at run time, so its file may have matching tests.
  const mayMatch = ({ text }: TestFile) => names(text).some((each) => each.includes(name) || each.includes("${"));
  const named = all.filter(isNamed);
  const files = all.filter((file) => isNamed(file) || mayMatch(file));
  if (named.length === 0 && !all.some(({ text }) => names(text).some((each) => each.includes(name)))) return undefined;
  const others = named.flatMap(({ text }) => names(text))
    .filter((each) => !each.includes(name))
    .map((each) => `^${each.split(/\$\{.*?\}/).map(escapeRegExp).join(".*")}$`);
  return { files, filter: `/${[escapeRegExp(name), ...others].join("|")}/` };
}
