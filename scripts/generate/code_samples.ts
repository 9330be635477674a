/** Derives a sample with the SDK from the examples of each operation. The docs show it beside the operation. */
import { entries, fail, isNode, type Json, type Node, node, omit, text } from "./nodes.ts";

/** Address and tokens in the samples. The tests replace them with their own. */
const baseUrl = "http://127.0.0.1:8000";
const tokens: Record<string, string> = { user: "YOUR_TOKEN", admin: "ADMIN_TOKEN" };

/** The value as TypeScript, with unquoted names where possible. */
function literal(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (!isNode(value)) return text(value);
  const fields = Object.entries(value).map(([key, child]) =>
    `${/^[a-z_$][\w$]*$/i.test(key) ? key : text(key)}: ${literal(child)}`
  );
  return `{ ${fields.join(", ")} }`;
}

const withoutEmpty = (value: Record<string, Json>): Node =>
  Object.fromEntries(Object.entries(value).filter(([, child]) => Object.keys(child ?? {}).length > 0));

/** The last argument of a call, or an empty text without options. */
function options(value: Record<string, Json>): string {
  const needed = withoutEmpty(value);
  return Object.keys(needed).length === 0 ? "" : literal(needed);
}

const list = (parts: string[]): string => parts.filter(Boolean).join(", ");

const subscription = `// Reconnects and resumes automatically.
// Without a signal it never ends.
const subscription = client.subscribe({ signal: AbortSignal.timeout(60_000) });
for await (const event of subscription) console.log(event.event, event.cursor);`;

const lowerFirst = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);

/**
 * Returns the source of a sample by `operationId`. An operation with a raw body has none, because only the program that
 * signs the body can call it.
 */
export function generateCodeSamples(document: Json): Record<string, string> {
  const root = node(document, "document");

  /** Returns the target of a `$ref` and its last name, or the value itself without a name. */
  function resolve(value: Json | undefined, where: string): { name: string; value: Node } {
    const written = node(value, where);
    if (typeof written.$ref !== "string") return { name: "", value: written };
    const keys = written.$ref.slice("#/".length).split("/");
    const target = keys.reduce<Json | undefined>((at, key) => isNode(at) ? at[key] : undefined, root);
    return { name: keys.at(-1) ?? "", value: node(target, written.$ref) };
  }

  function sample(path: string, method: string, { operation, parameters }: { operation: Node; parameters: Node[] }) {
    const where = `${method.toUpperCase()} ${path}`;
    const [needed] = (operation.security ?? []) as { bearer?: string[] }[];
    const token = needed === undefined ? {} : { token: tokens[String(needed.bearer)] ?? fail(where, "needs a bearer") };
    const program = (imports: string, lines: string) =>
      `import { ${imports} } from "@slotkeeper/client";

const client = createClient(${literal({ baseUrl, ...token })});

${lines}`;
    if (operation["x-websocket"] !== undefined) return program("createClient", subscription);

    const { schema, name } = success(operation, where);
    const properties = node(schema.properties, where);
    const examplesIn = (place: string): Node =>
      Object.fromEntries(
        parameters.filter((each) => each.in === place && each.example !== undefined)
          .map((each) => [String(each.name), each.example ?? null]),
      );
    const query = examplesIn("query");
    if (properties.page !== undefined) {
      const { name: itemName } = resolve(node(properties.items, where).items, where);
      const item = lowerFirst(itemName || fail(where, "needs items with a $ref to a schema, which names them"));
      const walk = `client.items(${list([text(path), options({ query })])})`;
      const loop = `for await (const ${item} of ${walk}) {\nconsole.log(${item});\n}`;
      return program("createClient", `// All pages, one after the other.\n${loop}`);
    }
    const params = withoutEmpty({ path: examplesIn("path"), query });
    const body = operation.requestBody === undefined ? {} : exampleBody(operation, where);
    const call = `client.${method.toUpperCase()}(${list([text(path), options({ params, body })])})`;
    // Programs use the fields beside the message, which is for people.
    const fields = Object.keys(properties).filter((field, _, all) => field !== "message" || all.length === 1);
    const isEnvelope = properties.message !== undefined;
    const variable = isEnvelope
      ? `{ ${list(fields)} }`
      : lowerFirst(name || fail(where, "needs an answer with a $ref to a schema, which names it"));
    const printed = isEnvelope ? list(fields) : variable;
    return program("createClient, unwrap", `const ${variable} = await unwrap(${call});\nconsole.log(${printed});`);
  }

  function success(operation: Node, where: string): { schema: Node; name: string } {
    const [, response] = entries(operation.responses, where).find(([status]) => status.startsWith("2")) ??
      fail(where, "has no success");
    const content = node(resolve(response, where).value.content, where);
    const { name, value } = resolve(node(content["application/json"], where).schema, where);
    return { schema: value, name };
  }

  function exampleBody(operation: Node, where: string): Json {
    const content = node(node(operation.requestBody, where).content, where);
    return node(content["application/json"], where).example ?? fail(where, "needs an example");
  }

  const samples: Record<string, string> = {};
  for (const [path, item] of entries(root.paths, "paths")) {
    for (const [method, operation] of entries(omit(item, "parameters"), path)) {
      if (operation["x-raw-body"] === true) continue;
      const all = [...(item.parameters ?? []) as Json[], ...(operation.parameters ?? []) as Json[]];
      const parameters = all.map((each) => resolve(each, path).value);
      samples[String(operation.operationId)] = sample(path, method, { operation, parameters });
    }
  }
  return samples;
}
