/** The interactive docs, in the browser of an integrator. */
import assert from "node:assert/strict";
import { type Browser, chromium, type Page } from "playwright-core";
import { parse } from "yaml";
import { operations } from "../../generated/contract.ts";
import { createApp } from "../../src/app.ts";
import { createTokenVerifier } from "../../src/auth/tokens.ts";
import { parseConfig } from "../../src/config.ts";
import { createLog } from "../../src/http/log.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, testSecret, type TestServer } from "../support/server.ts";

const chromiumPaths = [Deno.env.get("CHROMIUM_PATH"), "/usr/bin/chromium", "/usr/bin/chromium-browser"];
const executablePath = chromiumPaths.find((path) => path !== undefined && isFile(path));
const ignore = executablePath === undefined;
if (ignore) console.log("There is no Chromium here (set CHROMIUM_PATH): the docs are not tried in a browser.");

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The same server once more, as the sandbox has it: with a token of `subject` in the docs. */
async function serveDocs(server: TestServer, subject: string): Promise<AsyncDisposable & { url: string }> {
  const config = parseConfig({ AUTH_JWT_SECRET: testSecret, DATABASE_URL: server.databaseUrl });
  const app = createApp({
    ...server,
    config,
    log: createLog("error", () => {}),
    publicUrl: () => server.url,
    verify: await createTokenVerifier(config.auth),
    docsToken: await server.token(subject),
  });
  const http = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, app.fetch);
  return { url: `http://127.0.0.1:${http.addr.port}`, [Symbol.asyncDispose]: () => http.shutdown() };
}

/** A page whose every complaint, and every request to another host, is noted. */
async function openDocs(browser: Browser, url: string): Promise<{ page: Page; faults: string[] }> {
  const faults: string[] = [];
  const page = await browser.newPage({ reducedMotion: "reduce", viewport: { width: 1400, height: 900 } });
  page.context().on("request", (request) => {
    if (!request.url().startsWith(`${url}/`)) faults.push(`request to ${request.url()}`);
  });
  page.on("websocket", (socket) => faults.push(`socket to ${socket.url()}`));
  page.on("pageerror", (failure) => faults.push(failure.message));
  // Violations of the Content-Security-Policy are reported here, too.
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`${message.text()} ${message.location().url}`);
  });
  await page.goto(url);
  assert.equal(page.url(), `${url}/docs`);
  return { page, faults };
}

/** Opens an operation by the menu; what is far from the screen is not rendered before. */
async function openOperation(page: Page, { tags: [tag], summary }: { tags: readonly string[]; summary: string }) {
  const group = page.getByRole("button", { name: new RegExp(`^(Open|Close) Group - ${tag}$`) });
  await group.waitFor();
  if ((await group.getAttribute("aria-expanded")) === "false") await group.click();
  await page.getByRole("link", { name: summary }).first().click();
  await page.getByRole("heading", { name: summary }).waitFor();
}

/** A browser for which there are no other hosts. */
function launch(): Promise<Browser> {
  const noParts = ["background-networking", "component-update", "gpu", "quic", "sync"].map((part) =>
    `--disable-${part}`
  );
  const noHosts = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
  return chromium.launch({
    executablePath: executablePath ?? "",
    args: ["--no-sandbox", "--no-first-run", noHosts, ...noParts],
  });
}

Deno.test({
  name: "the docs render every operation, and ask nobody but this server",
  ignore,
  fn: async () => {
    await using server = await startServer();
    await using docs = await serveDocs(server, "reader");
    await using browser = await launch();
    const { page, faults } = await openDocs(browser, docs.url);
    for (const { route } of Object.values(operations)) {
      await openOperation(page, route);
      await page.getByRole("button", { name: `(${route.method} ${route.path})` }).waitFor();
    }
    assert.deepEqual(faults, []);
  },
});

Deno.test({
  name: "a booking is made in the docs with the token that is filled in",
  ignore,
  fn: async () => {
    await using server = await startServer();
    const { room, timeslot } = await newRoomWithTimeslot(server);
    await using docs = await serveDocs(server, "reader");
    await using browser = await launch();
    const { page, faults } = await openDocs(browser, docs.url);
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
  assert.deepEqual(await json.json(), parse(new TextDecoder().decode(written)));
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
