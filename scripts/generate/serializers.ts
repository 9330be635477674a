/**
 * Turns the schemas of answers into TypeScript that validates and serializes faster than zod.
 *
 * The code copies the declared fields of a value, validates the copy, and serializes it. The text is that of
 * `JSON.stringify(schema.parse(value))`. A property test compares both for each schema of the contract.
 */
import { entries, fail, isNode, type Json, type Node, node, text } from "./nodes.ts";
import { schemaWriter, typeOf } from "./schemas.ts";

/** The code for the values of a schema. */
interface Part {
  /** `test`: says whether a value is valid. `copy`: returns the copy of a valid value, otherwise `refused`. */
  kind: "test" | "copy";
  /** Returns the code for the value of an expression. */
  code(value: string): string;
}

const FORMATS: Record<string, string> = { "date-time": "parts.dateTime", date: "parts.date" };
/** The limits of a number that has none in the contract. */
const LIMITS: Record<string, [least: string, most: string]> = {
  isInteger: ["Number.MIN_SAFE_INTEGER", "Number.MAX_SAFE_INTEGER"],
  isNumber: ["-Number.MAX_VALUE", "Number.MAX_VALUE"],
};

const test = (code: Part["code"]): Part => ({ kind: "test", code });
const copy = (code: Part["code"]): Part => ({ kind: "copy", code });
const all = (conditions: string[]): string => conditions.join(" && ") || "true";
const any = (conditions: string[]): string =>
  conditions.length === 1 ? all(conditions) : `(${conditions.join(" || ")})`;

function numberPart(helper: "isInteger" | "isNumber", { minimum, maximum, "x-decimals": places }: Node): Part {
  const [least = "", most = ""] = LIMITS[helper] ?? [];
  const limits = [minimum === undefined ? least : text(minimum), maximum === undefined ? most : text(maximum)];
  return test((value) =>
    all([
      `parts.${helper}(${value}, ${limits.join(", ")})`,
      ...(places === undefined ? [] : [`parts.hasDecimals(${value}, ${text(places)})`]),
    ])
  );
}

/** A part as a function of one value. */
function functionOf({ kind, code }: Part): string {
  const called = code("value");
  if (kind === "test") return `(value) => ${called} ? value : parts.refused`;
  return called.match(/^([\w.]+)\(value\)$/)?.[1] ?? `(value) => ${called}`;
}

/** Returns the schemas and responses that these roots lead to, as `schemas/Room`. */
function reachedFrom(components: Node, roots: Json[]): Set<string> {
  const reached = new Set<string>();
  const visit = (part: Json): void => {
    for (const [, kind = "", name = ""] of text(part).matchAll(/"#\/components\/(\w+)\/(\w+)"/g)) {
      const key = `${kind}/${name}`;
      if (reached.has(key)) continue;
      reached.add(key);
      visit(node(components[kind], kind)[name] ?? null);
    }
  };
  roots.forEach(visit);
  return reached;
}

/**
 * Returns the TypeScript of `generated/serializers.ts`. The contract must be one that `generateContract` accepts. Throws a
 * `ContractError` for an answer that cannot be serialized.
 */
