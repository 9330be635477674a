/** The frame of the pages about a checkout. They work without JavaScript. */
import { html } from "hono/html";

export type Markup = ReturnType<typeof html>;

/** Returns the page `title` with its content. `note` says who shows it. */
export function layout(nonce: string, { title, note, main }: { title: string; note: string; main: Markup }): Markup {
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>${title}</title>
        <style nonce="${nonce}">
        :root { color-scheme: light dark; --accent: #175; --line: #8885; }
        * { box-sizing: border-box; }
        body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
          font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#eef2ef, #141715); }
        .card { width: 100%; max-width: 26rem; padding: 1.5rem 2rem; border: 1px solid var(--line); border-radius: 1rem;
          background: light-dark(#fff, #1d211f); box-shadow: 0 .5rem 2rem #0002; }
        .note { margin: 0; font-size: .85rem; color: light-dark(#555, #aaa); }
        h1 { margin: .5rem 0 1rem; font-size: 1.6rem; line-height: 1.2; }
        dl { margin: 0 0 1rem; display: grid; grid-template-columns: auto 1fr; gap: .5rem 1.5rem; align-items: baseline; }
        dt { color: light-dark(#555, #aaa); }
        dd { margin: 0; min-width: 0; text-align: right; }
        h1, dd, p { overflow-wrap: anywhere; text-wrap: balance; }
        .card > :last-child { margin-bottom: 0; }
        .amount { font-size: 1.3rem; font-weight: 600; }
        .hold { padding: .5rem .75rem; border-radius: .5rem; background: light-dark(#fff6dd, #332b12); }
        form { display: grid; gap: .6rem; margin: 1.25rem 0 1rem; }
        button, .button { padding: .75rem; font: inherit; font-weight: 600; border: 1px solid var(--line);
          border-radius: .6rem; background: transparent; color: inherit; cursor: pointer; }
        .button { display: block; text-align: center; text-decoration: none; }
        .pay { background: var(--accent); border-color: var(--accent); color: #fff; }
        button:hover, .button:hover { filter: brightness(1.1); }
        :focus-visible { outline: 3px solid light-dark(#0a5bd3, #8ab8ff); outline-offset: 2px; }
        a { color: inherit; }
        </style>
      </head>
      <body>
        <main class="card"><p class="note">${note}</p>${main}</main>
      </body>
    </html>
  `;
}
