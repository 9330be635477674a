/** A Chromium for tests of pages. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const chromiumPaths = [Deno.env.get("CHROMIUM_PATH"), "/usr/bin/chromium", "/usr/bin/chromium-browser"];
const executablePath = chromiumPaths.find((path) => path !== undefined && isFile(path));

/** Whether Chromium is installed. `CHROMIUM_PATH` sets another path than the usual ones. */
export const hasBrowser = executablePath !== undefined;

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The browser of this shard. Starting one costs a CPU second. */
let browser: Promise<Browser> | undefined;
Deno.test.afterAll(async () => {
  const open = browser;
  browser = undefined;
  await (await open)?.close();
});

/** The browser that all tests of a shard share. It resolves no host but 127.0.0.1. The shard closes it. */
function sharedBrowser(): Promise<Browser> {
  return browser ??= launchBrowser();
}

function launchBrowser(): Promise<Browser> {
  const noParts = ["background-networking", "component-update", "gpu", "quic", "sync"].map((part) =>
    `--disable-${part}`
  );
  const noHosts = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1";
  return chromium.launch({
    executablePath: executablePath ?? "",
    args: ["--no-sandbox", "--no-first-run", noHosts, ...noParts],
  });
}

export interface WatchedPage extends AsyncDisposable {
  page: Page;
  /** Errors of the page and the Content-Security-Policy, requests to other origins, and WebSockets. */
  faults: string[];
  /** All addresses that the page visited, redirects included. */
  visited: string[];
}

/**
 * Opens a tab of {@link sharedBrowser} that records faults and visits. Requests to `origins` are no faults. A test may
 * change this list later.
 */
export async function openPage(
  { origins, ...options }: BrowserContextOptions & { origins: string[] },
): Promise<WatchedPage> {
  const faults: string[] = [];
  const visited: string[] = [];
  const context = await (await sharedBrowser()).newContext({ reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  context.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (!origins.includes(origin)) faults.push(`request to ${request.url()}`);
    if (request.isNavigationRequest() && request.frame() === page.mainFrame()) visited.push(request.url());
  });
  page.on("websocket", (socket) => faults.push(`socket to ${socket.url()}`));
  page.on("pageerror", (failure) => faults.push(failure.message));
  page.on("console", (message) => {
    if (message.type() === "error") faults.push(`${message.text()} ${message.location().url}`);
  });
  return { page, faults, visited, [Symbol.asyncDispose]: () => context.close() };
}
