/** The types of every TypeScript sample. tests/docs/samples_test.ts runs the samples. */
import assert from "node:assert/strict";
import { codeSamples } from "../../generated/code_samples.ts";
import { documents, fileBlocks, isTypeScript, referenceBlocks, root } from "../docs/samples.ts";

Deno.test("samples: each one in TypeScript, compiled as strictly as the server -> no error", async () => {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_samples_" });
  try {
    const ofOperations = Object.entries(codeSamples).map(([name, code]) => ({ name, language: "ts", code }));
    const ofFiles = (await Promise.all(documents.map(fileBlocks))).flat();
    const samples = [...ofOperations, ...await referenceBlocks(), ...ofFiles].filter(isTypeScript);
    assert(samples.length > ofOperations.length + 5);
    for (const [index, { code, name }] of samples.entries()) {
      // The export makes a module of a sample without imports.
      await Deno.writeTextFile(`${folder}/${index}.ts`, `// ${name}\n${code}\nexport {};\n`);
    }
    const config = new URL("deno.json", root).pathname;
    const files = samples.map((_, index) => `${folder}/${index}.ts`);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", "--config", config, ...files],
      env: { NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
