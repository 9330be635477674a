/** Turns schemas of the dialect into zod code. */
import { entries, fail, isNode, type Json, type Node, node, omit, text } from "./nodes.ts";

/** The keywords of a schema, by its type. */
const KEYWORDS: Record<string, string[]> = {
  string: ["minLength", "maxLength", "pattern", "format", "enum", "const"],
  integer: ["minimum", "maximum"],
  number: ["minimum", "maximum", "x-decimals"],
  boolean: [],
  array: ["items", "minItems", "maxItems"],
  object: ["properties", "required", "additionalProperties"],
};
const FORMATS: Record<string, string> = { "date-time": "z.iso.datetime({ offset: true })", date: "z.iso.date()" };

export interface SchemaWriter {
  /** Returns the name in a `$ref` to a component of this kind. */
  named(kind: string, ref: Json | undefined, where: string): string;
  /** Returns the target of a `$ref`, or the value itself. */
  resolved(kind: string, value: Node, where: string): Node;
  /** Returns the zod code of a schema in a JSON body. */
  schemaCode(schema: Node, where: string): string;
  /** Returns the zod code of a parameter, which arrives as text. */
  parameterSchemaCode(parameter: Node, where: string): string;
  /** Returns the names of the schemas. Each comes after the schemas that it uses. */
  inOrder(): string[];
}

export function assertAlone(reference: Node, where: string): void {
  if (Object.keys(reference).length > 1) fail(where, "nothing may stand beside a $ref");
}

/** Returns the one type of a schema, and whether `null` is allowed beside it. */
export function typeOf(schema: Node, where: string): { type: string; nullable: boolean } {
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  const [type, ...others] = types.filter((each) => each !== "null");
  if (typeof type !== "string" || others.length > 0 || !(type in KEYWORDS)) {
    fail(where, `type must be one of ${Object.keys(KEYWORDS).join(", ")}, and 'null' beside it`);
  }
  return { type, nullable: types.includes("null") };
}

function assertDialect(schema: Node, type: string, where: string): void {
  const known = ["type", "description", "default", ...(KEYWORDS[type] ?? [])];
  for (const key of Object.keys(schema)) {
    if (!known.includes(key)) fail(where, `keyword \`${key}\` of type ${type} is outside our dialect`);
  }
}

/** The message for a wrong value: the description from the contract, if it has one. */
function failureMessage({ description }: Node, otherwise: string): string {
  return description === undefined ? otherwise : `must be: ${description}`.replace(/\.$/, "");
}

function described({ description, "x-decimals": places }: Node): string {
  const shown = { ...(description && { description }), ...(places && { "x-decimals": places }) };
  return Object.keys(shown).length === 0 ? "" : `.openapi(${text(shown)})`;
}

/**
 * A number, perhaps with `x-decimals`: how many decimals it may have. `multipleOf` is not used, because validators that
 * divide doubles refuse 19.99 as a multiple of 0.01.
 */
function numberCode(schema: Node, where: string): string {
  const code = `z.number()${bounds(schema, { minimum: "min", maximum: "max" })}`;
  const places = schema["x-decimals"];
  if (places === undefined) return code;
  if (typeof places !== "number" || ![1, 2, 3].includes(places)) fail(where, "x-decimals must be 1, 2 or 3");
  return `${code}.refine(decimals(${places}), "must have at most ${places} decimals")`;
}

function bounds(schema: Node, names: Record<string, string>): string {
  return Object.entries(names)
    .map(([keyword, method]) => schema[keyword] === undefined ? "" : `.${method}(${text(schema[keyword])})`).join("");
}

