/** Every link of the README, the guides and the reference leads somewhere. */
import assert from "node:assert/strict";
import denoJson from "../../deno.json" with { type: "json" };
import { anchorOf, guideNames } from "../../src/docs/guides.ts";
import { sharedServer } from "../support/server.ts";
import { documents, root } from "./samples.ts";

/** Text without fenced blocks, where brackets are code. */
const proseOf = (markdown: string) => markdown.replaceAll(/^ *```[\s\S]*?^ *```$/gm, "");

function anchorsOf(markdown: string): string[] {
  return [...proseOf(markdown).matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => anchorOf(heading));
}

Deno.test("links: each one of a Markdown file -> an existing file and heading", async () => {
  for (const document of documents) {
    const text = await Deno.readTextFile(new URL(document, root));
    const anchors = anchorsOf(text);
    // The page of a guide cannot number equal anchors.
    const isUnique = new Set(anchors).size === anchors.length;
    assert(isUnique || !document.startsWith("src/docs/"), `${document} has two headings with one anchor`);
    for (const [, target = ""] of proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https:\/\//.test(target)) continue;
      const url = new URL(target, new URL(document, root));
      const anchor = decodeURIComponent(url.hash.slice(1));
      url.hash = "";
      const stat = await Deno.stat(url).catch(() => undefined);
      assert(stat !== undefined, `${document}: ${target} does not exist`);
      if (anchor !== "") assert(anchorsOf(await Deno.readTextFile(url)).includes(anchor), `${document}: no ${target}`);
    }
  }
});

Deno.test("links: each one of a page of guides -> 200 and an existing id", async () => {
  await using server = await sharedServer();
  const pages = new Map<string, string>();
  const read = async (address: string): Promise<string> => {
    const known = pages.get(address);
    if (known !== undefined) return known;
    const response = await fetch(address);
    const text = await response.text();
    assert.equal(response.status, 200, address);
    pages.set(address, text);
    return text;
  };
  for (const path of ["/docs/guides", ...guideNames.map((name) => `/docs/guides/${name}`)]) {
    const page = await read(server.url + path);
    for (const [, target = ""] of page.matchAll(/ (?:href|src)="([^"]+)"/g)) {
      const url = new URL(target, server.url + path);
      if (url.origin !== server.url) continue;
      const text = await read(url.origin + url.pathname);
      if (url.hash !== "") assert(text.includes(`id="${decodeURIComponent(url.hash.slice(1))}"`), `${path}: ${target}`);
    }
  }
  // A page other than the menu links to each guide.
  for (const name of guideNames) assert(pages.has(`${server.url}/docs/guides/${name}`), name);
});

Deno.test("links: the reference -> each guide", async () => {
  await using server = await sharedServer();
  const { info, externalDocs } = await (await fetch(`${server.url}/openapi.json`)).json();
  assert.deepEqual(externalDocs, { url: "/docs/guides", description: "Guides" });
  for (const name of guideNames) assert(info.description.includes(`](/docs/guides/${name})`), name);
});

Deno.test("links: each `deno task` of a Markdown file -> a task of deno.json", async () => {
  const tasks = Object.keys(denoJson.tasks);
  for (const document of documents) {
    const text = await Deno.readTextFile(new URL(document, root));
    for (const [command, task = ""] of text.matchAll(/deno(?:@[\d.]+)? task (?:--quiet )?([a-z:]+)/g)) {
      assert(tasks.includes(task), `${document}: ${command}`);
    }
  }
});
