/** Clients that common generators make from the contract: compiled strictly, then one booking with each. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";

/** They are not in `deno.json`, because they would double the time of an installation. */
const packages = [
  "@hey-api/openapi-ts@0.99.0",
  "openapi-fetch@0.17.0",
  "openapi-typescript@7.13.0",
  "orval@8.38.0",
  "swagger-typescript-api@13.13.0",
  "typescript@5.9.3",
];

/** Without `exactOptionalPropertyTypes`, which the clients of `@hey-api/openapi-ts` do not pass. */
const compilerOptions = {
  strict: true,
  noUncheckedIndexedAccess: true,
  verbatimModuleSyntax: true,
  module: "nodenext",
  target: "es2022",
  lib: ["es2023", "dom", "dom.iterable"],
  types: [],
  skipLibCheck: false,
  // Only the libraries of the compiler are skipped.
  skipDefaultLibCheck: true,
};

const contract = fileURLToPath(new URL("../../openapi.yaml", import.meta.url));

const folder = await Deno.makeTempDir({ prefix: "slotkeeper_generators_" });
globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));

/** Runs a program in the project and returns its standard output. Fails with all output if the program fails. */
async function run(program: string, args: string[]): Promise<string> {
  const env = { NO_COLOR: "1", FORCE_COLOR: "0" };
  const output = await new Deno.Command(program, { args, cwd: folder, env, stdin: "null" }).output();
  const [stdout = "", stderr = ""] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(output.success, `${program} ${args.join(" ")}\n${stdout}${stderr}`);
  return stdout;
}

interface Generator {
  /** The program in `node_modules/.bin`, with its arguments. */
  program: string[];
  /** A module that books `timeslot`. A field without a type, or of the wrong type, does not compile. */
  code: string;
}

const generators: Record<string, Generator> = {
  "openapi-typescript": {
    // By default it requires each field that has a default.
    program: ["openapi-typescript", contract, "--default-non-nullable=false", "--output", "typescript.d.ts"],
    code: `import createClient from "openapi-fetch";
import type { paths } from "./typescript.js";

const client = createClient<paths>({ baseUrl, headers: { Authorization: \`Bearer \${token}\` } });
const { data } = await client.POST("/api/v1/bookings", { body: timeslot });
if (!data) throw new Error("no booking");
const { booking } = data;`,
  },
  "@hey-api/openapi-ts": {
    program: ["openapi-ts", "--input", contract, "--output", "hey", "--no-log-file"],
    code: `import { createBooking } from "./hey/index.js";
import { client } from "./hey/client.gen.js";

client.setConfig({ baseUrl, auth: token });
const { booking } = (await createBooking({ body: timeslot, throwOnError: true })).data;`,
  },
  orval: {
    program: ["orval", "--config", "orval.config.mjs", "--fail-on-warnings"],
    code: `import { createBooking } from "./orval.js";

const headers = { Authorization: \`Bearer \${token}\` };
const answer = await createBooking(timeslot, { headers: { "Content-Type": "application/json", ...headers } });
if (answer.status !== 201) throw new Error(answer.data.detail);
const { booking } = answer.data;`,
  },
  "swagger-typescript-api": {
    program: ["swagger-typescript-api", "generate", "--path", contract, "--name", "swagger.ts"],
    code: `import { Api } from "./swagger.js";

const { api } = new Api({ baseUrl, baseApiParams: { headers: { Authorization: \`Bearer \${token}\` } } });
const { booking } = (await api.createBooking(timeslot)).data;`,
  },
};

/** Reads the arguments of a module, and prints the booking. */
const around = (code: string): string =>
  `const [, , baseUrl = "", token = "", text = ""] = process.argv;
const timeslot: { roomId: number; timeslotId: number } = JSON.parse(text);
${code}
const price: number = booking.price;
const currency: string = booking.currency;
const start: string = booking.timeslot.startTime;
// @ts-expect-error The contract has no such field.
booking.unknownField;
console.log(JSON.stringify({ id: booking.id, status: booking.status, price, currency, start }));
`;

const fileOf = (name: string): string => `book_${name.replaceAll(/\W+/g, "_")}`;

/** Installs the generators, runs them and compiles their clients. */
async function newProject(): Promise<void> {
  const files = {
    "package.json": JSON.stringify({ private: true, type: "module" }),
    "process.d.ts": "declare const process: { argv: string[] };",
    "tsconfig.json": JSON.stringify({ compilerOptions }),
    "orval.config.mjs": `export default ${
      JSON.stringify({
        api: {
          input: contract,
          output: { target: "orval.ts", client: "fetch", baseUrl: { runtime: "process.argv[2]" } },
        },
      })
    };`,
    ...Object.fromEntries(Object.entries(generators).map(([name, { code }]) => [`${fileOf(name)}.ts`, around(code)])),
  };
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(folder, name), text);
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", ...packages]);
  for (const { program: [program = "", ...args] } of Object.values(generators)) {
    await run("node", [join("node_modules/.bin", program), ...args]);
  }
  await run("node", ["node_modules/.bin/tsc"]);
}

const hasNode = await run("node", ["--version"]).then(() => true, (failure) => {
  if (failure instanceof Deno.errors.NotFound) return false;
  throw failure;
});
if (hasNode) await newProject();
else console.log("Node not found: the clients of generators are not tested.");

for (const [index, name] of Object.keys(generators).entries()) {
  Deno.test({
    name: `${name}: its client, strict TypeScript, createBooking -> 201 and the booking with its types`,
    ignore: !hasNode,
    async fn() {
      await using server = await sharedServer();
      const room = await newRoom(server, { hourlyRate: 19.99 });
      const [timeslot] = await newTimeslots(server, room, { date: "2026-03-09" });
      assert(timeslot);
      const body = JSON.stringify({ roomId: room.id, timeslotId: timeslot.id });
      const token = await server.token(`generator_${index}`);
      const printed = JSON.parse(await run("node", [`${fileOf(name)}.js`, server.url, token, body]));
      const { id } = await server.db.selectFrom("bookings").select("id").where("room_id", "=", room.id)
        .executeTakeFirstOrThrow();
      assert.deepEqual(printed, { id, status: "pending", price: 19.99, currency: "EUR", start: timeslot.startTime });
    },
  });
}
