/** The packed SDK: `tests/client/journey.ts` with the installed package in Node, Deno and a browser. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { parse } from "yaml";
import openapiYaml from "../../openapi.yaml" with { type: "text" };
import { newRoom, newTimeslots } from "../support/builders.ts";
import { hasBrowser, openPage } from "../support/browser.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { startProxy } from "../client/proxy.ts";
import type { Journey, JourneyOptions } from "../client/journey.ts";

const root = new URL("../../", import.meta.url);
/** The compiler that generates the types of the contract. */
const compiler = createRequire(import.meta.resolve("openapi-typescript")).resolve("typescript/bin/tsc");
const { version } = parse(openapiYaml).info;
const date = "2026-03-09";

/** Returns the standard output of a program. Fails with all output if the program fails. */
async function run(program: string, args: string[], cwd: string | URL): Promise<string> {
  const env = { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
  const output = await new Deno.Command(program, { args, cwd, env, stdin: "null" }).output();
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(output.success, `${program} ${args.join(" ")}\n${stdout}${stderr}`);
  return stdout ?? "";
}

async function majorOfNode(): Promise<number | undefined> {
  try {
    return Number.parseInt((await run("node", ["--version"], root)).slice(1));
  } catch (failure) {
    if (failure instanceof Deno.errors.NotFound) return undefined;
    throw failure;
  }
}

const nodeMajor = await majorOfNode();
const hasNode = nodeMajor !== undefined;
if (!hasNode) console.log("Node not found: the packed SDK is not tested.");
else if (!hasBrowser) console.log("Chromium not found. Set CHROMIUM_PATH to test the SDK in a browser.");

/** Packages for a Node without `WebSocket`. */
const webSocketPackages = ["ws@8.23.0", "@types/ws@8.18.2"];

/** Strict options. The compiler checks the types of the installed packages too. */
const compilerOptions = {
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  module: "nodenext",
  target: "es2022",
  lib: ["es2023", "dom", "dom.iterable", "dom.asynciterable"],
  types: [],
  skipLibCheck: false,
  // Only the libraries of the compiler are skipped.
  skipDefaultLibCheck: true,
};

/** Makes a project that has installed the package, and compiles `journey.ts` in it. */
async function newProject(): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_sdk_test_" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  await run(Deno.execPath(), ["task", "--quiet", "sdk", folder], root);
  const tarball = `slotkeeper-client-${version}.tgz`;
  await Deno.writeTextFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"];
  await run("npm", ["install", ...options, `./${tarball}`, ...webSocketPackages], folder);
  for (const name of ["journey.ts", "mistakes.ts"]) {
    await Deno.copyFile(new URL(`tests/client/${name}`, root), join(folder, name));
  }
  const report = (call: string) => `console.log(JSON.stringify(await ${call}));\n`;
  for (
    const [name, text] of Object.entries({
      "tsconfig.json": JSON.stringify({ compilerOptions, exclude: ["deno.ts"] }),
      "node.mjs": 'import { journey } from "./journey.js";\n' + report("journey(JSON.parse(process.argv[2]))"),
      "node_ws.mjs": 'import { WebSocket } from "ws";\nimport { journey } from "./journey.js";\n' +
        report("journey({ ...JSON.parse(process.argv[2]), WebSocket })"),
      // Deno checks the types of `ws`, because its compiler is faster.
      "deno.ts":
        'import type { WebSocket } from "ws";\nimport { journey, type JourneyOptions } from "./journey.ts";\n' +
        'type Wanted = NonNullable<JourneyOptions["WebSocket"]>;\n' +
        "export const fits: typeof WebSocket extends Wanted ? true : false = true;\n" +
        report('journey(JSON.parse(Deno.args[0] ?? ""))'),
    })
  ) await Deno.writeTextFile(join(folder, name), text);
  await run("node", [compiler], folder);
  return folder;
}

/** Packed and installed once for all tests. */
const project = hasNode ? await newProject() : "";

/**
 * Runs `travel` as a new user with a new room, and checks its results. With `isFlaky` a proxy cuts its connections again and
 * again.
 */
async function assertJourney(
  server: TestServer,
  { subject, isFlaky = false }: { subject: string; isFlaky?: boolean },
  travel: (options: JourneyOptions) => Promise<Journey>,
): Promise<void> {
  await using proxy = await startProxy([server.url]);
  if (isFlaky) proxy.cutAfter = () => 500 + Math.floor(Math.random() * 9_500);
  const roomName = `Room of ${subject}`;
  await newTimeslots(server, await newRoom(server, { name: roomName }), { date });
  const seen = await travel({
    baseUrl: isFlaky ? proxy.url : server.url,
    token: await server.token(subject),
    roomName,
    date,
  });
  const bookings = await server.db.selectFrom("bookings").innerJoin("rooms", "rooms.id", "bookings.room_id")
    .select(["bookings.id", "bookings.status"]).where("rooms.name", "=", roomName).orderBy("bookings.id").execute();
  assert.deepEqual(bookings.map(({ status }) => status), ["cancelled", "pending", "pending"]);
  const ids = bookings.map(({ id }) => id);
  assert.deepEqual(seen, {
    booked: ids,
    listed: ids.toReversed(),
    problems: ["timeslot_unavailable", "booking_not_found"],
    events: [...ids.map((id) => `created ${id}`), `cancelled ${ids[0]}`],
  });
}

