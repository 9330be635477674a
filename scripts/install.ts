/**
 * Installs the packages of `deno.lock` into `node_modules`. Prints nothing when they are there, one line when it takes longer.
 * Imports nothing, because it runs before any package is installed.
 */

/** An install with nothing to do takes about 30 ms. */
const noticeMs = 1_000;
const text = "Installing packages. The first time takes about a minute.";

const started = performance.now();
const seconds = () => Math.round((performance.now() - started) / 1_000);
let hasNotified = false;
/** On a terminal the line counts the seconds. In a pipe it is printed once. */
const notify = () => {
  if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode(`\r${text} ${seconds()} s`));
  else if (!hasNotified) console.error(text);
  hasNotified = true;
};
const timer = setInterval(notify, noticeMs);
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["install", "--quiet"],
  stdin: "null",
  stdout: "inherit",
  stderr: "inherit",
}).output();
clearInterval(timer);
if (hasNotified && Deno.stderr.isTerminal()) console.error();
Deno.exit(code);
