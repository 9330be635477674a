/** The generated serializers equal zod and `JSON.stringify`, for any value that JavaScript can hold. */
import assert from "node:assert/strict";
import { z } from "zod";
import * as schemas from "../../generated/contract.ts";
import * as generated from "../../generated/serializers.ts";
import { runs } from "../support/properties.ts";
import { answerValue } from "./answer_values.ts";
import { contract, type Json, object, withoutRefs } from "./document.ts";
import { Random } from "./fuzz/random.ts";
import type { AnySchema } from "./fuzz/values.ts";
import { loadContract, loadSerializers } from "./generated_code.ts";
import { contractWith, withEveryKeyword } from "./small_contract.ts";

const seed = Number(Deno.env.get("SERIALIZER_SEED") ?? 1);

/** The text, or the kind of failure. */
function outcomeOf(serialize: () => string): string {
  try {
    return serialize();
  } catch (failure) {
    return failure instanceof z.ZodError ? "refused" : `failed: ${failure}`;
  }
}

/** The schema of this name as zod, as it is written, and its serializer. */
interface Pair {
  schema: unknown;
  serialize: unknown;
  written: Json | undefined;
}

function assertEqual({ schema, serialize, written }: Pair, count: number): void {
  assert(schema instanceof z.ZodType && typeof serialize === "function");
  // The generator has checked the shape of the schema.
  const declared = object(written) as unknown as AnySchema;
  let valid = 0;
  for (let index = 0; index < count; index++) {
    // Each side gets a value of its own.
    const make = () => answerValue(Random.of(seed, index), declared);
    const expected = outcomeOf(() => JSON.stringify(schema.parse(make())));
    assert.equal(outcomeOf(() => serialize(make())), expected, `value ${index} of SERIALIZER_SEED=${seed}`);
    if (expected !== "refused") valid++;
  }
  assert(valid > count / 8 && valid < count * 7 / 8, `${valid} of ${count} values are valid`);
}

const namesOf = (serializers: object) =>
  Object.keys(serializers).flatMap((key) => key.match(/^serialize(\w+)$/)?.[1] ?? []);
const writtenIn = (document: Json) => object(withoutRefs(document, object(object(document).components).schemas ?? {}));

const zodSchemas: Record<string, unknown> = schemas;
const serializers: Record<string, unknown> = generated;
const written = writtenIn(contract);

for (const name of namesOf(generated)) {
  Deno.test(`serialize${name}: any values -> the texts and refusals of zod`, () => {
    const pair = { schema: zodSchemas[name], serialize: serializers[`serialize${name}`], written: written[name] };
    assertEqual(pair, runs(50, 10_000));
  });
}

Deno.test("generated serializers: contract with every keyword -> the texts and refusals of zod", async (t) => {
  const [zodSchemas, serializers] = await Promise.all([
    loadContract(withEveryKeyword),
    loadSerializers(withEveryKeyword),
  ]);
  const written = writtenIn(contractWith(withEveryKeyword));
  const names = namesOf(serializers);
  assert(names.includes("Thing") && names.includes("Pet"));
  for (const name of names) {
    await t.step(name, () => {
      const pair = { schema: zodSchemas[name], serialize: serializers[`serialize${name}`], written: written[name] };
      assertEqual(pair, runs(200, 2_000));
    });
  }
});
