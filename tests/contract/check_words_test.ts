/** The check of plain words: it reads the text that people read, and leaves code alone. */
import assert from "node:assert/strict";
import { checkWords } from "../../scripts/check_words.ts";

const check = (path: string, ...lines: string[]) =>
  checkWords(path, lines.join("\n")).map(({ line, message }) => `${line}: ${message}`);
const times = (count: number, word: string) => Array.from({ length: count }, () => word).join(" ");

Deno.test("check_words: sentence of 21 words in a comment -> reported with its line, 20 words are fine", () => {
  const twentyOne = `The ${times(20, "word")}.`;
  assert.deepEqual(check("a.ts", "const a = 1;", "/**", " * Short.", ` * ${twentyOne}`, " */"), [
    `4: 21 words in a sentence: ${twentyOne}`,
  ]);
  assert.deepEqual(check("a.ts", `// The ${times(10, "word")}`, `// ${times(9, "word")}.`), []);
  const over = check("a.ts", "", `// The ${times(10, "word")}`, `// ${times(10, "word")}.`);
  assert.equal(over.length, 1);
  assert.match(over[0] ?? "", /^2: 21 words/);
});

Deno.test("check_words: code, links and addresses in a sentence -> one word each", () => {
  const start = `// ${times(17, "Word")}`;
  assert.deepEqual(check("a.ts", `${start} \`if (a) b c d\` {@link Some thing here} https://a.example/b?c=d.`), []);
});

Deno.test("check_words: lists, tables and code in Markdown -> their length is not counted, their words are", () => {
  const long = times(30, "word");
  assert.deepEqual(check("a.md", `- ${long}`, "", `| ${long} |`, "", "```ts", `// ${long} whoever`, "```"), []);
  assert.deepEqual(check("a.md", "- For whoever asks."), ['1: "whoever": name the person or the thing']);
});

Deno.test("check_words: words and openings to avoid -> reported, questions and identifiers are fine", () => {
  assert.deepEqual(check("a.ts", "// It is", "// told. What waits is old."), [
    '1: "told": sends, reports, says or serializes',
    '2: "What" opens a sentence: What waits is old.',
  ]);
  assert.deepEqual(check("a.ts", "// What now?", "const told = `whoever ${`what ${{}}`} whoever`;", "/whoever/;"), []);
  assert.deepEqual(check("a.ts", "x(`${{ a: `b` }}`); // For whoever asks."), [
    '1: "whoever": name the person or the thing',
  ]);
});

Deno.test("check_words: messages of logs, errors, problems and commands -> checked as prose, other texts are not", () => {
  assert.deepEqual(check("a.ts", 'log.error("nobody was told");', 'insert("nobody was told");'), [
    '1: "told": sends, reports, says or serializes',
  ]);
  assert.equal(check("a.ts", 'throw new ConfigError("What is it.");').length, 1);
  assert.equal(check("a.ts", 'command.description("For whoever asks").option("--all", "Whoever asks");').length, 2);
  assert.equal(check("a.ts", 'throw new Problem("token_invalid", `Whoever ${you} are.`);').length, 1);
});

Deno.test("check_words: name of a test without condition and result -> reported", () => {
  assert.deepEqual(check("a.ts", 'Deno.test("works", () => {});'), [
    '1: test name is not "operation: condition -> result": works',
  ]);
  assert.deepEqual(check("a.ts", "Deno.test(`${operation}: no token -> 401`, () => {});"), []);
  assert.equal(check("a.ts", 'test("works", run);', 'redisTest(\n"works", run);').length, 2);
  assert.equal(check("a.ts", "Deno.test({", "  ignore: isSkipped,", '  name: "works",').length, 1);
  assert.deepEqual(check("a.ts", '/x/.test("works");', 'newUser({ name: "works" });'), []);
});

Deno.test("check_words: comments of SQL, YAML, shell and HAProxy, descriptions of tasks -> checked with their line", () => {
  const told = (line: number) => [`${line}: "told": sends, reports, says or serializes`];
  assert.deepEqual(check("a.ts", "sql`", "  select 1", "  -- It is", "  -- told.", "`;"), told(3));
  for (const path of ["a.yaml", "a.cfg", "Dockerfile", ".ci/run"]) {
    assert.deepEqual(check(path, "#!/usr/bin/told", "", "  # It is", "  #", "  # told."), told(5), path);
  }
  assert.deepEqual(check("deno.json", '{ "tasks": { "told": {', '"description": "Nobody is told" } } }'), told(2));
});

Deno.test("check_words: descriptions of a contract -> checked with their line, names of schemas are not", () => {
  const contract = [
    "info:",
    "  description: |",
    "    Fine.",
    "    Goes to whoever asks.",
    "properties:",
    "  told: { title: x }",
  ];
  assert.deepEqual(check("a.yaml", ...contract), ['4: "whoever": name the person or the thing']);
});
