/**
 * Packs the SDK in `src/client` as the npm package `@slotkeeper/client`: `deno task sdk [folder]`.
 * The package has the version of the contract.
 */
import { join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import denoJson from "../deno.json" with { type: "json" };
import { answerHelp, refuseArguments } from "../src/boot/arguments.ts";
import { version } from "../src/version.ts";

/** Limit of what a page loads, in bytes: all modules, compressed, without types. */
const largestBytes = 20_000;

const root = new URL("../", import.meta.url);
const [target = ".", ...more] = Deno.args;
const usage = `Usage: deno task sdk [folder]

Packs the SDK as an npm package, into the folder or here.`;
answerHelp(usage);
const unknown = target.startsWith("-") ? target : more[0];
if (unknown !== undefined) refuseArguments(`Unknown argument '${unknown}'. Nothing was packed.`, usage);
const output = resolve(target);

async function run(args: string[], cwd: string): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd, stdout: "null" }).output();
  if (!success) throw new Error(`deno ${args.join(" ")} failed:\n${new TextDecoder().decode(stderr)}`);
}

/** Copies the sources and the types of the contract to `folder`, with a `deno.json`. */
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

/** Returns how much a page loads, in bytes. */
async function measureBytes(tarball: string, folder: string): Promise<number> {
  const { success } = await new Deno.Command("tar", { args: ["-xzf", tarball, "-C", folder] }).output();
  if (!success) throw new Error(`tar cannot read ${tarball}`);
  let bytes = 0;
  for await (const { name } of Deno.readDir(join(folder, "package"))) {
    if (name.endsWith(".js")) bytes += gzipSync(await Deno.readFile(join(folder, "package", name))).byteLength;
  }
  return bytes;
}

const folder = await Deno.makeTempDir({ prefix: "slotkeeper_sdk_" });
try {
  await stage(folder);
  const tarball = join(output, `slotkeeper-client-${version}.tgz`);
  await Deno.mkdir(output, { recursive: true });
  // No source maps: the packed code is as readable as its source.
  await run(["pack", "--quiet", "--allow-dirty", "--no-source-maps", "--output", tarball], folder);
  const bytes = await measureBytes(tarball, folder);
  if (bytes > largestBytes) {
    throw new Error(`The SDK has ${bytes} bytes compressed, more than ${largestBytes}. Make src/client smaller.`);
  }
  console.log(`${tarball}: ${bytes} bytes compressed, without types`);
} finally {
  await Deno.remove(folder, { recursive: true });
}
