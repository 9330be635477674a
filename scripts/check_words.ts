/**
 * Checks the mechanical part of plain words: the length of sentences, some words and openings, the form of test names.
 *
 * `deno run -A scripts/check_words.ts src/bookings README.md` checks these; without arguments it checks everything.
 */
import { type Passage, passagesOfComments, passagesOfTypeScript, passagesOfYaml } from "./check_words/passages.ts";
import { answerHelp } from "../src/boot/arguments.ts";

export type Finding = { line: number; message: string };
const longest = 20;
const everything = /^(?:src|scripts|tests|examples|\.ci|Dockerfile|deno\.json|openapi\.yaml|.*\.md)$/;
/** Files of these folders with text that people read. */
const readable = /\.(?:ts|md|yaml|cfg)$|^run$/;

/** Words to avoid and what to write instead. */
const words: [RegExp, string][] = [
  [/\b(?:who|whom|what|which)ever\b/i, "name the person or the thing"],
  [/\b(?:those who|for whom|of which|of whom|as what)\b/i, "start a new sentence with a noun"],
  [/\btold\b|\btells?\b(?!(?: \S+){0,3} apart)|\bput into words\b/i, "sends, reports, says or serializes"],
  [/\bdear\b/i, "expensive"],
  [/\bin the place of\b/i, "instead of"],
  [/\b(?:comes?|came|coming) back\b/i, "reconnects, returns or retries"],
  [/\b(?:go(?:es)?|went|going) on\b/i, "continues or resumes"],
  [/\blet(?:s|ting)? go\b/i, "releases or removes"],
  [/\bha(?:s|ve) a word\b/i, "name the decision"],
  [/\bby hand\b/i, "manually"],
  [/\b(?:such as it is|it is that|that is to be|there is nothing to)\b/i, "say it directly"],
  [/\b(?:dies?|died|dying|forgets?|forgot|remembers?|believes?|hears?|losers?|doomed|island)\b/i, "name what happens"],
  [/\bhowever (?:many|much|long|often)\b/i, "name the number, or say that it does not matter"],
];
const opening =
  /^(?:who|whom|whose|what|whether that|that it|of (?:one|what|whom)|as what|for (?:what|whom)|nobody is there)\b/i;

/** Sentences with the line that each starts on. Code and links count as one word. */
function sentences({ text, line }: Passage): Passage[] {
  const masked = text
    .replace(/`[^`]+`|\{@link[^}]*\}|<[^<>\s]+>|https?:\S+/g, (code) => "x" + "\n".repeat(code.split("\n").length - 1))
    .replace(/\]\([^)\s]*\)/g, "]");
  return [...masked.matchAll(/\S[\s\S]*?(?:[.!?]["')*_]*(?=\s+["'(*_\p{Lu}\d]|\s+x\b|\s*$)|$)/gu)].map((match) => ({
    kind: "prose",
    text: match[0],
    line: line + masked.slice(0, match.index).split("\n").length - 1,
  }));
}

/** Paragraphs of Markdown. Code is dropped; `counted` is false for lists and tables, which are no sentences. */
function paragraphs(text: string, first: number): { passage: Passage; counted: boolean }[] {
  const found: { passage: Passage; counted: boolean }[] = [];
  let fenced = false;
  let open = false;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^\s*```/.test(line);
    if (fence) fenced = !fenced;
    const heading = /^\s*#+\s/.test(line);
    const item = /^\s*(?:[-*]|\d+\.)\s|^\s*\|/.test(line);
    const last = found.at(-1);
    if (fence || fenced || line.trim() === "") open = false;
    else if (open && last !== undefined && !heading && !item) last.passage.text += `\n${line}`;
    else {
      const plain = line.replace(/^\s*(?:#+|[-*]|\d+\.|@\w+)\s+/, "");
      found.push({ passage: { kind: "prose", text: plain, line: first + index }, counted: !item });
      open = !heading;
    }
  }
  return found;
}

function findIn(passage: Passage): Finding[] {
  const { line, text } = passage;
  if (passage.kind !== "prose") {
    const found = findWords(passage);
    if (passage.kind === "test" && !/^[^:]+: .+ -> ./s.test(text)) {
      found.push({ line, message: `test name is not "operation: condition -> result": ${text}` });
    }
    return found;
  }
  return paragraphs(text, line).flatMap(({ passage: paragraph, counted }) =>
    sentences(paragraph).flatMap((sentence) => {
      const found = findWords(sentence);
      const plain = sentence.text.replace(/\s+/g, " ");
      const length = plain.split(" ").filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
      const start = plain.endsWith("?") ? undefined : opening.exec(plain)?.[0];
      if (start !== undefined) found.push({ line: sentence.line, message: `"${start}" opens a sentence: ${plain}` });
      if (counted && length > longest) {
        found.push({ line: sentence.line, message: `${length} words in a sentence: ${plain}` });
      }
      return found;
    })
  );
}

function findWords({ text, line }: Passage): Finding[] {
  return words.flatMap(([pattern, instead]) => {
    const match = pattern.exec(text.replace(/\s/g, " "));
    return match === null ? [] : [{ line, message: `"${match[0]}": ${instead}` }];
  });
}

/** Findings in the text of one file; the end of `path` says what it holds. */
export function checkWords(path: string, text: string): Finding[] {
  if (path.endsWith(".ts")) return passagesOfTypeScript(text).flatMap(findIn);
  if (path.endsWith(".md")) return findIn({ kind: "prose", text, line: 1 });
  const described = /\.(?:yaml|json)$/.test(path) ? passagesOfYaml(text) : [];
  return [...described, ...passagesOfComments(text)].flatMap(findIn);
}

async function filesOf(path: string): Promise<string[]> {
  if (!(await Deno.stat(path)).isDirectory) return [path];
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(path)) {
    if (isDirectory || readable.test(name)) found.push(...await filesOf(`${path}/${name}`));
  }
  return found.sort();
}

if (import.meta.main) {
  answerHelp("Usage: deno run -A scripts/check_words.ts [path ...]");
  Deno.chdir(new URL("../", import.meta.url));
  const all = Array.from(Deno.readDirSync("."), ({ name }) => name).filter((name) => everything.test(name));
  const paths = Deno.args.length > 0 ? Deno.args : all.sort();
  const files = (await Promise.all(paths.map(filesOf))).flat();
  let count = 0;
  for (const file of files) {
    for (const { line, message } of checkWords(file, await Deno.readTextFile(file))) {
      console.log(`${file}:${line}: ${message}`);
      count++;
    }
  }
  console.log(`${count} in ${files.length} files`);
  if (count > 0) Deno.exit(1);
}
