/** The samples of the reference, the guides and the READMEs: finds them and runs them. */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { parse } from "yaml";
import { guideNames } from "../../src/docs/guides.ts";

export const root = new URL("../../", import.meta.url);

/** Every Markdown file with samples or links, by its path in the repository. */
export const documents = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "examples/README.md",
  "src/client/README.md",
  ...guideNames.map((name) => `src/docs/guides/${name}.md`),
];

export interface Sample {
  /** The file and the heading, such as `README.md, Start`. */
  name: string;
  /** The word after the fence; empty if there is none. */
  language: string;
  code: string;
}

export const isTypeScript = ({ language }: Sample): boolean => language === "ts";

/** The fenced blocks of a Markdown text. Each is named by the heading above it. */
export function fencedBlocks(markdown: string, file: string): Sample[] {
  const samples: Sample[] = [];
  let heading = file;
  // A block inside a list item is indented.
  const parts = markdown.matchAll(/^#+ (.+)$|^( *)```(\w*)\n([\s\S]*?)^\2```$/gm);
  for (const [, title, indentation = "", language = "", code = ""] of parts) {
    if (title !== undefined) heading = `${file}, ${title}`;
    else samples.push({ name: heading, language, code: code.replaceAll(new RegExp(`^${indentation}`, "gm"), "") });
  }
  return samples;
}

/** The blocks of the reference: the descriptions of the contract and of its tags. */
export async function referenceBlocks(): Promise<Sample[]> {
  const { info, tags } = parse(await Deno.readTextFile(new URL("openapi.yaml", root)));
  return [
    ...fencedBlocks(info.description, "reference"),
    ...tags.flatMap(({ name, description }: { name: string; description: string }) =>
      fencedBlocks(description, `reference, ${name}`)
    ),
  ];
}

export async function fileBlocks(path: string): Promise<Sample[]> {
  return fencedBlocks(await Deno.readTextFile(new URL(path, root)), path);
}

/** Values that each reader fills in. */
export interface Surroundings {
  url: string;
  userToken: string;
  adminToken: string;
}

/** The sample with the address and tokens of the reader. */
export function fillIn(code: string, { url, userToken, adminToken }: Surroundings): string {
  return code.replaceAll("http://127.0.0.1:8000", url)
    .replaceAll("ws://127.0.0.1:8000", url.replace("http", "ws"))
    .replaceAll("YOUR_TOKEN", userToken)
    .replaceAll("ADMIN_TOKEN", adminToken);
}

/** Longest wait for a text of a program, in ms. */
const patienceMs = 30_000;

export interface Running {
  /** Resolves to the output when the program has ended. Rejects with its exception. */
  ended: Promise<string>;
  /** Waits until the output matches `pattern`. Fails with the output after half a minute. */
  printed(pattern: RegExp): Promise<void>;
  /** Aborts every `AbortSignal.timeout` of the program. */
  timeOut(): void;
}

/**
 * Runs a sample in this process, which is faster than a process for each. It replaces `console.log` and
 * `AbortSignal.timeout` meanwhile, so one sample runs at a time.
 */
export function run(code: string): Running {
  return runProgram(async () => {
    const file = await Deno.makeTempFile({ prefix: "slotkeeper_sample_", suffix: ".ts" });
    try {
      await Deno.writeTextFile(file, code);
      await import(`file://${file}`);
    } finally {
      await Deno.remove(file);
    }
  });
}

/** Runs `program` and collects its output, on `console.log` and `console.error`. One runs at a time. */
export function runProgram(program: () => Promise<void>): Running {
  const { log, error } = console;
  const { timeout } = AbortSignal;
  const time = new AbortController();
  let output = "";
  let notify = () => {};
  console.log = console.error = (...values: unknown[]) => {
    output += `${values.map((value) => typeof value === "string" ? value : inspect(value)).join(" ")}\n`;
    notify();
  };
  AbortSignal.timeout = () => time.signal;
  const ended = (async () => {
    try {
      await program();
      return output;
    } finally {
      Object.assign(console, { log, error });
      AbortSignal.timeout = timeout;
    }
  })();
  return {
    ended,
    async printed(pattern) {
      const late = Promise.withResolvers<never>();
      const limit = setTimeout(() => late.reject(new Error(`Only this was printed:\n${output}`)), patienceMs);
      try {
        while (!pattern.test(output)) {
          const more = new Promise<void>((resolve) => notify = resolve);
          const end = ended.then(() => assert.match(output, pattern, "The program ended without printing this"));
          await Promise.race([more, end, late.promise]);
        }
      } finally {
        clearTimeout(limit);
      }
    },
    timeOut: () => time.abort(),
  };
}
