/**
 * The page after a checkout, unless the operator has set `CHECKOUT_RETURN_URL`. It shows the booking as it is now. Its
 * address has the random id of the checkout, so nobody can guess the page of another booking.
 */
import type { Hono, MiddlewareHandler } from "hono";
import { html } from "hono/html";
import { NONCE, secureHeaders } from "hono/secure-headers";
import { Problem } from "../../generated/contract.ts";
import type { AppEnv } from "../http/context.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import { findCheckoutPage } from "../settlement/create_checkout.ts";
import type { SettlementRules } from "../settlement/rules.ts";
import { describeTimes } from "../time/calendar.ts";
import { layout, type Markup } from "./layout.ts";
import { type CheckoutView, describeOutcome, type Hint, isPayable, type Outcome } from "./outcome.ts";

export interface ResultPageOptions extends SettlementRules {
  limiter: RequestLimiter;
  /** Returns the page where the checkout `id` is paid. Undefined outside the sandbox, where only the provider knows it. */
  payPage: ((id: string) => string) | undefined;
}

/** Stands above the pages of the sandbox's checkouts. */
export const sandboxNote = "Slotkeeper sandbox. No money moves.";

const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** Returns the checkout and its booking. Undefined for an unknown or malformed id. */
export async function findCheckoutView(rules: SettlementRules, id: string): Promise<CheckoutView | undefined> {
  const found = uuid.test(id) ? await findCheckoutPage(rules, id) : undefined;
  return found === undefined ? undefined : { id, ...found };
}

/** Headers of a page about a checkout. A form of it may lead to `formTargets`. */
export function checkoutHeaders(formTargets: string[]): MiddlewareHandler {
  return secureHeaders({
    strictTransportSecurity: false,
    referrerPolicy: "no-referrer",
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      styleSrc: [NONCE],
      formAction: formTargets,
      baseUri: ["'none'"],
      frameAncestors: ["'none'"],
    },
  });
}

/** Answers a refusal as a page for people: too many requests, a large body, a failure. */
export function problemsAsPages(note: string): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    await next();
    const { status, headers } = c.res;
    if (headers.get("Content-Type") !== "application/problem+json") return;
    const { title, detail, requestId } = Problem.parse(await c.res.json());
    const text = status < 500 ? [detail] : [detail, `The requestId is ${requestId}.`];
    const main = outcomeMarkup({ title, text });
    const page = await layout(c.get("secureHeadersNonce") ?? "", { title, note, main });
    headers.set("Content-Type", "text/html; charset=UTF-8");
    // Without this, Hono merges the headers of both.
    c.res = undefined;
    c.res = new Response(page, { status, headers });
  };
}

/** Adds the page. */
export function addResultPage(app: Hono<AppEnv>, options: ResultPageOptions): void {
  const { clock, limiter, payPage } = options;
  const note = payPage === undefined ? "Slotkeeper" : sandboxNote;
  app.get("/checkout/:checkoutId", checkoutHeaders(["'none'"]), problemsAsPages(note), limiter.page, async (c) => {
    c.header("Cache-Control", "no-store");
    const nonce = c.get("secureHeadersNonce") ?? "";
    const checkout = await findCheckoutView(options, c.req.param("checkoutId"));
    if (checkout === undefined) {
      return c.html(layout(nonce, { title: noCheckout.title, note, main: outcomeMarkup(noCheckout) }), 404);
    }
    const hint = readHint(c.req.query("checkout"));
    const outcome = describeOutcome(checkout, clock.now(), hint);
    const isOpen = isPayable(checkout, clock.now()) && hint !== "paid" && payPage !== undefined;
    const pay = isOpen ? html`<p><a class="button pay" href="${payPage(checkout.id)}">Pay now</a></p>` : "";
    const main = html`${outcomeMarkup(outcome, checkout)}${pay}`;
    return c.html(layout(nonce, { title: outcome.title, note, main }));
  });
}

/** For an id that no checkout has. */
export const noCheckout: Outcome = {
  title: "There is no such checkout",
  text: ["Check that the link is complete.", "Or ask for another checkout in the app where you booked."],
};

/** Returns an outcome as a page's content. */
export function outcomeMarkup({ title, text }: Outcome, checkout?: CheckoutView): Markup {
  const details = checkout === undefined ? "" : html`
    <dl>
      <dt>Room</dt>
      <dd>${checkout.booking.room.name}</dd>
      <dt>When</dt>
      <dd>${describeTimes(checkout.booking.room.timeZone, checkout.booking.timeslot)}</dd>
    </dl>
  `;
  return html`<h1>${title}</h1>${details}${text.map((sentence) => html`<p>${sentence}</p>`)}`;
}

function readHint(text: string | undefined): Hint | undefined {
  return text === "paid" || text === "declined" || text === "cancelled" ? text : undefined;
}
