/** The samples of the docs and the README: found, and run as they stand there. */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { parse } from "yaml";

export const root = new URL("../../", import.meta.url);

export interface Sample {
  /** Where it stands. */
  name: string;
  /** As the fence says; empty when it says nothing. */
  language: string;
  code: string;
}

/** The fenced blocks of a Markdown text, named by the headings above them. */
export function fencedBlocks(markdown: string, where: string): Sample[] {
  const samples: Sample[] = [];
  let heading = where;
  // A block that belongs to an item of a list is indented like that.
  const parts = markdown.matchAll(/^#+ (.+)$|^( *)```(\w*)\n([\s\S]*?)^\2```$/gm);
  for (const [, title, indentation = "", language = "", code = ""] of parts) {
    if (title !== undefined) heading = `${where}, ${title}`;
    else {
      const name = `${heading} (${samples.length + 1})`;
      samples.push({ name, language, code: code.replaceAll(new RegExp(`^${indentation}`, "gm"), "") });
    }
  }
  return samples;
}

/** All that is in guides: the descriptions of the contract as a whole and of its tags. */
export async function guideBlocks(): Promise<Sample[]> {
  const { info, tags } = parse(await Deno.readTextFile(new URL("openapi.yaml", root)));
  return [
    ...fencedBlocks(info.description, "guide"),
    ...tags.flatMap(({ name, description }: { name: string; description: string }) => fencedBlocks(description, name)),
  ];
}

export async function fileBlocks(path: string): Promise<Sample[]> {
  return fencedBlocks(await Deno.readTextFile(new URL(path, root)), path);
}

/** What stands in the samples for what everybody has of their own. */
export interface Surroundings {
  url: string;
  userToken: string;
  adminToken: string;
}

/** The sample with one's own address and tokens filled in, as the docs ask everybody to. */
export function filledIn(code: string, { url, userToken, adminToken }: Surroundings): string {
  return code.replaceAll("http://127.0.0.1:8000", url)
    .replaceAll("ws://127.0.0.1:8000", url.replace("http", "ws"))
    .replaceAll("YOUR_TOKEN", userToken)
    .replaceAll("ADMIN_TOKEN", adminToken);
}

export interface Running {
  /** Resolves when the sample has ended, to all that it printed. Rejects with what it threw. */
  ended: Promise<string>;
  /** Waits until it has printed `pattern`. */
  printed(pattern: RegExp): Promise<void>;
  /** Ends what a sample that goes on for a while has bounded with `AbortSignal.timeout`. */
  timeOut(): void;
}

/**
 * Runs a sample in this process, which is far cheaper than one for each of them. What it prints and its timeouts are in our
 * hands meanwhile, so one runs at a time.
 */
export function run(code: string): Running {
  const { log } = console;
  const { timeout } = AbortSignal;
  const time = new AbortController();
  let output = "";
  let heard = () => {};
  console.log = (...values: unknown[]) => {
    output += `${values.map((value) => typeof value === "string" ? value : inspect(value)).join(" ")}\n`;
    heard();
  };
  AbortSignal.timeout = () => time.signal;
  const ended = (async () => {
    const file = await Deno.makeTempFile({ prefix: "slotkeeper_sample_", suffix: ".ts" });
    try {
      await Deno.writeTextFile(file, code);
      await import(`file://${file}`);
      return output;
    } finally {
      console.log = log;
      AbortSignal.timeout = timeout;
      await Deno.remove(file);
    }
  })();
  return {
    ended,
    async printed(pattern) {
      while (!pattern.test(output)) {
        const more = new Promise<void>((resolve) => heard = resolve);
        const end = ended.then(() => assert.match(output, pattern, "It ended without"));
        await Promise.race([more, end]);
      }
    },
    timeOut: () => time.abort(),
  };
}
