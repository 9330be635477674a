/** The sandbox's checkout page in a browser, mostly without JavaScript. tests/payments/checkout_page_test.ts has the requests. */
import assert from "node:assert/strict";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { hasBrowser, openPage, type WatchedPage } from "../support/browser.ts";
import { newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { openOnce } from "../support/open_once.ts";
import { checkoutIn, eventTypes, newCheckout, paymentsOf } from "../support/sandbox_payments.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };
const javaScriptEnabled = false;
const ignore = !hasBrowser;
if (ignore) console.log("Chromium not found. Set CHROMIUM_PATH to test the checkout page.");

// Shared by all tests, because a tab takes half a second to open. Each test books a room of its own.
let server: TestServer;
/** A tab without JavaScript. */
let tab: WatchedPage;
let scriptedTab: WatchedPage;
/** The origins that the tabs may ask. */
const origins: string[] = [];

const openServer = openOnce(() => startServer({ env }));
const openTab = openOnce(() => openPage({ origins, javaScriptEnabled }));
const openScriptedTab = openOnce(() => openPage({ origins }));

/** Prepares the server and the tabs for one test. */
async function prepare(): Promise<void> {
  [server, tab, scriptedTab] = [await openServer(), await openTab(), await openScriptedTab()];
  server.clock.set("2026-03-02T10:00:00.000Z");
  origins.splice(0, origins.length, server.url);
  for (const { visited, faults } of [tab, scriptedTab]) for (const record of [visited, faults]) record.splice(0);
}

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** A timeslot of `minutes` in a new room. `start` and `end` are local times there. */
async function newTimeslotAt(
  server: TestServer,
  { timeZone, date, start, end, minutes = (minutesOf(end) - minutesOf(start) + 1_440) % 1_440 }: {
    timeZone: string;
    date: string;
    start: string;
    end: string;
    minutes?: number;
  },
): Promise<Timeslot> {
  const room = await newRoom(server, { name: `A room in ${timeZone}`, timeZone });
  const [slot] = await newTimeslots(server, room, { date, slotDuration: minutes, workingHours: { start, end } });
  assert(slot);
  return slot;
}

/** The page after the checkout at `checkoutUrl`. */
function after(checkoutUrl: string, { id }: Booking, outcome: string): string {
  return `${server.url}/checkout/${checkoutIn(checkoutUrl)}?bookingId=${id}&checkout=${outcome}`;
}

async function read(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  return await server.ok("getBooking", { token: await server.token("alice"), params: { bookingId } });
}

Deno.test({
  name: "checkout page: open, then Pay -> room, time, amount and time left, then a confirmed booking",
  ignore,
  fn: async () => {
    await prepare();
    const slot = await newTimeslotAt(server, {
      timeZone: "Asia/Tokyo",
      date: "2026-03-09",
      start: "08:30",
      end: "10:00",
    });
    const { booking, checkoutUrl } = await newCheckout(server, "alice", slot);
    assert(checkoutUrl.startsWith(`${server.url}/sandbox/checkout/`));
    const { page } = tab;
    const answer = await page.goto(checkoutUrl);
    assert.equal(answer?.status(), 200);
    assert.equal(answer.headers()["cache-control"], "no-store");

    const text = await page.locator("main").innerText();
    assert.match(text, /A room in Asia\/Tokyo/);
    assert.match(text, /Monday,? 9 March 2026.*\b08:30 to 10:00 \(Asia\/Tokyo\)/);
    assert.match(text, /EUR\s90\.00/);
    assert.match(text, new RegExp(`No\\. ${booking.id}\\b`));
    assert.match(text, /\b15 minutes\b/);
    assert.equal(await page.title(), "Sandbox checkout");
    // The Content-Security-Policy lets the styles through.
    const rounding = await page.evaluate<string>("getComputedStyle(document.querySelector('main')).borderRadius");
    assert.notEqual(rounding, "0px");

    server.clock.set("2026-03-02T10:13:59.500Z");
    await page.reload();
    assert.match(await page.locator("main").innerText(), /\b1 minute\b/);
    server.clock.set("2026-03-02T10:14:00.001Z");
    await page.reload();
    assert.match(await page.locator("main").innerText(), /\bless than a minute\b/);

    tab.visited.length = 0;
    await page.getByRole("button", { name: "Pay" }).click();
    assert.deepEqual(tab.visited, [checkoutUrl, after(checkoutUrl, booking, "paid")]);
    await page.getByRole("heading", { name: `Booking ${booking.id} is confirmed` }).waitFor();
    assert.equal(await page.title(), `Booking ${booking.id} is confirmed`);
    const paid = await read(server, booking);
    assert.deepEqual([paid.status, paid.paymentStatus, paid.amountPaid], ["confirmed", "paid", 90]);
    assert.equal(paid.holdExpiresAt, null);
    assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed"]);
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test({
  name: "checkout page: midnight, other time zones, change of clocks -> local time of the room",
  ignore,
  fn: async (t) => {
    await prepare();
    const cases = [
      [
        "Europe/Berlin",
        "2026-03-09",
        "23:00",
        "00:30",
        "Monday 9 March 2026 at 23:00 to Tuesday 10 March 2026 at 00:30",
      ],
      [
        "Europe/Berlin",
        "2026-03-09",
        "23:00",
        "00:00",
        "Monday 9 March 2026 at 23:00 to Tuesday 10 March 2026 at 00:00",
      ],
      ["Europe/Berlin", "2026-03-10", "00:00", "01:00", "Tuesday 10 March 2026 at 00:00 to 01:00"],
      // These days differ from those in UTC.
      ["America/New_York", "2026-03-06", "22:00", "23:00", "Friday 6 March 2026 at 22:00 to 23:00"],
      [
        "Pacific/Kiritimati",
        "2026-12-31",
        "23:30",
        "00:30",
        "Thursday 31 December 2026 at 23:30 to Friday 1 January 2027 at 00:30",
      ],
      ["Asia/Kathmandu", "2026-03-09", "09:15", "09:45", "Monday 9 March 2026 at 09:15 to 09:45"],
      // Two hours; local time skips the third.
      ["America/New_York", "2026-03-08", "01:00", "04:00", "Sunday 8 March 2026 at 01:00 -05:00 to 04:00 -04:00"],
    ] as const;
    for (const [timeZone, date, start, end, expected] of cases) {
      await t.step(`${expected} in ${timeZone}`, async () => {
        const minutes = date === "2026-03-08" ? { minutes: 120 } : {};
        const slot = await newTimeslotAt(server, { timeZone, date, start, end, ...minutes });
        await tab.page.goto((await newCheckout(server, "alice", slot)).checkoutUrl);
        const shown = await tab.page.getByRole("definition").first().innerText();
        assert.equal(shown.replaceAll(",", ""), `${expected} (${timeZone})`);
      });
    }
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test({
  name: "checkout page: Decline -> hold stays, the same page still takes a payment",
  ignore,
  fn: async () => {
    await prepare();
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const { page } = tab;
    await page.goto(checkoutUrl);
    await page.getByRole("button", { name: "Decline" }).click();
    assert.deepEqual(tab.visited, [checkoutUrl, checkoutUrl, after(checkoutUrl, booking, "declined")]);
    await page.getByRole("heading", { name: `The payment of booking ${booking.id} was declined` }).waitFor();
    assert.deepEqual(await read(server, booking), booking);
    assert.deepEqual(await eventTypes(server, booking), ["created", "payment_failed"]);
    const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
    await server.refused("timeslot_unavailable", "createBooking", { token: await server.token("bob"), body });

    await page.getByRole("link", { name: "Pay now" }).click();
    assert.equal(page.url(), checkoutUrl);
    await page.getByRole("button", { name: "Pay" }).click();
    assert.equal(page.url(), after(checkoutUrl, booking, "paid"));
    assert.equal((await read(server, booking)).status, "confirmed");
    assert.deepEqual(await eventTypes(server, booking), ["created", "payment_failed", "confirmed"]);
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test({
  name: "checkout page: Pay after the hold expired -> closed, timeslot is free",
  ignore,
  fn: async () => {
    await prepare();
    const { room, timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const { page } = tab;
    await page.goto(checkoutUrl);
    server.clock.set("2026-03-02T10:15:00.000Z");
    await page.getByRole("button", { name: "Pay" }).click();
    const expired = page.getByRole("heading", { name: `Booking ${booking.id} has expired` });
    await expired.waitFor();
    assert.equal((await read(server, booking)).status, "pending");

    await server.sweep();
    const reloaded = await page.goto(checkoutUrl);
    assert.equal(reloaded?.status(), 200);
    await expired.waitFor();
    assert.match(await page.locator("main").innerText(), /make a new booking/);
    assert.equal(await page.getByRole("button").count(), 0);
    const { status, cancellationReason, amountPaid } = await read(server, booking);
    assert.deepEqual([status, cancellationReason, amountPaid], ["cancelled", "hold_expired", 0]);
    assert.deepEqual(await eventTypes(server, booking), ["created", "cancelled"]);
    const query = { date: "2026-03-09" };
    const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
    assert.deepEqual(timeslots, [timeslot]);

    // The browser reports the first click's 409 as an error.
    assert.deepEqual(tab.faults.filter((fault) => !fault.includes("409")), []);
  },
});

Deno.test({
  name: "checkout page: Pay in two tabs -> one payment, both tabs show it",
  ignore,
  fn: async () => {
    await prepare();
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const first = tab.page;
    await using second = await first.context().newPage();
    for (const page of [first, second]) await page.goto(checkoutUrl);
    await first.getByRole("button", { name: "Pay" }).click();
    await second.getByRole("button", { name: "Pay" }).click();
    for (const page of [first, second]) {
      await page.getByRole("heading", { name: `Booking ${booking.id} is confirmed` }).waitFor();
      assert.equal(page.url(), after(checkoutUrl, booking, "paid"));
    }
    // The page that the back button shows again may be an old one.
    await second.goBack();
    const again = second.getByRole("button", { name: "Pay" });
    if (await again.count() > 0) await again.click();
    await second.getByRole("heading", { name: `Booking ${booking.id} is confirmed` }).waitFor();
    assert.deepEqual(await paymentsOf(server, booking), { payments: 1, refunds: 0, amountPaid: 60 });
    assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed"]);
  },
});

Deno.test({
  name: "checkout page: CHECKOUT_RETURN_URL on another origin -> redirect there, no Referer",
  ignore,
  fn: async () => {
    await prepare();
    const referrers: (string | null)[] = [];
    const shop = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      referrers.push(request.headers.get("Referer"));
      const page =
        '<!DOCTYPE html><html lang="en"><title>The shop</title><link rel="icon" href="data:,"><h1>Welcome back</h1>';
      return new Response(page, { headers: { "Content-Type": "text/html" } });
    });
    const origin = `http://127.0.0.1:${shop.addr.port}`;
    try {
      const returning = { ...env, CHECKOUT_RETURN_URL: `${origin}/thanks?lang=de` };
      await using server = await startServer({ env: returning });
      const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
      origins.push(server.url, origin);
      const cases = [[tab, "Pay", "paid"], [scriptedTab, "Pay", "paid"], [tab, "Decline", "declined"]] as const;
      for (const [index, [tab, button, outcome]] of cases.entries()) {
        const slot = slots[index];
        assert(slot);
        const { booking, checkoutUrl } = await newCheckout(server, "alice", slot);
        await tab.page.goto(checkoutUrl);
        await tab.page.getByRole("button", { name: button }).click();
        await tab.page.getByRole("heading", { name: "Welcome back" }).waitFor();
        assert.equal(tab.page.url(), `${origin}/thanks?lang=de&bookingId=${booking.id}&checkout=${outcome}`);
        assert.equal((await read(server, booking)).status, outcome === "paid" ? "confirmed" : "pending");
        assert.deepEqual(tab.faults, []);
      }
      assert.deepEqual(referrers, [null, null, null], "the checkout's address was sent to the shop");
    } finally {
      await shop.shutdown();
    }
  },
});

Deno.test({
  name: "checkout page: long names on a phone -> no wider than the screen",
  ignore,
  fn: async () => {
    await prepare();
    const name = `The ${"Donaudampfschifffahrtsgesellschaftskapitänskajüte".repeat(2)}`;
    const { timeslot } = await newRoomWithTimeslot(server, { name, timeZone: "America/Argentina/ComodRivadavia" });
    const { checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const { page } = tab;
    const desk = page.viewportSize() ?? assert.fail();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(checkoutUrl);
    const width = () => page.evaluate<number>("document.documentElement.scrollWidth");
    assert.equal(await width(), 390);
    await page.getByRole("link", { name: "Go back without paying" }).click();
    await page.getByRole("link", { name: "Pay now" }).waitFor();
    assert.equal(await width(), 390);
    await page.setViewportSize(desk);
  },
});

Deno.test({
  name: "checkout page: HTML in a room's name -> shown as text",
  ignore,
  fn: async () => {
    await prepare();
    const name = `<script>alert("1")</script> & 'x' "y" <img src=x onerror=alert(2)> </h1>`;
    const { timeslot } = await newRoomWithTimeslot(server, { name });
    const { checkoutUrl } = await newCheckout(server, "alice", timeslot);
    // With JavaScript, so that a script would run.
    const { page, faults } = scriptedTab;
    page.on("dialog", (dialog) => {
      faults.push(`dialog ${dialog.message()}`);
      return dialog.dismiss();
    });
    await page.goto(checkoutUrl);
    assert.equal(await page.locator("h1").textContent(), name);
    await page.getByRole("button", { name: "Pay" }).click();
    await page.goto(checkoutUrl);
    await page.getByRole("heading", { name: "is confirmed" }).waitFor();
    assert.match(await page.locator("main").textContent() ?? "", new RegExp(RegExp.escape(name)));
    assert.equal(await page.locator("script, img").count(), 0);
    assert.deepEqual(faults, []);
  },
});

Deno.test({
  name: "checkout page: leave without paying, by keyboard -> not paid yet, held, and Pay now leads back",
  ignore,
  fn: async () => {
    await prepare();
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const { page } = tab;
    await page.goto(checkoutUrl);
    assert.match(await page.locator("main").innerText(), /The booking stays, and you can pay it later/);
    const focused = () => page.evaluate<string>("document.activeElement.textContent");
    const order: string[] = [];
    for (let press = 0; press < 3; press++) {
      await page.keyboard.press("Tab");
      order.push(await focused());
    }
    assert.deepEqual(order, ["Pay", "Decline", "Go back without paying"]);
    const outline = await page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle");
    assert.equal(outline, "solid", "the focus is invisible");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: `Booking ${booking.id} is not paid yet` }).waitFor();
    assert.equal(page.url(), after(checkoutUrl, booking, "cancelled"));
    assert.deepEqual(await read(server, booking), booking);
    await page.keyboard.press("Tab");
    assert.equal(await focused(), "Pay now");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Pay" }).click();
    await page.getByRole("heading", { name: `Booking ${booking.id} is confirmed` }).waitFor();
    assert.deepEqual(tab.faults, []);
  },
});
