/** Finds the text that people read in TypeScript, in YAML, and in comments of other files. */
import { isScalar, parseDocument, visit } from "yaml";

/** `kind` decides the checks: only prose has sentences, only the name of a test has a form. */
export type Passage = { kind: "prose" | "test" | "step"; text: string; line: number };

const comment = /\/\/[^\n]*(?:\n[ \t]*\/\/[^\n]*)*|\/\*[\s\S]*?\*\//;
const text = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/;
const regularExpression =
  /(?<=(?:[(,=:[!&|?{};>+]|return|^)\s*)\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[])+\/[a-z]*/;
const tokens = new RegExp([comment, text, regularExpression, /[`{}]/].map(({ source }) => source).join("|"), "g");
/** Code before a text that people read: a log, an error, a problem, a description of a command. */
const message = new RegExp(
  [
    /\b(?:log\w*\.(?:debug|info|warn|error)|console\.\w+|new \w*Error|\.description)\(\s*/,
    /\bProblem\(\s*["\w]+,\s*/,
    /\.(?:option|requiredOption|argument)\(\s*"[^"]*",\s*/,
    /\b(?:detail|title|message|description)\s*[:=]\s*/,
  ].map(({ source }) => `(?:${source})$`).join("|"),
);
/** Code before the name of a test. Test files call `Deno.test` directly, or a function such as `test` or `redisTest`. */
const testName = /(?:\bDeno\.test|(?<![\w.])(?:\w+T|t)est)\(\s*(?:\{[^{}]*\bname:\s*)?$/;
const sqlComment = /(?:^[ \t]*--[ \t].*\n?)+/gm;
const templateText = /((?:\\[\s\S]|(?!\$\{)[^`\\])*)(`|\$\{)/y;

const lineAt = (source: string, at: number): number => source.slice(0, at).split("\n").length;

/** Comments of whole lines without their signs. `line` is that of the first line of `source`. */
function commentsIn(source: string, pattern: RegExp, line = 1): Passage[] {
  return [...source.matchAll(pattern)].map(({ 0: text, index }) => ({
    kind: "prose",
    text: text.replace(/^[ \t]*(?:--|#)[ \t]?/gm, ""),
    line: line + lineAt(source, index) - 1,
  }));
}

/** Comments of YAML, shell scripts, Dockerfiles and HAProxy, on lines of their own. */
export function passagesOfComments(source: string): Passage[] {
  return commentsIn(source, /(?:^[ \t]*#(?:[ \t].*)?\n?)+/gm);
}

/** Text that people read in TypeScript: comments (also of SQL), names of tests, messages of logs and problems. */
export function passagesOfTypeScript(source: string): Passage[] {
  const found: Passage[] = [];
  const read = (text: string, at: number) => {
    const before = source.slice(Math.max(0, at - 300), at);
    const line = lineAt(source, at);
    if (testName.test(before)) found.push({ kind: "test", text, line });
    else if (/\.step\(\s*$/.test(before)) found.push({ kind: "step", text, line });
    else if (message.test(before)) found.push({ kind: "prose", text, line });
  };
  /** One for each open brace; a template waits in it with its start and the text so far. */
  const braces: ({ at: number; text: string } | undefined)[] = [];
  const readTemplate = (from: number, template: { at: number; text: string }) => {
    templateText.lastIndex = from;
    const [whole = "", text = "", end] = templateText.exec(source) ?? [];
    template.text += text;
    if (end === "`") {
      read(template.text, template.at);
      found.push(...commentsIn(template.text, sqlComment, lineAt(source, template.at)));
    } else {
      template.text += "x";
      braces.push(template);
    }
    tokens.lastIndex = from + whole.length;
  };
  tokens.lastIndex = 0;
  for (let match = tokens.exec(source); match !== null; match = tokens.exec(source)) {
    const [token] = match;
    if (token === "`") readTemplate(match.index + 1, { at: match.index, text: "" });
    else if (token === "{") braces.push(undefined);
    else if (token === "}") {
      const template = braces.pop();
      if (template !== undefined) readTemplate(match.index + 1, template);
    } else if (/^\/[/*]/.test(token)) {
      const line = lineAt(source, match.index);
      const text = token
        .replace(/^[ \t]*(?:\/\*\*?|\/\/|\*(?!\/))[ \t]?/gm, "").replace(/\*\/$/, "");
      if (!/^\s*(?:deno-|@ts-)/.test(text)) found.push({ kind: "prose", text, line });
    } else if (/^["']/.test(token)) read(token.slice(1, -1), match.index);
  }
  return found;
}

/** Descriptions, summaries, titles and messages of YAML or JSON: of the contract, its examples and the tasks. */
export function passagesOfYaml(source: string): Passage[] {
  const found: Passage[] = [];
  visit(parseDocument(source), {
    Pair(_, { key, value }) {
      const named = isScalar(key) && /^(?:description|summary|title|detail|message)$/.test(String(key.value));
      if (!named || !isScalar(value) || typeof value.value !== "string" || !value.range) return;
      const text = source.slice(value.range[0], value.range[1]).replace(/^[|>][-+]?|^["']|["']$/g, "");
      found.push({ kind: "prose", text, line: lineAt(source, value.range[0]) });
    },
  });
  return found;
}
