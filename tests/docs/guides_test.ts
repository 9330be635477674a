/** The guides as pages of the server. */
import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { Problem } from "../../generated/contract.ts";
import { guideNames } from "../../src/docs/guides.ts";
import { startBeside } from "../support/app.ts";
import { sharedServer } from "../support/server.ts";
import { root } from "./samples.ts";

async function get(url: string): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(url);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

Deno.test("guides: each Markdown file of the folder -> a page with its title, in the menu of all pages", async () => {
  const files = (await readdir(new URL("src/docs/guides", root))).filter((name) => name.endsWith(".md"));
  assert.deepEqual(files.sort(), guideNames.map((name) => `${name}.md`).sort());
  await using server = await sharedServer();
  for (const path of ["", ...guideNames.map((name) => `/${name}`)]) {
    const { status, headers, text } = await get(`${server.url}/docs/guides${path}`);
    assert.equal(status, 200, path);
    assert.match(headers.get("Content-Type") ?? "", /^text\/html/);
    assert.equal(text.match(/<h1>/g)?.length, 1, path);
    for (const name of guideNames) assert(text.includes(`href="/docs/guides/${name}"`), `${path} without ${name}`);
    assert(text.includes(`href="/docs"`), path);
  }
});

Deno.test("guides: any page -> may load from this server only, run no script, and not be framed", async () => {
  await using server = await sharedServer();
  for (const path of ["", "/operating", "/style.css"]) {
    const { headers, text } = await get(`${server.url}/docs/guides${path}`);
    const policy = new Set((headers.get("Content-Security-Policy") ?? "").split("; "));
    for (const directive of ["default-src 'none'", "style-src 'self'", "img-src 'self'", "frame-ancestors 'none'"]) {
      assert(policy.has(directive), `${path}: ${directive}`);
    }
    assert.doesNotMatch(text, /<script|\son\w+=|javascript:|\sstyle=/, path);
    assert.equal(headers.get("X-Content-Type-Options"), "nosniff");
    assert.match(headers.get("RateLimit-Policy") ?? `"public"`, /"public"/);
  }
});

Deno.test("guides: an unknown name -> 404 route_not_found", async () => {
  await using server = await sharedServer();
  for (const path of ["/unknown", "/operating/", "/images/unknown.svg"]) {
    const { status, text } = await get(`${server.url}/docs/guides${path}`);
    assert.deepEqual([status, Problem.parse(JSON.parse(text)).code], [404, "route_not_found"], path);
  }
});

Deno.test("guides: PUBLIC_URL with any signs -> the samples name it, escaped", async () => {
  await using server = await sharedServer();
  await using beside = await startBeside(server, { publicUrl: () => `https://rooms.example/a&b$'"<i>/` });
  const { text } = await get(`${beside.url}/docs/guides/events`);
  assert(text.includes(`baseUrl: &quot;https://rooms.example/a&amp;b$'%22%3Ci%3E&quot;`), "HTTP");
  assert(text.includes(`wss://rooms.example/a&amp;b$'%22%3Ci%3E/api/v1/ws`), "WebSocket");
  assert(!text.includes("127.0.0.1:8000"));
});