Deno.test({
  name:
    "SDK package: contents -> version of the contract, one dependency, under 20,000 bytes for a page, no server code",
  ignore: !hasNode,
  async fn() {
    const folder = join(project, "node_modules/@slotkeeper/client");
    const manifest = JSON.parse(await Deno.readTextFile(join(folder, "package.json")));
    assert.deepEqual([manifest.name, manifest.version, manifest.license], ["@slotkeeper/client", version, "MIT"]);
    assert.deepEqual(Object.keys(manifest.dependencies), ["openapi-fetch"]);
    for (const kind of ["devDependencies", "peerDependencies", "optionalDependencies", "scripts", "bin"]) {
      assert.equal(manifest[kind], undefined, kind);
    }
    const names = [];
    let size = 0;
    for await (const { name, isFile } of Deno.readDir(folder)) {
      assert(isFile, name);
      names.push(name);
      const text = await Deno.readTextFile(join(folder, name));
      if (name.endsWith(".js")) size += gzipSync(text).byteLength;
      assert.doesNotMatch(text, /\.\.\/|\/src\/|generated\/|(?<!\.d)\.ts"|slotkeeper_sdk_|file:\/\//, name);
    }
    assert(size < 20_000, `${size} bytes`);
    const sources = [...Deno.readDirSync(new URL("src/client", root))].map(({ name }) => name.replace(/\.ts$/, ""));
    const stems = new Set(names.map((name) => name.replace(/(\.d\.ts|\.js)$/, "")));
    assert.deepEqual(stems, new Set(["LICENSE", "package.json", "api", ...sources]));
  },
});

for (
  const [name, file, flags] of [
    ["its WebSocket", "node.mjs", (nodeMajor ?? 0) < 22 ? ["--experimental-websocket"] : []],
    ["the WebSocket of `ws`", "node_ws.mjs", []],
  ] as const
) {
  Deno.test({
    name: `SDK package: Node ${nodeMajor} with ${name}, strict TypeScript, connections that break -> every call works`,
    ignore: !hasNode,
    async fn() {
      await using server = await startServer();
      await assertJourney(server, { subject: file, isFlaky: true }, async (options) => {
        return JSON.parse(await run("node", [...flags, file, JSON.stringify(options)], project));
      });
    },
  });
}

Deno.test({
  name: "SDK package: Deno with type check, connections that break -> every call works",
  ignore: !hasNode,
  async fn() {
    await using server = await startServer();
    await assertJourney(server, { subject: "deno", isFlaky: true }, async (options) => {
      const flags = ["--check", "--no-config", "--no-lock", "--node-modules-dir=manual", "--allow-net"];
      return JSON.parse(await run(Deno.execPath(), ["run", ...flags, "deno.ts", JSON.stringify(options)], project));
    });
  },
});

const contentTypes: Record<string, string> = { ".js": "text/javascript", ".mjs": "text/javascript" };

/** Serves the project on its own origin, with a page that finds the package by an import map. */
function servePages(): Deno.HttpServer<Deno.NetAddr> {
  const imports = {
    "@slotkeeper/client": "/node_modules/@slotkeeper/client/mod.js",
    "openapi-fetch": "/node_modules/openapi-fetch/dist/index.mjs",
  };
  const page = `<!doctype html><link rel="icon" href="data:,">
<script type="importmap">${JSON.stringify({ imports })}</script>
<script type="module">import { journey } from "/journey.js"; globalThis.journey = journey;</script>`;
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async ({ url }) => {
    const { pathname } = new URL(url);
    if (pathname === "/") return new Response(page, { headers: { "Content-Type": "text/html" } });
    const type = contentTypes[extname(pathname)];
    if (type === undefined) return new Response(null, { status: 404 });
    return new Response(await Deno.readFile(join(project, pathname)), { headers: { "Content-Type": type } });
  });
}

Deno.test({
  name: "SDK package: page of another origin, no bundler -> every call works",
  ignore: !hasNode || !hasBrowser,
  async fn() {
    const pages = servePages();
    const origin = `http://127.0.0.1:${pages.addr.port}`;
    await using server = await startServer({ env: { CORS_ORIGINS: origin } });
    try {
      await using watched = await openPage({ origins: [origin, server.url] });
      await watched.page.goto(origin);
      await watched.page.waitForFunction("globalThis.journey !== undefined");
      await assertJourney(
        server,
        { subject: "page" },
        (options) => watched.page.evaluate(`journey(${JSON.stringify(options)})`),
      );
      // The browser reports two refused requests and the WebSocket, and nothing else.
      const kinds = watched.faults.map((fault) => fault.replace(/\?ticket=\S+|: the server responded.+$/, ""));
      assert.deepEqual(
        kinds.toSorted(),
        [
          "Failed to load resource",
          "Failed to load resource",
          `socket to ${server.url.replace("http", "ws")}/api/v1/ws`,
        ].toSorted(),
      );
    } finally {
      await pages.shutdown();
    }
  },
});
