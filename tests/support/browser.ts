/** A real browser, for tests of what people see. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const chromiumPaths = [Deno.env.get("CHROMIUM_PATH"), "/usr/bin/chromium", "/usr/bin/chromium-browser"];
const executablePath = chromiumPaths.find((path) => path !== undefined && isFile(path));

/** Whether there is a browser here. Set `CHROMIUM_PATH` where it is not in its usual place. */
export const hasBrowser = executablePath !== undefined;

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** A browser for which there are no other hosts. */
export function launchBrowser(): Promise<Browser> {
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
  /** Every complaint, also of the Content-Security-Policy, and every request to an origin that is not expected. */
  faults: string[];
  /** The addresses that the page was led to, also those that led on at once. */
  visited: string[];
}

/** A tab of its own whose doings are watched. Requests to `origins` are expected. */
export async function openPage(
  browser: Browser,
  { origins, ...options }: BrowserContextOptions & { origins: string[] },
): Promise<WatchedPage> {
  const faults: string[] = [];
  const visited: string[] = [];
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
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
