/**
 * The checkout page of the sandbox provider. It works without JavaScript. The buttons Pay and Decline send a webhook to
 * this server and redirect the person, as a real provider would.
 */
import type { Context, Hono } from "hono";
import { html } from "hono/html";
import { NONCE, secureHeaders } from "hono/secure-headers";
import type { Booking } from "../../generated/contract.ts";
import type { AppEnv } from "../http/context.ts";
import type { Deadlines } from "../http/deadlines.ts";
import { readText } from "../http/json_body.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import { formatMoney, toCents } from "../money.ts";
import type { PaymentLinks } from "../payments/provider.ts";
import type { SandboxPayments } from "../payments/sandbox.ts";
import { findCheckoutPage } from "../settlement/create_checkout.ts";
import type { SettlementRules } from "../settlement/rules.ts";
import { describeTimes } from "../time/calendar.ts";

export interface CheckoutPageOptions extends SettlementRules {
  limiter: RequestLimiter;
  deadlines: Deadlines;
  payments: SandboxPayments;
  links: PaymentLinks;
  /** Sends a request to this server, as a client would. */
  deliver(request: Request): Response | Promise<Response>;
}

type Markup = ReturnType<typeof html>;

const path = "/sandbox/checkout/:checkoutId";
const uuid = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/;

/** Adds the page and its form. */
export function addCheckoutPage(app: Hono<AppEnv>, options: CheckoutPageOptions): void {
  const { payments, links, clock, limiter, deadlines, deliver } = options;
  const headers = (c: Context<AppEnv>, next: () => Promise<void>) => {
    // Chromium also applies this to the redirect after the form.
    const back = new URL(links.afterCheckout(1, "paid")).origin;
    return secureHeaders({
      strictTransportSecurity: false,
      referrerPolicy: "no-referrer",
      contentSecurityPolicy: {
        defaultSrc: ["'none'"],
        styleSrc: [NONCE],
        formAction: ["'self'", back],
        baseUri: ["'none'"],
        frameAncestors: ["'none'"],
      },
    })(c, next);
  };
  const find = async (c: Context<AppEnv, typeof path>): Promise<CheckoutView | undefined> => {
    const id = c.req.param("checkoutId");
    const found = uuid.test(id) ? await findCheckoutPage(options, id) : undefined;
    return found === undefined ? undefined : { id, ...found };
  };
  const answer = (c: Context<AppEnv>, status: 200 | 400 | 404 | 409 | 503, main: Markup) => {
    c.header("Cache-Control", "no-store");
    return c.html(page(c.get("secureHeadersNonce") ?? "", main), status);
  };

  app.get(path, limiter.page, headers, async (c) => {
    const checkout = await find(c);
    if (checkout === undefined) return answer(c, 404, notice("There is no such checkout", "The link is not complete."));
    return answer(c, 200, content(checkout, clock.now(), links));
  });

  app.post(path, limiter.page, headers, async (c) => {
    const checkout = await find(c);
    if (checkout === undefined) return answer(c, 404, notice("There is no such checkout", "The link is not complete."));
    const { id: checkoutId, booking } = checkout;
    if (!isPayable(checkout, clock.now())) return answer(c, 409, content(checkout, clock.now(), links));
    const isForm = /^application\/x-www-form-urlencoded\b/i.test(c.req.header("Content-Type") ?? "");
    const action = isForm ? new URLSearchParams(await readText(c.req.raw, deadlines)).get("action") : undefined;
    if (action !== "pay" && action !== "decline") {
      return answer(c, 400, notice("That did not work", "Go back and choose Pay or Decline."));
    }
    const id = `sandbox_event_${crypto.randomUUID()}`;
    const webhook = await payments.sign(
      action === "pay"
        ? {
          id,
          type: "paid",
          checkout: checkoutId,
          // A second click has the same payment, so it pays once.
          payment: `sandbox_payment_${checkoutId}`,
          cents: toCents(booking.price),
          currency: booking.currency,
        }
        : { id, type: "failed", checkout: checkoutId },
    );
    const received = await deliver(
      new Request("http://localhost/api/v1/payments/webhook/sandbox", { method: "POST", ...webhook }),
    );
    await received.body?.cancel();
    if (!received.ok) {
      return answer(c, 503, notice("That did not work", "Nothing was paid. Go back and try again in a moment."));
    }
    return c.redirect(links.afterCheckout(booking.id, action === "pay" ? "paid" : "declined"), 303);
  });
}

