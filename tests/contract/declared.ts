/** Names that the contract declares, for tests with undeclared fields. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import type { TestServer } from "../support/server.ts";
import { child, contract, type Json, type JsonObject, object, withoutRefs } from "./document.ts";
import { valueAt } from "./injection_calls.ts";

/** Undeclared fields that an attacker may try. */
const guesses: JsonObject = {
  roles: ["admin"],
  isAdmin: true,
  is_admin: true,
  admin: true,
  owner: "mallory",
  sub: "mallory",
  permissions: ["*"],
  password: "x",
  deletedAt: null,
  version: 1,
  constructor: { prototype: { isAdmin: true } },
  prototype: { isAdmin: true },
  $set: { status: "confirmed" },
  "booking.status": "confirmed",
  "metadata[isActive]": false,
};

export const paths = object(withoutRefs(contract, contract.paths ?? {}));
export const schemas = object(withoutRefs(contract, child(contract.components, "schemas") ?? {}));

/** Returns a value that fits a schema of the contract. */
function sample(schema: Json | undefined): Json {
  const values = child(schema, "enum") ?? child(schema, "oneOf") ?? child(schema, "anyOf");
  if (child(schema, "const") !== undefined) return child(schema, "const") ?? null;
  if (Array.isArray(values)) {
    const [first = null] = values;
    return values.includes("confirmed") ? "confirmed" : typeof first === "object" ? sample(first ?? undefined) : first;
  }
  const type = [child(schema, "type")].flat()[0];
  switch (type) {
    case "integer":
    case "number":
      return 1;
    case "boolean":
      return true;
    case "array":
      return [sample(child(schema, "items"))];
    case "object":
      return Object.fromEntries(
        Object.entries(object(child(schema, "properties") ?? {})).map(([k, v]) => [k, sample(v)]),
      );
    default:
      return child(schema, "format") === undefined ? "mallory" : "2026-03-02T10:00:00.000Z";
  }
}

/** Returns every property and parameter of the contract, with a value that fits. */
function namesOf(node: Json): JsonObject {
  if (Array.isArray(node)) return Object.assign({}, ...node.map(namesOf));
  if (typeof node !== "object" || node === null) return {};
  const { name, in: place, schema, properties, example: _example, examples: _examples, ...rest } = node;
  const own = Object.entries(child({ properties: properties ?? {} }, "properties") ?? {}).map((
    [k, v],
  ) => [k, sample(v)]);
  return {
    ...namesOf(Object.values(rest)),
    ...namesOf([schema ?? null, ...Object.values(properties ?? {})]),
    ...(typeof name === "string" && typeof place === "string" ? { [name]: sample(schema) } : {}),
    ...Object.fromEntries(own),
  };
}

/** Returns the names of the contract, the columns of all tables, and the guesses. */
export async function allNames({ db }: TestServer): Promise<JsonObject> {
  const { rows } = await sql<{ name: string; type: string }>`
    select column_name as name, data_type as type from information_schema.columns where table_schema = 'public'
  `.execute(db);
  const valueFor = (type: string): Json =>
    /int|numeric/.test(type)
      ? 1
      : type === "boolean"
      ? true
      : /timestamp/.test(type)
      ? "2026-03-02T10:00:00Z"
      : "mallory";
  const columns = Object.fromEntries(rows.map(({ name, type }) => [name, valueFor(type)]));
  const names = { ...guesses, ...columns, ...namesOf([paths, schemas]) };
  for (
    const name of ["userId", "amountPaid", "holdExpiresAt", "cancellationTiers", "role", "time_zone", "payment_status"]
  ) {
    assert(names[name] !== undefined, `${name} was not found`);
  }
  return names;
}

/** Returns the keys of `json` that its schema does not declare, as paths. */
export function undeclared(schema: Json | undefined, json: Json, at = ""): string[] {
  if (Array.isArray(json)) {
    return json.flatMap((each, index) => undeclared(child(schema, "items"), each, `${at}.${index}`));
  }
  if (typeof json !== "object" || json === null) return [];
  const branches = child(schema, "oneOf") ?? child(schema, "anyOf");
  if (Array.isArray(branches)) {
    const property = String(child(child(schema, "discriminator"), "propertyName"));
    const branch = branches.find((each) => valueAt(each, ["properties", property, "const"]) === json[property]);
    return undeclared(branch, json, at);
  }
  const others = child(schema, "additionalProperties");
  if (others === true) return [];
  return Object.entries(json).flatMap(([name, value]) => {
    const inner = valueAt(schema, ["properties", name]) ?? others;
    return inner === undefined || inner === false ? [`${at}.${name}`] : undeclared(inner, value, `${at}.${name}`);
  });
}