export function generateSerializers(document: Json): string {
  const components = node(node(document, "document").components, "components");
  const schemas = node(components.schemas ?? {}, "components.schemas");
  const { named, resolved, inOrder } = schemaWriter(components);
  const patterns: string[] = [];
  const functions: string[] = [];
  /** The parts of the named schemas so far. */
  const byName = new Map<string, Part>();

  function stringPart({ const: literal, enum: values, format, minLength, maxLength, pattern }: Node): Part {
    const choices = literal === undefined ? values : [literal];
    if (Array.isArray(choices)) {
      const texts = choices.filter((each) => each !== null);
      return test((value) => any(texts.map((each) => `${value} === ${text(each)}`)));
    }
    if (format !== undefined) return test((value) => `parts.matches(${value}, ${FORMATS[String(format)]})`);
    const limits = [text(minLength ?? 0), maxLength === undefined ? "Infinity" : text(maxLength)].join(", ");
    const hasLimits = minLength !== undefined || maxLength !== undefined;
    if (pattern !== undefined) patterns.push(`const pattern${patterns.length} = new RegExp(${text(pattern)});`);
    const patternName = `pattern${patterns.length - 1}`;
    return test((value) =>
      all([
        `typeof ${value} === "string"`,
        ...(hasLimits ? [`parts.hasLength(${value}, ${limits})`] : []),
        ...(pattern === undefined ? [] : [`parts.matches(${value}, ${patternName})`]),
      ])
    );
  }

  /** Adds a function. Its statements return a copy of `value` or `refused`. */
  function functionPart(name: string, ...statements: string[]): Part {
    functions.push(`function copy${name}(value: unknown): unknown { ${statements.join("\n")} }`);
    return copy((value) => `copy${name}(${value})`);
  }

  function objectPart(schema: Node, name: string, where: string): Part {
    if (schema.properties === undefined) {
      if (!isNode(schema.additionalProperties)) return copy((value) => `parts.copyRecord(${value})`);
      const copyValue = functionOf(partOf(schema.additionalProperties, `${name}_value`, where));
      return copy((value) => `parts.copyRecordOf(${value}, ${copyValue})`);
    }
    const required = Array.isArray(schema.required) ? schema.required : [];
    const fields: string[] = [];
    const conditions: string[] = [];
    for (const [key, property] of entries(schema.properties, where)) {
      const place = `${where}.${key}`;
      if (!/^[A-Za-z]\w*$/.test(key)) fail(place, "a field of an answer needs a name of letters, digits and _");
      if (property.default !== undefined) {
        fail(place, "a field of an answer is required or optional, without a default");
      }
      const part = partOf(property, `${name}_${key}`, place);
      const isRequired = required.includes(key);
      if (part.kind === "copy") {
        const copied = isRequired
          ? part.code(`value.${key}`)
          : `parts.copyIfDefined(value.${key}, ${functionOf(part)})`;
        fields.push(`${key}: ${copied}`);
        conditions.push(`copy.${key} !== parts.refused`);
      } else {
        const valid = part.code(`copy.${key}`);
        fields.push(`${key}: value.${key}`);
        conditions.push(isRequired ? valid : any([`copy.${key} === undefined`, valid]));
      }
    }
    if (schema.additionalProperties === false) conditions.push("parts.hasOnly(value, copy)");
    return functionPart(
      name,
      "if (!parts.isObject(value)) return parts.refused;",
      `const copy = { ${fields.join(", ")} };`,
      `return ${all(conditions)} ? copy : parts.refused;`,
    );
  }

  function oneOfPart(schema: Node, name: string, where: string): Part {
    const tag = String(node(schema.discriminator, where).propertyName);
    const cases = (schema.oneOf as Node[]).map((member) => {
      const memberName = named("schemas", member.$ref, where);
      const { properties, required } = node(schemas[memberName], memberName);
      const { const: value = null, type } = node(node(properties, memberName)[tag], memberName);
      if (!Array.isArray(required) || !required.includes(tag) || type !== "string") {
        fail(where, `\`${tag}\` of ${memberName} must be required, and of no other type than string`);
      }
      return `case ${text(value)}: return copy${memberName}(value);`;
    });
    return functionPart(
      name,
      "if (!parts.isObject(value)) return parts.refused;",
      `switch (value.${tag}) { ${cases.join("\n")} default: return parts.refused; }`,
    );
  }

  function anyOfPart(schema: Node, name: string, where: string): Part {
    const members = (schema.anyOf as Node[]).map((member, index) => partOf(member, `${name}_${index}`, where));
    if (members.every(({ kind }) => kind === "test")) {
      return test((value) => any(members.map(({ code }) => code(value))));
    }
    const attempts = members.map(({ kind, code }, index) =>
      kind === "test" ? `if (${code("value")}) return value;` : `const copy${index} = ${code("value")};
        if (copy${index} !== parts.refused) return copy${index};`
    );
    return functionPart(name, ...attempts, "return parts.refused;");
  }

  function typedPart(schema: Node, type: string, { name, where }: { name: string; where: string }): Part {
    switch (type) {
      case "string":
        return stringPart(schema);
      case "integer":
        return numberPart("isInteger", schema);
      case "number":
        return numberPart("isNumber", schema);
      case "boolean":
        return test((value) => `typeof ${value} === "boolean"`);
      case "array": {
        const copyItem = functionOf(partOf(node(schema.items, where), `${name}_item`, `${where}[]`));
        const { minItems = 0, maxItems } = schema;
        const most = maxItems === undefined ? "Infinity" : text(maxItems);
        return copy((value) => `parts.copyArray(${value}, ${copyItem}, ${text(minItems)}, ${most})`);
      }
      default:
        return objectPart(schema, name, where);
    }
  }

  function partOf(schema: Node, name: string, where: string): Part {
    if (schema.$ref !== undefined) {
      const target = named("schemas", schema.$ref, where);
      return byName.get(target) ?? fail(where, `${target} is not written yet`);
    }
    if (schema.oneOf !== undefined) return oneOfPart(schema, name, where);
    if (schema.anyOf !== undefined) return anyOfPart(schema, name, where);
    const { type, nullable } = typeOf(schema, where);
    const part = typedPart(schema, type, { name: nullable ? `${name}_value` : name, where });
    if (!nullable) return part;
    return part.kind === "test"
      ? test((value) => any([`${value} === null`, part.code(value)]))
      : copy((value) => `parts.copyUnlessNull(${value}, ${functionOf(part)})`);
  }

  /** Writes a named schema as one function, which other schemas call. */
  function addNamed(name: string): void {
    const part = partOf(node(schemas[name], name), name, `components.schemas.${name}`);
    if (part.kind === "test") {
      functions.push(`function is${name}(value: unknown): boolean { return ${part.code("value")}; }`);
      byName.set(name, test((value) => `is${name}(${value})`));
    } else {
      const isFunction = part.code("value") === `copy${name}(value)`;
      byName.set(name, isFunction ? part : functionPart(name, `return ${part.code("value")};`));
    }
  }

  const operations = entries(node(document, "document").paths, "paths")
    .flatMap(([, item]) => Object.values(item).filter(isNode));
  const reached = reachedFrom(
    components,
    operations.flatMap(({ responses = null, "x-websocket": frames = {} }) => [
      responses,
      node(frames, "x-websocket").serverFrame ?? null,
    ]),
  );
  const names = inOrder().filter((name) => reached.has(`schemas/${name}`));
  names.forEach(addNamed);
  const serializers = names.filter((name) => byName.get(name)?.kind === "copy")
    .map((name) => `export const serialize${name}: parts.Serialize = parts.serializer(copy${name}, schemas.${name});`);

  const answers = operations.map(({ operationId, responses }) => {
    const successes = entries(responses, String(operationId)).filter(([status]) => status.startsWith("2"))
      .map(([status, response]) => {
        const content = node(resolved("responses", response, status).content, status);
        const { $ref } = node(node(content["application/json"], status).schema, status);
        return `${status}: serialize${named("schemas", $ref, status)}`;
      });
    return `${operationId}: { ${successes.join(", ")} },`;
  });

  return `
import * as parts from "../src/serializing.ts";
import * as schemas from "./contract.ts";

${patterns.join("\n")}

${functions.join("\n\n")}

${serializers.join("\n")}

/** The serializers of each operation's answers, by status. */
export const answerSerializers = { ${answers.join("\n")} };
`;
}