interface CheckoutView {
  id: string;
  booking: Booking;
  isClosed: boolean;
}

function isPayable({ booking: { status, holdExpiresAt }, isClosed }: CheckoutView, now: Date): boolean {
  return status === "pending" && !isClosed && (holdExpiresAt === null || new Date(holdExpiresAt) > now);
}

function content(checkout: CheckoutView, now: Date, links: PaymentLinks): Markup {
  const { booking } = checkout;
  if (isPayable(checkout, now)) return form(booking, now, links);
  const isPaid = booking.amountPaid > 0 && booking.status !== "cancelled";
  const back = html`<p><a href="${links.afterCheckout(booking.id, isPaid ? "paid" : "cancelled")}">Go back</a></p>`;
  return isPaid
    ? notice("Paid", `Your booking of ${booking.room.name} is confirmed.`, back)
    : notice("This checkout is closed", "Nothing can be paid here any more. Ask for a new checkout.", back);
}

function form({ id, room, timeslot, price, currency, holdExpiresAt }: Booking, now: Date, links: PaymentLinks): Markup {
  return html`
    <h1>${room.name}</h1>
    <dl>
      <dt>When</dt>
      <dd>${describeTimes(room.timeZone, timeslot)}</dd>
      <dt>Booking</dt>
      <dd>No. ${id}</dd>
      <dt>To pay</dt>
      <dd class="amount">${formatMoney(price, currency)}</dd>
    </dl>
    ${holdExpiresAt === null ? "" : html`<p class="hold">${timeLeft(new Date(holdExpiresAt), now)}</p>`}
    <form method="post">
      <button name="action" value="pay" class="pay">Pay</button>
      <button name="action" value="decline">Decline</button>
    </form>
    <p><a href="${links.afterCheckout(id, "cancelled")}">Cancel and go back</a></p>
  `;
}

function timeLeft(until: Date, now: Date): string {
  const seconds = Math.max(0, Math.floor((until.getTime() - now.getTime()) / 1_000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const counted = (count: number, unit: string) => `${count} ${unit}${count === 1 ? "" : "s"}`;
  const left = hours >= 2 ? counted(hours, "hour") : minutes >= 1 ? counted(minutes, "minute") : "less than a minute";
  return `The timeslot is held for you for ${left} more.`;
}

function notice(title: string, text: string, more: Markup | "" = ""): Markup {
  return html`<h1>${title}</h1><p>${text}</p>${more}`;
}

function page(nonce: string, main: Markup): Markup {
  return html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Sandbox checkout</title>
        <style nonce="${nonce}">
        :root { color-scheme: light dark; --accent: #175; --line: #8885; }
        * { box-sizing: border-box; }
        body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
          font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#eef2ef, #141715); }
        .card { width: 100%; max-width: 26rem; padding: 1.5rem 2rem; border: 1px solid var(--line); border-radius: 1rem;
          background: light-dark(#fff, #1d211f); box-shadow: 0 .5rem 2rem #0002; }
        .sandbox { margin: 0; font-size: .85rem; color: light-dark(#555, #aaa); }
        h1 { margin: .5rem 0 1rem; font-size: 1.6rem; line-height: 1.2; }
        dl { margin: 0; display: grid; grid-template-columns: auto 1fr; gap: .5rem 1.5rem; align-items: baseline; }
        dt { color: light-dark(#555, #aaa); }
        dd { margin: 0; min-width: 0; text-align: right; }
    h1, dd, p { overflow-wrap: anywhere; text-wrap: balance; }
    .card > :last-child { margin-bottom: 0; }
        .amount { font-size: 1.3rem; font-weight: 600; }
        .hold { padding: .5rem .75rem; border-radius: .5rem; background: light-dark(#fff6dd, #332b12); }
        form { display: grid; gap: .6rem; margin-top: 1.25rem; }
        button { padding: .75rem; font: inherit; font-weight: 600; border: 1px solid var(--line); border-radius: .6rem;
          background: transparent; color: inherit; cursor: pointer; }
        .pay { background: var(--accent); border-color: var(--accent); color: #fff; }
        button:hover { filter: brightness(1.1); }
        a { color: inherit; }
      </style>
      </head>
      <body>
        <main class="card"><p class="sandbox">Slotkeeper sandbox. No money moves.</p>${main}</main>
      </body>
    </html>
  `;
}
