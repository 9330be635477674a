/** Finds the text that people read in TypeScript and in the contract. */
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
const templateText = /((?:\\[\s\S]|(?!\$\{)[^`\\])*)(`|\$\{)/y;

/** Text that people read in a file of TypeScript: comments, names of tests, messages of logs and problems. */
export function passagesOfTypeScript(source: string): Passage[] {
  const found: Passage[] = [];
  const read = (text: string, at: number) => {
    const before = source.slice(Math.max(0, at - 120), at);
    const line = source.slice(0, at).split("\n").length;
    if (/\bDeno\.test\(\s*(?:\{\s*name:\s*)?$/.test(before)) found.push({ kind: "test", text, line });
    else if (/\.step\(\s*$/.test(before)) found.push({ kind: "step", text, line });
    else if (message.test(before)) found.push({ kind: "prose", text, line });
  };
  /** One for each open brace; a template waits in it with its start and the text so far. */
  const braces: ({ at: number; text: string } | undefined)[] = [];
  const readTemplate = (from: number, template: { at: number; text: string }) => {
    templateText.lastIndex = from;
    const [whole = "", text = "", end] = templateText.exec(source) ?? [];
    template.text += text;
    if (end === "`") read(template.text, template.at);
    else {
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
      const line = source.slice(0, match.index).split("\n").length;
      const text = token
        .replace(/^[ \t]*(?:\/\*\*?|\/\/|\*(?!\/))[ \t]?/gm, "").replace(/\*\/$/, "");
      if (!/^\s*(?:deno-|@ts-)/.test(text)) found.push({ kind: "prose", text, line });
    } else if (/^["']/.test(token)) read(token.slice(1, -1), match.index);
  }
  return found;
}

/** Descriptions, summaries and titles of the contract, and the messages of its examples. */
export function passagesOfContract(source: string): Passage[] {
  const found: Passage[] = [];
  visit(parseDocument(source), {
    Pair(_, { key, value }) {
      const named = isScalar(key) && /^(?:description|summary|title|detail|message)$/.test(String(key.value));
      if (!named || !isScalar(value) || typeof value.value !== "string" || !value.range) return;
      const text = source.slice(value.range[0], value.range[1]).replace(/^[|>][-+]?|^["']|["']$/g, "");
      found.push({ kind: "prose", text, line: source.slice(0, value.range[0]).split("\n").length });
    },
  });
  return found;
}
