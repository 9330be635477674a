/** The interactive docs in a browser. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { parse } from "yaml";
import { codeSamples } from "../../generated/code_samples.ts";
import { operations } from "../../generated/contract.ts";
import { guideNames } from "../../src/docs/guides.ts";
import { startBeside } from "../support/app.ts";
import { hasBrowser, openPage } from "../support/browser.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, type TestServer } from "../support/server.ts";

if (!hasBrowser) console.log("Chromium not found. Set CHROMIUM_PATH to test the docs in a browser.");

/** Starts another server beside `server`, with a token of `subject` in its docs as in the sandbox. */
async function serveDocs(server: TestServer, subject: string, publicUrl = server.url) {
  return await startBeside(server, { publicUrl: () => publicUrl, docsToken: await server.token(subject) });
}

type Route = typeof operations[keyof typeof operations]["route"];

/** Removes the samples from the paths of the served contract. Returns them by operation. */
function removeSamples(paths: Record<string, Record<string, Record<string, unknown>>>): Record<string, unknown> {
  const samples: Record<string, unknown> = {};
  for (const operation of Object.values(paths).flatMap((path) => Object.values(path))) {
    const { "x-codeSamples": found } = operation;
    if (found === undefined) continue;
    samples[String(operation.operationId)] = found;
    delete operation["x-codeSamples"];
  }
  return samples;
}

/**
 * Opens operations by the menu, one after the other, and waits until all are rendered. Those far from the screen are
 * rendered only if opened. Runs in the page: locators take a second each on a page of this size.
 */
async function openOperations(page: Page, routes: Route[]): Promise<void> {
  const wanted = routes.map(({ tags: [tag = ""], method, path, summary }) => {
    const group = `api-1/tag/${tag.toLowerCase().replaceAll(/\W+/g, "-")}`;
    return { group, id: `${group}/${method.toUpperCase()}${path}`, texts: [summary, `(${method} ${path})`] };
  });
  await page.evaluate(`(async (wanted) => {
    // A timer, because a frame for each poll would paint the whole page.
    const until = async (id, query) => {
      const end = performance.now() + 60_000;
      while (!query()) {
        if (performance.now() > end) throw new Error(id + " is not rendered");
        await new Promise((later) => setTimeout(later, 16));
      }
    };
    const find = (id, selector) => document.querySelector('[data-sidebar-id="' + id + '"] ' + selector);
    for (const { group, id } of wanted) {
      await until(group, () => find(group, "button"));
      find(group, "button[aria-expanded=false]")?.click();
      await until(id, () => find(id, "a"));
      // No wait for this operation: the page renders several at once for less work.
      find(id, "a").click();
    }
    for (const { id, texts } of wanted) {
      await until(id, () => texts.every((text) => document.getElementById(id)?.textContent.includes(text)));
    }
  })(${JSON.stringify(wanted)})`);
}

Deno.test({
  name: "docs: open and send in a browser -> every operation rendered, a booking, no request elsewhere",
  ignore: !hasBrowser,
  // In one page, because it takes seconds to open.
  fn: async (t) => {
    await using server = await startServer();
    const { room, timeslot } = await newRoomWithTimeslot(server);
    await using docs = await serveDocs(server, "reader");
    await using tab = await openPage({ origins: [docs.url], viewport: { width: 1400, height: 900 } });
    const { page, faults } = tab;
    await page.goto(docs.url);
    assert.equal(page.url(), `${docs.url}/docs`);
    // First, because a page with all operations is slow.
    await t.step("createBooking: Send with the filled-in token -> 201", async () => {
      await openOperations(page, [operations.createBooking.route]);
      // By text and attribute: names of roles take a second more on a page of this size.
      await page.locator("button", { hasText: "(post /api/v1/bookings)" }).click();

      const dialog = page.locator("[role=dialog]");
      const editor = dialog.getByRole("textbox").and(dialog.locator("[contenteditable=true]"));
      await editor.click();
      await page.keyboard.press("ControlOrMeta+A");
      await page.keyboard.insertText(JSON.stringify({ roomId: room.id, timeslotId: timeslot.id }));
      await dialog.getByRole("button", { name: /^Send post request/i }).click();
      await dialog.getByText("201 Created").waitFor();

      const { items } = await server.ok("listBookings", { token: await server.token("reader") });
      assert.deepEqual(items.map(({ timeslotId }) => timeslotId), [timeslot.id]);
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "hidden" });
    });

    // Rendered but not painted, which takes two seconds for all operations.
    await page.evaluate("document.querySelector('main').style.display = 'none'");
    await openOperations(page, Object.values(operations).map(({ route }) => route));
    assert.deepEqual(faults, []);
  },
});

Deno.test("docs: GET / and the contract -> redirect to /docs, openapi.yaml as written, as JSON with samples and guides", async () => {
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
  // Samples name the server that serves the docs.
  const text = await json.text();
  assert(!text.includes("http://127.0.0.1:8000"));
  const { paths, externalDocs, ...served } = JSON.parse(text.replaceAll(server.url, "http://127.0.0.1:8000"));
  const { paths: writtenPaths, ...rest } = parse(new TextDecoder().decode(written));
  // Added for the reference: samples, and links to the guides. tests/docs/links_test.ts checks the links.
  assert.equal(externalDocs.url, "/docs/guides");
  [served.info.description] = served.info.description.split("\n## Guides\n");
  assert.deepEqual(served, rest);
  const expected = Object.entries(codeSamples).map((
    [id, source],
  ) => [id, [{ lang: "typescript", label: "SDK", source }]]);
  assert.deepEqual(removeSamples(paths), Object.fromEntries(expected));
  assert.deepEqual(paths, writtenPaths);
});

Deno.test("docs: PUBLIC_URL with quotes -> escaped in the samples", async () => {
  await using server = await startServer();
  await using docs = await serveDocs(server, "reader", `https://rooms.example/a$'b"c`);
  const { paths } = await (await fetch(`${docs.url}/openapi.json`)).json();
  const [{ source }] = paths["/healthz"].get["x-codeSamples"];
  assert(source.includes(`baseUrl: "https://rooms.example/a$'b%22c"`), source);
});

Deno.test("docs: Content-Security-Policy -> loads from this server only, one nonce a page, no frames", async () => {
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

Deno.test({
  name: "guides: each page on a phone and a desk, light and dark -> no fault, and nothing wider than the screen",
  ignore: !hasBrowser,
  fn: async () => {
    await using server = await startServer();
    await using tab = await openPage({ origins: [server.url] });
    const { page, faults } = tab;
    for (const path of ["", ...guideNames.map((name) => `/${name}`)]) {
      await page.goto(`${server.url}/docs/guides${path}`, { waitUntil: "load" });
      for (const [width, colorScheme] of [[390, "light"], [1400, "dark"]] as const) {
        await page.setViewportSize({ width, height: 900 });
        await page.emulateMedia({ colorScheme });
        // A text, since the types of a browser's globals are not loaded.
        const seen = await page.evaluate(`({
          width: innerWidth,
          isWide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
          background: getComputedStyle(document.body).backgroundColor,
          images: [...document.images].every(({ naturalWidth }) => naturalWidth > 0),
        })`);
        const background = colorScheme === "dark" ? "rgb(15, 22, 19)" : "rgb(255, 255, 255)";
        assert.deepEqual(seen, { width, isWide: false, background, images: true }, `${path} at ${width}`);
      }
    }
    assert.deepEqual(faults, []);
  },
});
