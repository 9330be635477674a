/** The interactive docs, in the browser of an integrator. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { parse } from "yaml";
import { codeSamples } from "../../generated/code_samples.ts";
import { operations } from "../../generated/contract.ts";
import { startBeside } from "../support/app.ts";
import { hasBrowser, launchBrowser, openPage } from "../support/browser.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

if (!hasBrowser) console.log("There is no Chromium here (set CHROMIUM_PATH): the docs are not tried in a browser.");

/** The same server once more, as the sandbox has it: with a token of `subject` in the docs. */
async function serveDocs(server: TestServer, subject: string, publicUrl = server.url) {
  return await startBeside(server, { publicUrl: () => publicUrl, docsToken: await server.token(subject) });
}

/** Takes the samples out of the paths of the contract as it is served, and hands them back by operation. */
function takeSamples(paths: Record<string, Record<string, Record<string, unknown>>>): Record<string, unknown> {
  const samples: Record<string, unknown> = {};
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    const { "x-codeSamples": found } = operation;
    if (found === undefined) continue;
    samples[String(operation.operationId)] = found;
    delete operation["x-codeSamples"];
  }
  return samples;
}

/** Opens an operation by the menu; what is far from the screen is not rendered before. */
async function openOperation(page: Page, { tags: [tag], summary }: { tags: readonly string[]; summary: string }) {
  const group = page.getByRole("button", { name: new RegExp(`^(Open|Close) Group - ${tag}$`) });
  await group.waitFor();
  if ((await group.getAttribute("aria-expanded")) === "false") await group.click();
  await page.getByRole("link", { name: summary }).first().click();
  await page.getByRole("heading", { name: summary }).waitFor();
}

Deno.test({
  name: "the docs render every operation, book with the token that is filled in, and ask nobody but this server",
  ignore: !hasBrowser,
  // In one page, since it takes seconds to open.
  fn: async (t) => {
    await using server = await startServer();
    const { room, timeslot } = await newRoomWithTimeslot(server);
    await using docs = await serveDocs(server, "reader");
    await using browser = await launchBrowser();
    await using tab = await openPage(browser, { origins: [docs.url], viewport: { width: 1400, height: 900 } });
    const { page, faults } = tab;
    await page.goto(docs.url);
    assert.equal(page.url(), `${docs.url}/docs`);
    for (const { route } of Object.values(operations)) {
      await openOperation(page, route);
      await page.getByRole("button", { name: `(${route.method} ${route.path})` }).waitFor();
    }

    await t.step("a booking is made", async () => {
      const { route } = operations.createBooking;
      await openOperation(page, route);
      await page.getByRole("button", { name: `(${route.method} ${route.path})` }).click();

      const dialog = page.getByRole("dialog");
      const editor = dialog.getByRole("textbox").and(dialog.locator("[contenteditable=true]"));
      await editor.click();
      await page.keyboard.press("ControlOrMeta+A");
      await page.keyboard.insertText(JSON.stringify({ roomId: room.id, timeslotId: timeslot.id }));
      await dialog.getByRole("button", { name: /^Send post request/i }).click();
      await dialog.getByText("201 Created").waitFor();

      const { items } = await server.ok("listBookings", { token: await server.token("reader") });
      assert.deepEqual(items.map(({ timeslotId }) => timeslotId), [timeslot.id]);
    });
    assert.deepEqual(faults, []);
  },
});

Deno.test("/ leads to the docs, and the contract is served as it is written and as JSON", async () => {
  await using server = await startServer();
  const home = await fetch(`${server.url}/`, { redirect: "manual" });
  await home.body?.cancel();
  assert.equal(home.status, 302);
  assert.equal(home.headers.get("Location"), "/docs");

  const written = await Deno.readFile(new URL("../../openapi.yaml", import.meta.url));
  const yaml = await fetch(`${server.url}/openapi.yaml`);
  assert.equal(yaml.headers.get("Content-Type"), "application/yaml");
  assert.deepEqual(await yaml.bytes(), written);
  const json = await fetch(`${server.url}/openapi.json`);
  assert.equal(json.headers.get("Content-Type"), "application/json");
  // The samples find the server where the docs are.
  const text = await json.text();
  assert(!text.includes("http://127.0.0.1:8000"));
  const { paths, ...served } = JSON.parse(text.replaceAll(server.url, "http://127.0.0.1:8000"));
  const { paths: writtenPaths, ...rest } = parse(new TextDecoder().decode(written));
  assert.deepEqual(served, rest);
  const expected = Object.entries(codeSamples).map((
    [id, source],
  ) => [id, [{ lang: "typescript", label: "SDK", source }]]);
  assert.deepEqual(takeSamples(paths), Object.fromEntries(expected));
  assert.deepEqual(paths, writtenPaths);
});

Deno.test("samples name the server by its PUBLIC_URL, whatever signs are in it", async () => {
  await using server = await startServer();
  await using docs = await serveDocs(server, "reader", `https://rooms.example/a$'b"c`);
  const { paths } = await (await fetch(`${docs.url}/openapi.json`)).json();
  const [{ source }] = paths["/healthz"].get["x-codeSamples"];
  assert(source.includes(`baseUrl: "https://rooms.example/a$'b%22c"`), source);
});

Deno.test("the docs may only load from this server, run no inline script but ours, and cannot be framed", async () => {
  await using server = await startServer();
  const nonces = new Set<string>();
  for (let time = 0; time < 2; time++) {
    const page = await fetch(`${server.url}/docs`);
    const html = await page.text();
    const policy = page.headers.get("Content-Security-Policy") ?? "";
    const directives = new Map(
      policy.split("; ").map((directive) => {
        const [name = "", ...sources] = directive.split(" ");
        return [name, sources];
      }),
    );
    assert.deepEqual(directives.get("default-src"), ["'none'"]);
    assert.deepEqual(directives.get("connect-src"), ["'self'"]);
    assert.deepEqual(directives.get("frame-ancestors"), ["'none'"]);
    const [self, nonce = "", ...more] = directives.get("script-src") ?? [];
    assert.deepEqual([self, more], ["'self'", []]);
    assert.match(nonce, /^'nonce-.{16,}'$/);
    nonces.add(nonce);
    assert.doesNotMatch(html, /https?:\/\//, "an address elsewhere");
  }
  assert.equal(nonces.size, 2, "a nonce was used twice");
});