function stringCode(schema: Node, where: string): string {
  const [kind, ...others] = ["const", "enum", "format"].filter((key) => schema[key] !== undefined);
  const lengths = ["minLength", "maxLength", "pattern"].filter((key) => schema[key] !== undefined);
  if (kind !== undefined && others.length + lengths.length > 0) {
    fail(where, `\`${kind}\` says all; \`${[...others, ...lengths][0]}\` beside it is outside our dialect`);
  }
  if (schema.const !== undefined) return `z.literal(${text(schema.const)})`;
  if (schema.enum !== undefined) {
    if (!Array.isArray(schema.enum)) fail(where, "enum must be a list");
    return `z.enum(${text(schema.enum.filter((each) => each !== null))})`;
  }
  if (schema.format !== undefined) {
    return FORMATS[String(schema.format)] ?? fail(where, `format ${schema.format} is outside our dialect`);
  }
  const pattern = schema.pattern === undefined
    ? ""
    : `.regex(new RegExp(${text(schema.pattern)}), ${text(failureMessage(schema, `must match ${schema.pattern}`))})`;
  return `z.string()${bounds(schema, { minLength: "min", maxLength: "max" })}${pattern}`;
}

/** Writes the schemas of a contract with these components. */
export function schemaWriter(components: Node): SchemaWriter {
  const schemas = node(components.schemas ?? {}, "components.schemas");

  function named(kind: string, ref: Json | undefined, where: string): string {
    const name = String(ref).match(new RegExp(`^#/components/${kind}/(\\w+)$`))?.[1];
    if (name === undefined || !isNode(node(components[kind] ?? {}, kind)[name])) fail(where, `cannot resolve ${ref}`);
    return name;
  }

  function resolved(kind: string, value: Node, where: string): Node {
    if (value.$ref === undefined) return value;
    assertAlone(value, where);
    return node(node(components[kind], kind)[named(kind, value.$ref, where)], where);
  }

  function objectCode(schema: Node, where: string): string {
    const additional = schema.additionalProperties;
    if (schema.properties === undefined) {
      if (additional === true) return "z.record(z.string(), z.unknown())";
      if (isNode(additional)) return `z.record(z.string(), ${schemaCode(additional, where)})`;
      fail(where, "an object without properties needs additionalProperties");
    }
    if (additional !== undefined && additional !== false) fail(where, "additionalProperties must be false or left out");
    const required = Array.isArray(schema.required) ? schema.required : [];
    const properties = entries(schema.properties, where);
    for (const name of required) {
      if (!properties.some(([key]) => key === name)) fail(where, `required property ${name} is not declared`);
    }
    const fields = properties.map(([name, property]) => {
      const optional = required.includes(name) || property.default !== undefined ? "" : ".optional()";
      return `${text(name)}: ${schemaCode(property, `${where}.${name}`)}${optional}`;
    });
    return `${additional === false ? "z.strictObject" : "z.object"}({ ${fields.join(", ")} })`;
  }

  function unionCode(schema: Node, where: string): string {
    const { propertyName: tag, mapping } = node(schema.discriminator, `${where}.discriminator`);
    const unknown = Object.keys(omit(schema, "oneOf", "discriminator", "description"));
    if (unknown.length > 0) fail(where, `keyword \`${unknown[0]}\` of a oneOf is outside our dialect`);
    const members = (schema.oneOf as Node[]).map((member) => {
      const name = named("schemas", member.$ref, where);
      const properties = node(node(schemas[name], name).properties, name);
      const value = node(properties[String(tag)] ?? {}, name).const;
      if (value === undefined) fail(where, `${name} needs \`${tag}\` with a const, the discriminator`);
      if (mapping !== undefined && node(mapping, where)[String(value)] !== member.$ref) {
        fail(where, `the discriminator's mapping must lead from ${value} to ${name}`);
      }
      return name;
    });
    return `z.discriminatedUnion(${text(tag ?? null)}, [${members.join(", ")}])${described(schema)}`;
  }

  /** A value of one of several types. The types must differ, because they select the member. */
  function anyOfCode(schema: Node, where: string): string {
    const unknown = Object.keys(omit(schema, "anyOf", "description"));
    if (unknown.length > 0) fail(where, `keyword \`${unknown[0]}\` of an anyOf is outside our dialect`);
    const members = schema.anyOf as Node[];
    const types = members.map((member) => typeOf(resolved("schemas", member, where), where).type);
    if (new Set(types).size !== types.length) fail(where, "the members of an anyOf must differ by type");
    const codes = members.map((member) => schemaCode(member, where)).join(", ");
    return `z.union([${codes}], ${text(failureMessage(schema, "must be of a type that is allowed here"))})${
      described(schema)
    }`;
  }

  function typedCode(schema: Node, type: string, where: string): string {
    switch (type) {
      case "string":
        return stringCode(schema, where);
      case "integer":
        return `z.int()${bounds(schema, { minimum: "min", maximum: "max" })}`;
      case "number":
        return numberCode(schema, where);
      case "boolean":
        return "z.boolean()";
      case "array": {
        const items = schemaCode(node(schema.items, `${where}.items`), `${where}[]`);
        return `z.array(${items})${bounds(schema, { minItems: "min", maxItems: "max" })}`;
      }
      default:
        return objectCode(schema, where);
    }
  }

  function schemaCode(schema: Node, where: string): string {
    if (schema.$ref !== undefined) {
      assertAlone(schema, where);
      return named("schemas", schema.$ref, where);
    }
    if (schema.oneOf !== undefined) return unionCode(schema, where);
    if (schema.anyOf !== undefined && schema.type === undefined) return anyOfCode(schema, where);
    const { type, nullable } = typeOf(schema, where);
    assertDialect(schema, type, where);
    const code = typedCode(schema, type, where);
    const fallback = schema.default === undefined ? "" : `.default(${text(schema.default)})`;
    return `${code}${nullable ? ".nullable()" : ""}${fallback}${described(schema)}`;
  }

  function parameterSchemaCode(parameter: Node, where: string): string {
    const written = node(parameter.schema, `${where}.schema`);
    const schema = resolved("schemas", written, where);
    const { type, nullable } = typeOf(schema, where);
    assertDialect(schema, type, where);
    if (nullable) fail(where, "a parameter cannot be null");
    const maximum = parameter["x-served-maximum"];
    const served = maximum === undefined ? "" : `.transform((value) => Math.min(value, ${text(maximum)}))`;
    const plain = omit(schema, "default");
    const decoded = () => {
      switch (type) {
        case "string":
          return written.$ref === undefined ? schemaCode(plain, where) : schemaCode(written, where);
        case "integer":
          return `integerParameter(${schemaCode(omit(plain, "description"), where)})${served}`;
        case "boolean":
          return "booleanParameter()";
        case "array": {
          const items = parameterSchemaCode({ schema: node(schema.items, where) }, where);
          return `listParameter(z.array(${items})${bounds(schema, { minItems: "min", maxItems: "max" })})`;
        }
        default:
          return fail(where, `a parameter of type ${type} is outside our dialect`);
      }
    };
    // The emitter cannot see the schema behind the decoding of text, so it gets the schema separately.
    const emitted = type === "string" ? "" : `.openapi(${text(schema)} as const)`;
    const fallback = schema.default === undefined ? "" : `.prefault(${text(String(schema.default))})`;
    return `${decoded()}${emitted}${fallback}`;
  }

  function inOrder(): string[] {
    const done: string[] = [];
    const visit = (name: string, path: string[]): void => {
      if (path.includes(name)) fail(`components.schemas.${name}`, "a schema cannot contain itself");
      if (done.includes(name)) return;
      for (const [, used] of JSON.stringify(schemas[name]).matchAll(/#\/components\/schemas\/(\w+)/g)) {
        if (used !== undefined) visit(named("schemas", `#/components/schemas/${used}`, name), [...path, name]);
      }
      done.push(name);
    };
    Object.keys(schemas).forEach((name) => visit(name, []));
    return done;
  }

  return { named, resolved, schemaCode, parameterSchemaCode, inOrder };
}
