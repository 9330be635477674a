/**
 * Installs the packages of `deno.lock` into `node_modules`. Prints nothing when they are there, one line when it takes longer.
 * Imports nothing, because it runs before any package is installed.
 */

/** An install with nothing to do takes about 30 ms. */
const noticeMs = 1_000;

const started = performance.now();
let hasNotified = false;
const notice = setTimeout(() => {
  hasNotified = true;
  console.error("Installing packages. The first time takes about a minute.");
}, noticeMs);
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["install", "--quiet"],
  stdin: "null",
  stdout: "inherit",
  stderr: "inherit",
}).output();
clearTimeout(notice);
if (code !== 0) Deno.exit(code);
if (hasNotified) console.error(`Installed in ${Math.round((performance.now() - started) / 1_000)} s.`);
