/** Packages and images have exact versions, so that only reviewed versions are installed. */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { object } from "../contract/document.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

Deno.test("supply chain: packages of deno.json -> exact versions, with checksums in the lock file", async () => {
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

Deno.test("supply chain: images of Dockerfile and compose file -> exact tags", async () => {
  const dockerfile = await read("Dockerfile");
  for (const [, image] of dockerfile.matchAll(/^FROM (\S+)/gm)) assert.match(image ?? "", /:.*\d+\.\d+\.\d+/);
  const services = object(object(parse(await read("scripts/deploy/compose.yaml"))).services);
  for (const service of Object.values(services)) {
    const { image } = object(service);
    if (image !== undefined && !String(image).startsWith("slotkeeper")) assert.match(String(image), /:.*\d+\.\d+/);
  }
});
