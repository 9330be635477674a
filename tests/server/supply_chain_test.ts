/** What is installed is what was reviewed: exact versions, with checksums, and nothing new by itself. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { object } from "../contract/document.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

Deno.test("every package is imported in an exact version, which the lock file has with a checksum", async () => {
  const { imports, lock } = JSON.parse(await read("deno.json"));
  const { npm, specifiers } = JSON.parse(await read("deno.lock"));
  assert.deepEqual(lock, { path: "deno.lock", frozen: true });
  const { "@slotkeeper/client": own, ...packages } = imports;
  assert.equal(own, "./src/client/mod.ts");
  for (const specifier of Object.values<string>(packages)) {
    assert.match(specifier, /^npm:(@[\w.-]+\/)?[\w.-]+@\d+\.\d+\.\d+(-[\w.]+)?$/);
    assert(specifier in specifiers, `${specifier} is not in the lock file`);
  }
  const locked = Object.entries<{ integrity?: string }>(npm);
  assert(locked.length > 0);
  for (const [name, { integrity }] of locked) assert.match(integrity ?? "", /^sha512-/, name);
});

Deno.test("the images of the Dockerfile and of the compose file have exact tags", async () => {
  const dockerfile = await read("Dockerfile");
  for (const [, image] of dockerfile.matchAll(/^FROM (\S+)/gm)) assert.match(image ?? "", /:.*\d+\.\d+\.\d+/);
  const services = object(object(parse(await read("scripts/deploy/compose.yaml"))).services);
  for (const service of Object.values(services)) {
    const { image } = object(service);
    if (image !== undefined && !String(image).startsWith("slotkeeper")) assert.match(String(image), /:.*\d+\.\d+/);
  }
});
