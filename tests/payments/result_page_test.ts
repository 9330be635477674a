/** The page after a checkout, and what the checkout's own page says when it takes no payment. */
import assert from "node:assert/strict";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { confirm, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { type NewCheckout, newCheckout, pay } from "../support/sandbox_payments.ts";
import { type SharedServer, sharedServer, startServer } from "../support/server.ts";
import { startStripe } from "../support/stripe_stand_in.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };

const post = (url: string, name: string) =>
  fetch(url, { method: "POST", body: new URLSearchParams({ action: name }), redirect: "manual" });

/** The headline, the text and the links of a page. */
async function read(url: string): Promise<{ status: number; title: string; text: string; links: string[] }> {
  const answer = await fetch(url);
  assert.match(answer.headers.get("Content-Type") ?? "", /^text\/html/);
  assert.equal(answer.headers.get("Cache-Control"), "no-store");
  assert.equal(answer.headers.get("Referrer-Policy"), "no-referrer");
  assert.match(answer.headers.get("Content-Security-Policy") ?? "", /default-src 'none'/);
  const html = await answer.text();
  const [, title = ""] = /<h1>([^<]*)<\/h1>/.exec(html) ?? [];
  const [, main = ""] = /<main[^>]*>([\s\S]*)<\/main>/.exec(html) ?? [];
  if (!main.includes("<form")) assert(html.includes(`<title>${title}</title>`), "the window has another title");
  const links = [...main.matchAll(/<a [^>]*href="([^"]*)"/g)].map(([, href = ""]) => href.replaceAll("&amp;", "&"));
  const text = main.replaceAll(/<[^>]+>/g, " ").replaceAll(/\s+/g, " ").trim();
  return { status: answer.status, title, text, links };
}

interface State {
  name: string;
  /** Brings the booking into the state. Returns the answer that leads to the page, if there is one. */
  reach(server: SharedServer, checkout: NewCheckout, later: Timeslot): Promise<Response | void>;
  /** The page after the checkout. `0` stands for the number of the booking. */
  title: string;
  text: RegExp;
  canPay?: true;
}

const call = async (server: SharedServer, { booking }: NewCheckout) => ({
  token: await server.token("alice"),
  params: { bookingId: booking.id },
});

const setStatus = async (server: SharedServer, { booking }: NewCheckout, status: Booking["status"]) => {
  server.clock.set("2026-03-09T09:00:00.000Z");
  const token = await server.token("admin", "admin");
  await server.ok("updateBookingStatus", { token, params: { bookingId: booking.id }, body: { status } });
};

const states: State[] = [
  {
    name: "paid",
    reach: (_server, { checkoutUrl }) => post(checkoutUrl, "pay"),
    title: "Booking 0 is confirmed",
    text: /EUR.60\.00 was paid\./,
  },
  {
    name: "declined",
    reach: (_server, { checkoutUrl }) => post(checkoutUrl, "decline"),
    title: "The payment of booking 0 was declined",
    text: /Nothing was paid\. You can try again\. .*held for you for 15 minutes more/,
    canPay: true,
  },
  {
    name: "left without paying",
    reach: () => Promise.resolve(),
    title: "Booking 0 is not paid yet",
    text: /It is not cancelled, and you can still pay\. .*held for you for 15 minutes more/,
    canPay: true,
  },
  {
    name: "declined, then paid",
    async reach(_server, { checkoutUrl }) {
      const declined = await post(checkoutUrl, "decline");
      await (await post(checkoutUrl, "pay")).body?.cancel();
      return declined;
    },
    title: "Booking 0 is confirmed",
    text: /EUR.60\.00 was paid\./,
  },
  {
    name: "hold over, before the sweep",
    reach(server) {
      server.clock.set("2026-03-02T10:15:00.000Z");
      return Promise.resolve();
    },
    title: "Booking 0 has expired",
    text: /not paid in time.*Nothing was paid\..*make a new booking/,
  },
  {
    name: "hold over, after the sweep",
    async reach(server) {
      server.clock.set("2026-03-02T10:15:00.000Z");
      await server.sweep();
    },
    title: "Booking 0 has expired",
    text: /not paid in time.*Nothing was paid\..*make a new booking/,
  },
  {
    name: "cancelled meanwhile",
    reach: async (server, checkout) => void await server.ok("cancelBooking", await call(server, checkout)),
    title: "Booking 0 is cancelled",
    text: /Nothing was paid\..*make a new booking/,
  },
  {
    name: "paid, then cancelled",
    async reach(server, checkout) {
      const paid = await post(checkout.checkoutUrl, "pay");
      await server.ok("cancelBooking", await call(server, checkout));
      return paid;
    },
    title: "Booking 0 is cancelled",
    text: /EUR.60\.00 was paid\. .*A refund is on its way/,
  },
  {
    name: "paid, cancelled and refunded",
    async reach(server, checkout) {
      const paid = await post(checkout.checkoutUrl, "pay");
      await server.ok("cancelBooking", await call(server, checkout));
      await server.work();
      return paid;
    },
    title: "Booking 0 is cancelled",
    text: /EUR.60\.00 was paid\. .*EUR.60\.00 was refunded\./,
  },
  {
    name: "hold over, paid too late for a taken timeslot",
    async reach(server, checkout) {
      server.clock.set("2026-03-02T10:15:00.000Z");
      await server.sweep();
      const { roomId, timeslotId } = checkout.booking;
      await server.ok("createBooking", { token: await server.token("bob"), body: { roomId, timeslotId } });
      await pay(server, checkout);
      await server.work();
    },
    title: "Booking 0 has expired",
    text: /EUR.60\.00 was paid\. .*EUR.60\.00 was refunded\./,
  },
  {
    name: "newer checkout",
    reach: async (server, checkout) => void await server.ok("createCheckout", await call(server, checkout)),
    title: "Booking 0 is not paid yet",
    text: /This checkout is closed.*newer checkout.*Open its newest checkout/,
  },
  {
    name: "moved",
    async reach(server, checkout, { id: newTimeslotId }) {
      await server.ok("rescheduleBooking", { ...await call(server, checkout), body: { newTimeslotId } });
    },
    title: "Booking 0 is not paid yet",
    text: /09:00.*This checkout is closed.*was moved/,
  },
  {
    name: "confirmed by an admin",
    reach: async (server, { booking }) => void await confirm(server, booking),
    title: "Booking 0 is confirmed",
    text: /You can close this page/,
  },
  {
    name: "completed",
    async reach(server, checkout) {
      await pay(server, checkout);
      await setStatus(server, checkout, "completed");
    },
    title: "Booking 0 is over",
    text: /EUR.60\.00 was paid\. Nothing can be paid here any more/,
  },
  {
    name: "no_show",
    async reach(server, checkout) {
      await pay(server, checkout);
      await setStatus(server, checkout, "no_show");
    },
    title: "Booking 0 is over",
    text: /EUR.60\.00 was paid\. Nothing can be paid here any more/,
  },
];

for (const { name, reach, title, text, canPay = false } of states) {
  Deno.test(`result page: ${name} -> "${title}" there and at the checkout`, async () => {
    const server = await sharedServer({ env });
    const [slot, later] = await newTimeslots(server, await newRoom(server, { timeZone: "UTC" }), {
      date: "2026-03-09",
      workingHours: { start: "08:00", end: "10:00" },
      slotDuration: 60,
    });
    assert(slot && later);
    const checkout = await newCheckout(server, "alice", slot);
    const { booking, checkoutUrl } = checkout;
    const { links: [leave = ""] } = await read(checkoutUrl);
    const answer = await reach(server, checkout, later);
    const url = answer ? answer.headers.get("Location") ?? "" : leave;
    await answer?.body?.cancel();
    if (answer) assert.equal(answer.status, 303);
    const { searchParams, pathname } = new URL(url);
    assert.equal(pathname, `/checkout/${checkout.checkout}`);
    assert.equal(searchParams.get("bookingId"), String(booking.id));

    const expected = title.replace("0", String(booking.id));
    const page = await read(url);
    assert.equal(page.status, 200);
    assert.equal(page.title, expected);
    assert.match(page.text, text);
    assert(page.text.includes(booking.room.name));
    // The person can still pay from there.
    assert.deepEqual(page.links, canPay ? [checkoutUrl] : []);

    if (canPay) return;
    const closed = await read(checkoutUrl);
    assert.equal(closed.title, expected);
    assert.match(closed.text, text);
    assert.deepEqual(closed.links, [], "it leads to a page that says the same");
    for (const action of ["decline", "pay"]) {
      const late = await post(checkoutUrl, action);
      const html = await late.text();
      if (late.status === 303) {
        // Pay again, in another tab or after the back button, ends as before.
        assert.equal(action, "pay");
        assert.match(late.headers.get("Location") ?? "", /[?&]checkout=paid$/);
        assert.equal((await read(late.headers.get("Location") ?? "")).title, `Booking ${booking.id} is confirmed`);
      } else {
        assert.equal(late.status, 409);
        assert(html.includes(`<h1>${expected}</h1>`));
      }
    }
    assert.equal((await read(checkoutUrl)).title, expected);
  });
}

Deno.test("result page: provider reports the payment later -> being confirmed, never unpaid", async () => {
  await using stripe = await startStripe();
  const { CHECKOUT_RETURN_URL: _elsewhere, ...rest } = stripe.env;
  await using server = await startServer({ env: { ...rest, PUBLIC_URL: "https://replaced.example" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("alice");
  const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
  const { booking } = await server.ok("createBooking", { token, body });
  const [sent] = stripe.requests.filter(({ params }) => params.success_url !== undefined);
  const { success_url: paid = "", cancel_url: cancelled = "" } = sent?.params ?? {};
  for (const url of [paid, cancelled]) assert(url.startsWith(`${server.url}/checkout/`), url);

  const before = await read(paid);
  assert.equal(before.title, `The payment of booking ${booking.id} is being confirmed`);
  assert.match(before.text, /Load this page again in a moment/);
  const left = await read(cancelled);
  assert.equal(left.title, `Booking ${booking.id} is not paid yet`);
  // Only Stripe knows the address of its page.
  assert.deepEqual([before.links, left.links], [[], []]);

  server.clock.set("2026-03-02T10:15:00.000Z");
  await server.sweep();
  const expired = await read(paid);
  assert.equal(expired.title, `Booking ${booking.id} has expired`);
  assert.match(expired.text, /A payment that arrives now confirms the booking if the timeslot is still free/);
  assert.doesNotMatch(expired.text, /Nothing was paid/);
});

Deno.test("result page: unknown or malformed id, or another provider -> 404", async () => {
  const server = await sharedServer({ env });
  const { timeslot } = await newRoomWithTimeslot(server);
  const { checkout, booking } = await newCheckout(server, "alice", timeslot);
  const ids = [crypto.randomUUID(), String(booking.id), `${checkout}0`, checkout.toUpperCase(), "%00", "%F0%28%8C"];
  for (const id of ids) {
    const page = await read(`${server.url}/checkout/${id}?bookingId=${booking.id}&checkout=paid`);
    assert.equal(page.status, 404, id);
    assert.equal(page.title, "There is no such checkout");
    assert.match(page.text, /Check that the link is complete/);
  }
  await using none = await startServer({ env: { PAYMENT_PROVIDER: "none" }, database: { url: server.databaseUrl } });
  const answer = await fetch(`${none.url}/checkout/${checkout}`);
  assert.equal(answer.status, 404);
  assert.equal((await answer.json()).code, "route_not_found");
});

Deno.test("result page: HTML in a room's name, unknown values in the address -> shown as text, or ignored", async () => {
  const server = await sharedServer({ env });
  const name = `<script>alert("1")</script> & 'x' "y" </h1>`;
  const { timeslot } = await newRoomWithTimeslot(server, { name });
  const { booking, checkout } = await newCheckout(server, "alice", timeslot);
  for (const query of ["", "?checkout=<script>", "?checkout=expired&bookingId=<b>1</b>", "?checkout=&checkout=paid"]) {
    const answer = await fetch(`${server.url}/checkout/${checkout}${query}`);
    const html = await answer.text();
    assert(html.includes(`<h1>Booking ${booking.id} is not paid yet</h1>`), query);
    assert.doesNotMatch(html, /<script|<b>/);
    assert(html.includes("&lt;script&gt;alert("));
  }
});

Deno.test("checkout page: CHECKOUT_RETURN_URL -> every way out leads there", async () => {
  const { databaseUrl: url } = await sharedServer({ env });
  const home = "https://shop.example/thanks?lang=de";
  await using server = await startServer({ env: { ...env, CHECKOUT_RETURN_URL: home }, database: { url } });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [first, second] = slots;
  assert(first && second);
  const { booking, checkoutUrl } = await newCheckout(server, "alice", first);
  const back = (id: number, outcome: string) => `${home}&bookingId=${id}&checkout=${outcome}`;
  assert.deepEqual((await read(checkoutUrl)).links, [back(booking.id, "cancelled")]);
  for (const [action, outcome] of [["decline", "declined"], ["pay", "paid"], ["pay", "paid"]] as const) {
    const answer = await post(checkoutUrl, action);
    await answer.body?.cancel();
    assert.deepEqual([answer.status, answer.headers.get("Location")], [303, back(booking.id, outcome)]);
  }
  assert.deepEqual((await read(checkoutUrl)).links, [back(booking.id, "paid")]);

  const other = await newCheckout(server, "alice", second);
  server.clock.set("2026-03-02T10:15:00.000Z");
  const expired = await read(other.checkoutUrl);
  assert.equal(expired.title, `Booking ${other.booking.id} has expired`);
  assert.deepEqual(expired.links, [back(other.booking.id, "cancelled")]);
});
