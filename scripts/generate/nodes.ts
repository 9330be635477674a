/** Walks the contract and reports the place of a mistake. */

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export type Node = { [key: string]: Json };

/** A part of the contract outside the dialect. The message has the place and the reason. */
export class ContractError extends Error {}

export function fail(where: string, why: string): never {
  throw new ContractError(`openapi.yaml: ${where}: ${why}`);
}

export function isNode(value: Json | undefined): value is Node {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function node(value: Json | undefined, where: string): Node {
  return isNode(value) ? value : fail(where, "must be an object");
}

export function entries(value: Json | undefined, where: string): [string, Node][] {
  return Object.entries(node(value ?? {}, where)).map(([key, child]) => [key, node(child, `${where}.${key}`)]);
}

export const text = (value: Json): string => JSON.stringify(value);
export const omit = (from: Node, ...keys: string[]): Node =>
  Object.fromEntries(Object.entries(from).filter(([key]) => !keys.includes(key)));
