/** The guides as pages: Markdown of this repository, rendered once, without any script. */
import type { Hono } from "hono";
import type { MiddlewareHandler } from "hono";
import { compress } from "hono/compress";
import { secureHeaders } from "hono/secure-headers";
import type { Marked, Token, Tokens } from "marked";
import type { AppEnv } from "../http/context.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import stylesheet from "./guides.css" with { type: "text" };
import architecture from "./guides/architecture.md" with { type: "text" };
import decisions from "./guides/decisions.md" with { type: "text" };
import events from "./guides/events.md" with { type: "text" };
import architectureImage from "./guides/images/architecture.svg" with { type: "text" };
import paymentsImage from "./guides/images/payments.svg" with { type: "text" };
import operating from "./guides/operating.md" with { type: "text" };
import payments from "./guides/payments.md" with { type: "text" };
import sdk from "./guides/sdk.md" with { type: "text" };
import security from "./guides/security.md" with { type: "text" };

/** Markdown by name, in the order of the menu. */
const sources = { operating, payments, events, security, sdk, architecture, decisions };
const images = { architecture: architectureImage, payments: paymentsImage };

export const guidesUrl = "/docs/guides";
export type GuideName = keyof typeof sources;
// TypeScript knows no more of the keys than that they are strings.
export const guideNames = Object.keys(sources) as GuideName[];

interface Section {
  id: string;
  title: string;
}

interface Guide {
  title: string;
  /** The first paragraph, in Markdown and as HTML. */
  summary: string;
  summaryHtml: string;
  sections: Section[];
  html: string;
}

/** Anchors as GitHub makes them, so that a link works there and here. */
export function anchorOf(heading: string): string {
  return heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(/\s/g, "-");
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Loaded at the first request, because most servers never serve a guide. */
async function newMarkdown(): Promise<Marked> {
  const { Marked } = await import("marked");
  return new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const id = anchorOf(text);
        const content = this.parser.parseInline(tokens);
        return depth === 1
          ? `<h1>${content}</h1>\n`
          : `<h${depth} id="${id}"><a href="#${id}">${content}</a></h${depth}>\n`;
      },
    },
    walkTokens(token: Token) {
      if (token.type === "link") token.href = token.href.replace(/^(\w+)\.md(?=#|$)/, "$1");
    },
  });
}

const isHeading = (token: Token): token is Tokens.Heading => token.type === "heading";
const isParagraph = (token: Token): token is Tokens.Paragraph => token.type === "paragraph";

/** Renders a guide. Throws if `source` does not begin with a title and a paragraph. */
function render(markdown: Marked, source: string): Guide {
  const tokens = markdown.lexer(source);
  const headings = tokens.filter(isHeading);
  const [title] = headings;
  const paragraph = tokens.find(isParagraph);
  if (title?.depth !== 1 || paragraph === undefined) throw new Error("A guide needs a title and a paragraph");
  return {
    title: title.text,
    summary: paragraph.text,
    summaryHtml: markdown.parseInline(paragraph.text, { async: false }),
    sections: headings.filter(({ depth }) => depth === 2).map(({ text }) => ({ id: anchorOf(text), title: text })),
    // Wide tables and drawings scroll, so that the page fits a phone.
    html: markdown.parse(source, { async: false })
      .replaceAll("<table>", `<div class="wide"><table>`).replaceAll("</table>", "</table></div>")
      .replaceAll(/<p>(<img [^>]+>)<\/p>/g, `<div class="wide">$1</div>`),
  };
}

type Guides = Record<GuideName, Guide>;

let rendered: Guides | undefined;

async function renderedGuides(): Promise<Guides> {
  if (rendered !== undefined) return rendered;
  const markdown = await newMarkdown();
  const guides = Object.entries(sources).map(([name, source]) => [name, render(markdown, source)]);
  // The names are those of `sources`, which TypeScript does not see.
  return rendered = Object.fromEntries(guides) as Guides;
}

