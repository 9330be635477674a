/**
 * The checkout page of the sandbox provider. It works without JavaScript. The buttons Pay and Decline send a webhook to
 * this server and redirect the person, as a real provider would.
 */
import type { Context, Hono, MiddlewareHandler } from "hono";
import { html } from "hono/html";
import type { Booking } from "../../generated/contract.ts";
import { layout, type Markup } from "../checkout/layout.ts";
import {
  type CheckoutView,
  describeOutcome,
  isPayable,
  isWaiting,
  type Outcome,
  timeLeft,
} from "../checkout/outcome.ts";
import {
  checkoutHeaders,
  findCheckoutView,
  noCheckout,
  outcomeMarkup,
  problemsAsPages,
  sandboxNote,
} from "../checkout/result_page.ts";
import type { AppEnv } from "../http/context.ts";
import type { Deadlines } from "../http/deadlines.ts";
import { readText } from "../http/json_body.ts";
import type { RequestLimiter } from "../http/request_limiter.ts";
import { formatMoney, toCents } from "../money.ts";
import type { PaymentLinks } from "../payments/provider.ts";
import type { SandboxPayments } from "../payments/sandbox.ts";
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

const path = "/sandbox/checkout/:checkoutId";

/** Adds the page and its form. */
export function addCheckoutPage(app: Hono<AppEnv>, options: CheckoutPageOptions): void {
  const { payments, links, clock, limiter, deadlines, deliver } = options;
  const headers: MiddlewareHandler<AppEnv> = (c, next) => {
    // Chromium also applies this to the redirect after the form.
    const back = new URL(links.afterCheckout({ checkoutId: "", bookingId: 1 }, "paid")).origin;
    return checkoutHeaders(["'self'", back])(c, next);
  };
  const asPages = problemsAsPages(sandboxNote);
  const answer = (
    c: Context<AppEnv>,
    status: 200 | 400 | 404 | 409 | 503,
    { title, main }: { title: string; main: Markup },
  ) => {
    c.header("Cache-Control", "no-store");
    return c.html(layout(c.get("secureHeadersNonce") ?? "", { title, note: sandboxNote, main }), status);
  };
  const closed = (checkout: CheckoutView) => {
    const outcome = describeOutcome(checkout, clock.now());
    const { status } = checkout.booking;
    const back = links.afterCheckout(leaving(checkout), status === "confirmed" ? "paid" : "cancelled");
    // Without a page of the operator, the next page says the same.
    const more = links.returnsElsewhere ? html`<p><a href="${back}">Go back</a></p>` : "";
    return {
      title: outcome.title,
      main: html`${outcomeMarkup(outcome, checkout)}${developerNote(checkout, clock.now())}${more}`,
    };
  };

  app.get(path, headers, asPages, limiter.page, async (c) => {
    const checkout = await findCheckoutView(options, c.req.param("checkoutId"));
    if (checkout === undefined) return answer(c, 404, notice(noCheckout));
    return answer(c, 200, isPayable(checkout, clock.now()) ? form(checkout, clock.now(), links) : closed(checkout));
  });

  app.post(path, headers, asPages, limiter.page, async (c) => {
    const checkout = await findCheckoutView(options, c.req.param("checkoutId"));
    if (checkout === undefined) return answer(c, 404, notice(noCheckout));
    const { id: checkoutId, booking } = checkout;
    const isForm = /^application\/x-www-form-urlencoded\b/i.test(c.req.header("Content-Type") ?? "");
    const action = isForm ? new URLSearchParams(await readText(c.req.raw, deadlines)).get("action") : undefined;
    if (!isPayable(checkout, clock.now())) {
      // A second click on Pay, in this or another tab, ends as the first one did.
      const isPaid = action === "pay" && booking.status === "confirmed" && booking.amountPaid > 0;
      return isPaid
        ? c.redirect(links.afterCheckout(leaving(checkout), "paid"), 303)
        : answer(c, 409, closed(checkout));
    }
    if (action !== "pay" && action !== "decline") {
      return answer(c, 400, notice(failure("Choose Pay or Decline on the checkout page."), checkout));
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
      return answer(c, 503, notice(failure("Nothing was paid. Try again in a moment."), checkout));
    }
    return c.redirect(links.afterCheckout(leaving(checkout), action === "pay" ? "paid" : "declined"), 303);
  });
}

const leaving = ({ id: checkoutId, booking: { id: bookingId } }: CheckoutView) => ({ checkoutId, bookingId });

const failure = (text: string): Outcome => ({ title: "That did not work", text: [text] });

/** A page with a sentence, and a link to the page of `checkout`. */
function notice(outcome: Outcome, checkout?: CheckoutView): { title: string; main: Markup } {
  // Relative, because the public address may have a path in front.
  const more = checkout === undefined ? "" : html`<p><a href="${checkout.id}">Back to the checkout</a></p>`;
  return { title: outcome.title, main: html`${outcomeMarkup(outcome)}${more}` };
}

/** Names the operation to call next. Only developers see the sandbox. */
function developerNote({ booking }: CheckoutView, now: Date): Markup | "" {
  const { id, status, paymentStatus } = booking;
  const isUnpaid = (status === "pending" || status === "cancelled") && paymentStatus === "unpaid";
  const [path, result] = isWaiting(booking, now)
    ? [`/api/v1/bookings/${id}/checkout`, "opens a new checkout"]
    : ["/api/v1/bookings", "makes a new booking"];
  return isUnpaid ? html`<p class="note">For developers: <code>POST ${path}</code> ${result}.</p>` : "";
}

function form(checkout: CheckoutView, now: Date, links: PaymentLinks): { title: string; main: Markup } {
  const { id, room, timeslot, price, currency, holdExpiresAt }: Booking = checkout.booking;
  const main = html`
    <h1>${room.name}</h1>
    <dl>
      <dt>When</dt>
      <dd>${describeTimes(room.timeZone, timeslot)}</dd>
      <dt>Booking</dt>
      <dd>No. ${id}</dd>
      <dt>To pay</dt>
      <dd class="amount">${formatMoney(price, currency)}</dd>
    </dl>
    ${holdExpiresAt === null ? "" : html`<p class="hold">${timeLeft(checkout.booking, now)}</p>`}
    <form method="post">
      <button name="action" value="pay" class="pay">Pay</button>
      <button name="action" value="decline">Decline</button>
    </form>
    <p><a href="${links.afterCheckout(leaving(checkout), "cancelled")}">Go back without paying</a></p>
    <p class="note">The booking stays, and you can pay it later.</p>
  `;
  return { title: "Sandbox checkout", main };
}
