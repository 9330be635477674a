/** The interactive docs in a browser. */
import assert from "node:assert/strict";
import type { Page } from "playwright-core";
import { parse } from "yaml";
import { codeSamples } from "../../generated/code_samples.ts";
import { operations } from "../../generated/contract.ts";
import { parseConfig } from "../../src/config.ts";
import { guideNames } from "../../src/docs/guides.ts";
import { fillInDemo } from "../../src/sandbox/demo.ts";
import { startBeside } from "../support/app.ts";
import { hasBrowser, openPage } from "../support/browser.ts";
import { type FilledIn, refusals, requestsOf } from "../support/reference.ts";
import { startServer, type TestServer } from "../support/server.ts";

if (!hasBrowser) console.log("Chromium not found. Set CHROMIUM_PATH to test the docs in a browser.");

/** Starts another server beside `server`, with a token of `subject` in its docs as in the sandbox. */
async function serveDocs(server: TestServer, subject: string, publicUrl = server.url) {
  return await startBeside(server, {
    publicUrl: () => publicUrl,
    docsTokens: { user: await server.token(subject), admin: await server.token("admin", "admin") },
  });
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

/** Code of the page: waits until `query` returns something, and returns that. */
const until = `const until = async (what, query) => {
  const end = performance.now() + 60_000;
  for (;;) {
    const found = query();
    if (found) return found;
    if (performance.now() > end) throw new Error(what + " is not rendered");
    // A timer, because a frame for each poll would paint the whole page.
    await new Promise((later) => setTimeout(later, 16));
  }
};`;

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
    ${until}
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

interface Sent {
  method: string;
  target: string;
  body: unknown;
  /** Headers that the operation declares. */
  headers: string[];
  token: string | undefined;
  status: number;
  code: string;
}

/** Opens the form of an operation, sends it as it is filled in, and closes it. */
async function sendFilledIn(page: Page, { id, method }: FilledIn): Promise<Sent> {
  const { path } = operations[id].route;
  const pattern = new RegExp(`^${path.replaceAll(/\{\w+\}/g, "[^/]+")}$`);
  const answered = page.waitForResponse((answer) =>
    answer.request().method() === method && pattern.test(new URL(answer.url()).pathname)
  );
  // In the page, because locators take a second each on a page of this size.
  await page.evaluate(`(async () => {
    ${until}
    const buttons = (root) => [...root.querySelectorAll("button")];
    const text = ${JSON.stringify(`(${method.toLowerCase()} ${path})`)};
    (await until(text, () => buttons(document).find((button) => button.textContent.includes(text)))).click();
    const dialog = await until("the form", () => document.querySelector("[role=dialog]"));
    (await until("Send", () => buttons(dialog).find((button) => /^Send/.test(button.textContent.trim())))).click();
  })()`);
  const answer = await answered;
  const request = answer.request();
  const { pathname, search } = new URL(request.url());
  // Without those that the browser adds.
  const headers = request.headers();
  const text = await answer.text();
  await page.keyboard.press("Escape");
  await page.locator("[role=dialog]").waitFor({ state: "hidden" });
  return {
    method: request.method(),
    target: pathname + search,
    body: request.postDataJSON() ?? undefined,
    headers: ["idempotency-key", "if-match", "if-none-match"].filter((name) => name in headers),
    token: headers.authorization?.replace("Bearer ", ""),
    status: answer.status(),
    code: JSON.parse(text).code ?? "",
  };
}

Deno.test({
  name: "docs: send every operation in a browser as it is filled in, changes twice -> success, or what has changed",
  ignore: !hasBrowser,
  // In one page, because it takes seconds to open.
  fn: async (t) => {
    await using server = await startServer({ env: { PAYMENT_PROVIDER: "sandbox" }, docsSubject: "demo-user" });
    await fillInDemo({ ...server, config: parseConfig({}) });
    const tokens: Record<string, string> = {
      bearer: await server.token("demo-user"),
      adminBearer: await server.token("admin", "admin"),
    };
    await using tab = await openPage({ origins: [server.url], viewport: { width: 1400, height: 900 } });
    const { page, faults } = tab;
    const loaded = page.waitForResponse(`${server.url}/docs/reference.json`);
    await page.goto(server.url);
    assert.equal(page.url(), `${server.url}/docs`);
    const requests = requestsOf(await (await loaded).json());
    await openOperations(page, Object.values(operations).map(({ route }) => route));
    assert.deepEqual(faults, []);
    // Rendered but not painted, which takes two seconds for all operations.
    await page.evaluate("document.querySelector('main').style.display = 'none'");
    for (const time of ["first", "again"] as const) {
      const isSent = ({ method }: FilledIn) => time === "first" || method !== "GET";
      for (const request of requests.filter(isSent)) {
        const { id, method, target, body, scheme } = request;
        const problem = refusals[id]?.[time];
        await t.step(`${id} ${time} -> ${problem ?? "success"}`, async () => {
          const { status, code, ...sent } = await sendFilledIn(page, request);
          assert.deepEqual(sent, { method, target, body, headers: [], token: tokens[scheme ?? ""] });
          assert.equal(code, problem ?? "");
          if (problem === undefined) assert(String(status) in operations[id].answers, `answered ${status}`);
        });
      }
    }
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