/** A section with links to the guides, in Markdown, for the end of the reference's introduction. */
export async function guidesSection(): Promise<string> {
  const items = Object.entries(await renderedGuides()).map(([name, { title, summary }]) =>
    `- [${title}](${guidesUrl}/${name}): ${summary.replaceAll("\n", " ")}`
  );
  return `\n## Guides\n\n${items.join("\n")}\n`;
}

function menu(guides: Guides, current: GuideName | undefined): string {
  const links = Object.entries(guides).map(([name, { title, sections }]) => {
    if (name !== current) return `<li><a href="${guidesUrl}/${name}">${title}</a></li>`;
    const inside = sections.map((section) => `<li><a href="#${section.id}">${section.title}</a></li>`).join("");
    return `<li><a href="${guidesUrl}/${name}" aria-current="page">${title}</a><ul class="sections">${inside}</ul></li>`;
  });
  return `<nav aria-label="Guides"><ul><li><a href="/docs">API reference</a></li>${links.join("")}</ul></nav>`;
}

function page(
  guides: Guides,
  { title, current, content }: { title: string; current?: GuideName; content: string },
): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Slotkeeper</title>
<link rel="icon" href="/favicon.ico">
<link rel="stylesheet" href="${guidesUrl}/style.css">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><a href="${guidesUrl}">Slotkeeper guides</a>${menu(guides, current)}</header>
<main id="content">
${content}</main>
</body>
</html>
`;
}

function overview(guides: Guides): string {
  const entries = Object.entries(guides).map(([name, { title, summaryHtml }]) =>
    `<dt><a href="${guidesUrl}/${name}">${title}</a></dt><dd>${summaryHtml}</dd>`
  );
  const content = `<h1>Guides</h1>
<p>The <a href="/docs">API reference</a> describes each operation. These guides describe the rest.</p>
<dl>${entries.join("\n")}</dl>
`;
  return page(guides, { title: "Guides", content });
}

/** Pages load a stylesheet and images of this server, and run nothing. */
const pageHeaders = secureHeaders({
  strictTransportSecurity: false,
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
});
/** A drawing styles itself. */
const imageHeaders = secureHeaders({
  strictTransportSecurity: false,
  contentSecurityPolicy: { defaultSrc: ["'none'"], styleSrc: ["'unsafe-inline'"], frameAncestors: ["'none'"] },
});

/** The address in the samples, replaced by the one of this server. */
const sampleHost = "127.0.0.1:8000";

/** Adds `/docs/guides`, a page for each guide, and the files that the pages load. */
export function addGuides(
  app: Hono<AppEnv>,
  { publicUrl, limiter }: { publicUrl: () => string; limiter: RequestLimiter },
): void {
  const addPage = (path: string, write: (guides: Guides) => string) =>
    app.get(path, limiter.page, pageHeaders, compress(), async (c) => {
      const { protocol, href } = new URL(publicUrl());
      const address = escapeHtml(href.slice(protocol.length + 2).replace(/\/$/, ""));
      const schemes = protocol === "https:" ? ["https://", "wss://"] : ["http://", "ws://"];
      const html = write(await renderedGuides())
        .replaceAll(`http://${sampleHost}`, () => `${schemes[0]}${address}`)
        .replaceAll(`ws://${sampleHost}`, () => `${schemes[1]}${address}`);
      return c.html(html, 200, { "Cache-Control": "no-store" });
    });
  const addFile = (path: string, text: string, { type, headers }: { type: string; headers: MiddlewareHandler }) =>
    app.get(
      path,
      limiter.page,
      headers,
      compress(),
      (c) => c.body(text, 200, { "Content-Type": type, "Cache-Control": "public, max-age=3600" }),
    );

  addPage(guidesUrl, overview);
  for (const name of guideNames) {
    addPage(`${guidesUrl}/${name}`, (guides) => {
      const { title, html } = guides[name];
      return page(guides, { title, current: name, content: html });
    });
  }
  addFile(`${guidesUrl}/style.css`, stylesheet, { type: "text/css", headers: pageHeaders });
  for (const [name, image] of Object.entries(images)) {
    addFile(`${guidesUrl}/images/${name}.svg`, image, { type: "image/svg+xml", headers: imageHeaders });
  }
}
