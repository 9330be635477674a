/**
 * Packs the SDK of `src/client` as `@slotkeeper/client`, for npm and everything that installs from it:
 * `deno task sdk [folder]`. Its version is that of the contract.
 */
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import denoJson from "../deno.json" with { type: "json" };
import openapiYaml from "../openapi.yaml" with { type: "text" };

/** What a page has to load at most, in bytes: all modules together, compressed, without the types. */
const largestSize = 20_000;

const root = new URL("../", import.meta.url);
const output = resolve(Deno.args[0] ?? ".");
const { version } = parse(openapiYaml).info;

async function run(args: string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, stdout: "null" }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr)}`);
}

/** The sources as a package of their own: the types of the contract lie beside them. */
async function stage(folder: string): Promise<void> {
  for await (const { name } of Deno.readDir(new URL("src/client", root))) {
    const text = await Deno.readTextFile(new URL(`src/client/${name}`, root));
    await Deno.writeTextFile(join(folder, name), text.replaceAll("../../generated/api.d.ts", "./api.ts"));
  }
  await Deno.copyFile(new URL("generated/api.d.ts", root), join(folder, "api.ts"));
  await Deno.copyFile(new URL("LICENSE", root), join(folder, "LICENSE"));
  const { "openapi-fetch": openapiFetch } = denoJson.imports;
  const config = {
    name: "@slotkeeper/client",
    version,
    license: "MIT",
    exports: "./mod.ts",
    imports: { "openapi-fetch": openapiFetch },
    lock: false,
  };
  await Deno.writeTextFile(join(folder, "deno.json"), JSON.stringify(config));
}

/** How much a page loads of the package, in bytes. */
async function sizeOf(tarball: string, folder: string): Promise<number> {
  const { success } = await new Deno.Command("tar", { args: ["-xzf", tarball, "-C", folder] }).output();
  if (!success) throw new Error(`tar could not read ${tarball}`);
  let size = 0;
  for await (const { name } of Deno.readDir(join(folder, "package"))) {
    if (name.endsWith(".js")) size += gzipSync(await Deno.readFile(join(folder, "package", name))).byteLength;
  }
  return size;
}

const folder = await Deno.makeTempDir({ prefix: "slotkeeper_sdk_" });
try {
  await stage(folder);
  const tarball = join(output, `slotkeeper-client-${version}.tgz`);
  await Deno.mkdir(output, { recursive: true });
  // Neither a repository nor source maps are needed: what is packed is as readable as its source.
  await run(["pack", "--quiet", "--allow-dirty", "--no-source-maps", "--output", tarball], folder);
  const size = await sizeOf(tarball, folder);
  if (size > largestSize) throw new Error(`The SDK has ${size} bytes compressed, more than ${largestSize}`);
  console.log(`${tarball}: ${size} bytes compressed, without types`);
} finally {
  await Deno.remove(folder, { recursive: true });
}
