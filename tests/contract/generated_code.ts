/** Imports the code that the generator makes of a small contract, without writing it to disk. */
import type { z } from "zod";
import { generateContract } from "../../scripts/generate/contract.ts";
import { generateSerializers } from "../../scripts/generate/serializers.ts";
import type { Serialize } from "../../src/serializing.ts";
import { type At, contractWith } from "./small_contract.ts";

/** The parts of `generated/contract.ts` that tests use. */
export interface GeneratedContract {
  [schema: string]: unknown;
  concurrencyLimits: unknown;
  operations: Record<
    string,
    {
      concurrencyLimit: string;
      route: { request: { query: z.ZodType; body?: { content: Record<string, { schema: z.ZodType }> } } };
    }
  >;
}

/** The parts of `generated/serializers.ts` that tests use. */
export interface GeneratedSerializers {
  [serializer: string]: unknown;
  answerSerializers: Record<string, Record<number, Serialize>>;
}

/** A module of this code. Its relative imports become absolute. */
function moduleOf(code: string, imports: Record<string, string>): string {
  const absolute = Object.entries(imports).reduce(
    (text, [path, url]) => text.replace(JSON.stringify(path), () => JSON.stringify(url)),
    code,
  );
  return `data:application/typescript,${encodeURIComponent(absolute)}`;
}

const sourceOf = (name: string): string => new URL(`../../src/${name}`, import.meta.url).href;

function contractModule(change: (at: At) => void): string {
  return moduleOf(generateContract(contractWith(change)), {
    "../src/parameters.ts": sourceOf("parameters.ts"),
    "../src/serializing.ts": sourceOf("serializing.ts"),
  });
}

export async function loadContract(change: (at: At) => void): Promise<GeneratedContract> {
  return await import(contractModule(change));
}

export async function loadSerializers(change: (at: At) => void): Promise<GeneratedSerializers> {
  const code = generateSerializers(contractWith(change));
  return await import(
    moduleOf(code, { "../src/serializing.ts": sourceOf("serializing.ts"), "./contract.ts": contractModule(change) })
  );
}
