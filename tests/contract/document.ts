/** The contract as data, for suites generated from it. */
import { parse } from "yaml";
import { operations } from "../../generated/contract.ts";
import type { OperationId } from "../support/server.ts";

export type Json = string | number | boolean | null | Json[] | JsonObject;
export interface JsonObject {
  [key: string]: Json;
}

/** The keywords of the dialect; see `scripts/generate/contract.ts`. */
export interface Schema {
  type: string | string[];
  enum?: Json[];
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  "x-decimals"?: number;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: boolean | Schema;
}

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required?: boolean;
  schema: Schema;
  example?: Json;
  "x-served-maximum"?: number;
}

interface WrittenOperation {
  operationId: OperationId;
  security: { bearer?: string[]; apiKey?: string[]; ticket?: string[] }[];
  tags: string[];
  "x-rate-limit": string;
  "x-concurrency-limit"?: string;
  parameters?: Parameter[];
  requestBody?: { content: { "application/json": { schema: Schema; example: JsonObject } } };
}

export interface ContractOperation extends WrittenOperation {
  method: string;
  path: string;
  parameters: Parameter[];
}

export const contract: JsonObject = parse(await Deno.readTextFile(new URL("../../openapi.yaml", import.meta.url)));

/** Returns `value` with each `$ref` replaced by its target in `root`. */
export function withoutRefs(root: Json, value: Json): Json {
  if (Array.isArray(value)) return value.map((each) => withoutRefs(root, each));
  if (typeof value !== "object" || value === null) return value;
  const { $ref, ...rest } = value;
  const own = Object.fromEntries(Object.entries(rest).map(([key, child]) => [key, withoutRefs(root, child)]));
  if (typeof $ref !== "string") return own;
  const target = $ref.slice("#/".length).split("/").reduce<Json | undefined>((node, key) => child(node, key), root);
  if (target === undefined) throw new Error(`cannot resolve ${$ref}`);
  return { ...object(withoutRefs(root, target)), ...own };
}

export function child(node: Json | undefined, key: string): Json | undefined {
  return typeof node === "object" && node !== null && !Array.isArray(node) ? node[key] : undefined;
}

export function object(node: Json | undefined): JsonObject {
  if (typeof node !== "object" || node === null || Array.isArray(node)) throw new Error("not an object");
  return node;
}

/** Every operation of the contract, in its order, without `$ref`s. */
export const contractOperations: ContractOperation[] = Object.entries(
  object(withoutRefs(contract, contract.paths ?? {})),
)
  .flatMap(([path, item]) => {
    // The generator and the linter have checked the shape of the document.
    const { parameters: shared = [], ...methods } = item as { parameters?: Parameter[] };
    return Object.entries(methods as Record<string, WrittenOperation>).map(([method, operation]) => ({
      ...operation,
      method: method.toUpperCase(),
      path,
      parameters: [...shared, ...operation.parameters ?? []],
    }));
  });

/** Operations that answer in HTTP. The WebSocket has tests of its own. */
export const httpOperations: ContractOperation[] = contractOperations.filter(({ operationId }) =>
  !operations[operationId].upgrades
);

/** Operations with a JSON body. The one with a signed body has tests of its own. */
export const jsonBodyOperations: ContractOperation[] = contractOperations.filter(({ operationId }) =>
  operations[operationId].bodyKind === "json"
);

/** Operations that succeed with the contract's example. Only the payment provider can sign its events. */
export const exampleOperations: ContractOperation[] = httpOperations.filter(({ operationId }) =>
  operations[operationId].bodyKind !== "raw"
);

/** Returns the access of an operation: `public`, `user` or `admin`. */
export function accessOf({ security }: ContractOperation): string {
  const [first] = security;
  return first?.bearer?.join() ?? "public";
}
