/** The sandbox's checkout page, in the browser of a person who pays: without JavaScript, unless a test says otherwise. */
import assert from "node:assert/strict";
import type { Browser } from "playwright-core";
import type { Booking, Timeslot } from "../../generated/contract.ts";
import { appBeside } from "../support/app.ts";
import { hasBrowser, launchBrowser, openPage } from "../support/browser.ts";
import { newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { eventTypes, newCheckout } from "../support/sandbox_payments.ts";
import { startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };
const javaScriptEnabled = false;
const ignore = !hasBrowser;
if (ignore) console.log("There is no Chromium here (set CHROMIUM_PATH): the checkout page is not tried in a browser.");

// One of each for all tests, since they take long to start. Each test books a room of its own.
let server: TestServer;
let browser: Browser;

Deno.test.beforeAll(async () => {
  server = await startServer({ env });
  if (hasBrowser) browser = await launchBrowser();
});

Deno.test.beforeEach(() => server.clock.set("2026-03-02T10:00:00.000Z"));

Deno.test.afterAll(async () => {
  await server[Symbol.asyncDispose]();
  if (hasBrowser) await browser.close();
});

const minutesOf = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));

/** One timeslot in a room of this zone, by the wall clock there, `minutes` long. */
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

async function read(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  return await server.ok("getBooking", { token: await server.token("alice"), params: { bookingId } });
}

const post = (url: string, body: BodyInit | null) => fetch(url, { method: "POST", body, redirect: "manual" });
const action = (name: string) => new URLSearchParams({ action: name });

Deno.test({
  name: "a person sees room, time, amount and time left, pays, and comes back to a confirmed booking",
  ignore,
  fn: async () => {
    const slot = await newTimeslotAt(server, {
      timeZone: "Asia/Tokyo",
      date: "2026-03-09",
      start: "08:30",
      end: "10:00",
    });
    const { booking, checkoutUrl } = await newCheckout(server, "alice", slot);
    assert(checkoutUrl.startsWith(`${server.url}/sandbox/checkout/`));
    await using tab = await openPage(browser, { origins: [server.url], javaScriptEnabled });
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
    // The styles have come through the policy.
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
    const back = `${server.url}/?bookingId=${booking.id}&checkout=paid`;
    assert.deepEqual(tab.visited.slice(0, 2), [checkoutUrl, back]);
    const paid = await read(server, booking);
    assert.deepEqual([paid.status, paid.paymentStatus, paid.amountPaid], ["confirmed", "paid", 90]);
    assert.equal(paid.holdExpiresAt, null);
    assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed"]);
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test({
  name: "the page tells the time as the clock on the room's wall does, across midnight and a change of clocks",
  ignore,
  fn: async (t) => {
    await using tab = await openPage(browser, { origins: [server.url], javaScriptEnabled });
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
      // Another day than in UTC, at the start and at the end.
      ["America/New_York", "2026-03-06", "22:00", "23:00", "Friday 6 March 2026 at 22:00 to 23:00"],
      [
        "Pacific/Kiritimati",
        "2026-12-31",
        "23:30",
        "00:30",
        "Thursday 31 December 2026 at 23:30 to Friday 1 January 2027 at 00:30",
      ],
      ["Asia/Kathmandu", "2026-03-09", "09:15", "09:45", "Monday 9 March 2026 at 09:15 to 09:45"],
      // Two hours, of which the clock on the wall shows three.
      ["America/New_York", "2026-03-08", "01:00", "04:00", "Sunday 8 March 2026 at 01:00 to 04:00"],
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
  name: "a person declines, the booking stays held, and the same page still takes the payment",
  ignore,
  fn: async () => {
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    await using tab = await openPage(browser, { origins: [server.url], javaScriptEnabled });
    const { page } = tab;
    await page.goto(checkoutUrl);
    await page.getByRole("button", { name: "Decline" }).click();
    assert.deepEqual(tab.visited.slice(0, 3), [
      checkoutUrl,
      checkoutUrl,
      `${server.url}/?bookingId=${booking.id}&checkout=declined`,
    ]);
    assert.deepEqual(await read(server, booking), booking);
    assert.deepEqual(await eventTypes(server, booking), ["created", "payment_failed"]);
    const body = { roomId: timeslot.roomId, timeslotId: timeslot.id };
    await server.refused("timeslot_unavailable", "createBooking", { token: await server.token("bob"), body });

    tab.visited.length = 0;
    await page.goto(checkoutUrl);
    await page.getByRole("button", { name: "Pay" }).click();
    assert.equal(tab.visited[2], `${server.url}/?bookingId=${booking.id}&checkout=paid`);
    assert.equal((await read(server, booking)).status, "confirmed");
    assert.deepEqual(await eventTypes(server, booking), ["created", "payment_failed", "confirmed"]);
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test({
  name: "a person who waits too long finds the page closed and the timeslot free again",
  ignore,
  fn: async () => {
    const { room, timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    await using tab = await openPage(browser, { origins: [server.url], javaScriptEnabled });
    const { page } = tab;
    await page.goto(checkoutUrl);
    server.clock.set("2026-03-02T10:15:00.000Z");
    await page.getByRole("button", { name: "Pay" }).click();
    await page.getByRole("heading", { name: "This checkout is closed" }).waitFor();
    assert.equal((await read(server, booking)).status, "pending");

    await server.sweep();
    const reloaded = await page.goto(checkoutUrl);
    assert.equal(reloaded?.status(), 200);
    await page.getByRole("heading", { name: "This checkout is closed" }).waitFor();
    assert.equal(await page.getByRole("button").count(), 0);
    const { status, cancellationReason, amountPaid } = await read(server, booking);
    assert.deepEqual([status, cancellationReason, amountPaid], ["cancelled", "hold_expired", 0]);
    assert.deepEqual(await eventTypes(server, booking), ["created", "cancelled"]);
    const query = { date: "2026-03-09" };
    const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId: room.id }, query });
    assert.deepEqual(timeslots, [timeslot]);

    tab.visited.length = 0;
    await page.getByRole("link", { name: "Go back" }).click();
    assert.equal(tab.visited[0], `${server.url}/?bookingId=${booking.id}&checkout=cancelled`);
    // The answer to the first click was 409, which the browser notes as an error.
    assert.deepEqual(tab.faults.filter((fault) => !fault.includes("409")), []);
  },
});

Deno.test({
  name: "a person who pays in two tabs pays once, and the second tab says that it is paid",
  ignore,
  fn: async () => {
    const { timeslot } = await newRoomWithTimeslot(server);
    const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
    await using first = await openPage(browser, { origins: [server.url], javaScriptEnabled });
    await using second = await openPage(browser, { origins: [server.url], javaScriptEnabled });
    for (const { page } of [first, second]) await page.goto(checkoutUrl);
    await first.page.getByRole("button", { name: "Pay" }).click();
    await second.page.getByRole("button", { name: "Pay" }).click();
    await second.page.getByRole("heading", { name: "Paid" }).waitFor();
    assert.equal(await second.page.getByRole("button").count(), 0);
    const back = await second.page.getByRole("link").getAttribute("href");
    assert.equal(back, `${server.url}/?bookingId=${booking.id}&checkout=paid`);
    assert.deepEqual(await paymentsOf(server, booking), { payments: 1, refunds: 0, amountPaid: 60 });
    assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed"]);
  },
});

Deno.test("ten clicks on Pay in the same instant pay once", async () => {
  const { timeslot } = await newRoomWithTimeslot(server);
  const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
  const answers = await Promise.all(Array.from({ length: 10 }, () => post(checkoutUrl, action("pay"))));
  const statuses = new Set<number>();
  for (const answer of answers) {
    statuses.add(answer.status);
    await answer.body?.cancel();
  }
  assert.deepEqual([...statuses].filter((status) => status !== 303 && status !== 409), []);
  assert(statuses.has(303));
  assert.deepEqual(await paymentsOf(server, booking), { payments: 1, refunds: 0, amountPaid: 60 });
  assert.deepEqual(await eventTypes(server, booking), ["created", "confirmed"]);
});

/** What there is about the money of a booking. */
async function paymentsOf({ db }: TestServer, { id }: Booking): Promise<Record<string, number>> {
  const count = async (table: "payments" | "refunds") =>
    (await db.selectFrom(table).select("id").where("booking_id", "=", id).execute()).length;
  const { amount_paid } = await db.selectFrom("bookings").select("amount_paid").where("id", "=", id)
    .executeTakeFirstOrThrow();
  return { payments: await count("payments"), refunds: await count("refunds"), amountPaid: Number(amount_paid) };
}

Deno.test({
  name: "after the checkout a person is led to CHECKOUT_RETURN_URL, also on another origin, which learns no more",
  ignore,
  fn: async () => {
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
      const ways = [["Pay", "paid", false], ["Pay", "paid", true], ["Decline", "declined", false]] as const;
      for (const [index, [button, outcome, javaScript]] of ways.entries()) {
        const slot = slots[index];
        assert(slot);
        const { booking, checkoutUrl } = await newCheckout(server, "alice", slot);
        const origins = [server.url, origin];
        await using tab = await openPage(browser, { origins, javaScriptEnabled: javaScript });
        await tab.page.goto(checkoutUrl);
        await tab.page.getByRole("button", { name: button }).click();
        await tab.page.getByRole("heading", { name: "Welcome back" }).waitFor();
        assert.equal(tab.page.url(), `${origin}/thanks?lang=de&bookingId=${booking.id}&checkout=${outcome}`);
        assert.equal((await read(server, booking)).status, outcome === "paid" ? "confirmed" : "pending");
        assert.deepEqual(tab.faults, []);
      }
      assert.deepEqual(referrers, [null, null, null], "the address of a checkout is known to who pays only");
    } finally {
      await shop.shutdown();
    }
  },
});

Deno.test({
  name: "the page is no wider than the screen of a phone, whatever the room and its time zone are called",
  ignore,
  fn: async () => {
    const name = `The ${"Donaudampfschifffahrtsgesellschaftskapitänskajüte".repeat(2)}`;
    const { timeslot } = await newRoomWithTimeslot(server, { name, timeZone: "America/Argentina/ComodRivadavia" });
    const { checkoutUrl } = await newCheckout(server, "alice", timeslot);
    const viewport = { width: 390, height: 844 };
    await using tab = await openPage(browser, { origins: [server.url], javaScriptEnabled, viewport });
    await tab.page.goto(checkoutUrl);
    assert.equal(await tab.page.evaluate<number>("document.documentElement.scrollWidth"), viewport.width);
  },
});

Deno.test({
  name: "the name of a room is shown as a text, whatever is in it",
  ignore,
  fn: async () => {
    const name = `<script>alert("1")</script> & 'x' "y" <img src=x onerror=alert(2)> </h1>`;
    const { timeslot } = await newRoomWithTimeslot(server, { name });
    const { checkoutUrl } = await newCheckout(server, "alice", timeslot);
    // With JavaScript, so that it could do harm.
    await using tab = await openPage(browser, { origins: [server.url] });
    const { page } = tab;
    page.on("dialog", (dialog) => {
      tab.faults.push(`dialog ${dialog.message()}`);
      return dialog.dismiss();
    });
    await page.goto(checkoutUrl);
    assert.equal(await page.locator("h1").textContent(), name);
    await page.getByRole("button", { name: "Pay" }).click();
    await page.goto(checkoutUrl);
    await page.getByRole("heading", { name: "Paid" }).waitFor();
    assert.match(await page.locator("main").textContent() ?? "", new RegExp(RegExp.escape(name)));
    assert.equal(await page.locator("script, img").count(), 0);
    assert.deepEqual(tab.faults, []);
  },
});

Deno.test("the page may load nothing, send its form nowhere else, be framed by nobody, and is not kept", async () => {
  await using server = await startServer({ env: { ...env, CHECKOUT_RETURN_URL: "https://shop.example/thanks" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const { checkoutUrl } = await newCheckout(server, "alice", timeslot);
  const nonces = new Set<string>();
  const requests = [() => fetch(checkoutUrl), () => fetch(`${checkoutUrl}0`), () => post(checkoutUrl, action("steal"))];
  for (const request of requests) {
    const page = await request();
    await page.body?.cancel();
    assert.match(page.headers.get("Content-Type") ?? "", /^text\/html/);
    assert.equal(page.headers.get("Cache-Control"), "no-store");
    assert.equal(page.headers.get("Referrer-Policy"), "no-referrer");
    assert.equal(page.headers.get("X-Content-Type-Options"), "nosniff");
    const policy = (page.headers.get("Content-Security-Policy") ?? "").split("; ").sort();
    const [, nonce] = /'nonce-(.{16,})'/.exec(policy.join(" ")) ?? [];
    assert(nonce);
    nonces.add(nonce);
    assert.deepEqual(policy, [
      "base-uri 'none'",
      "default-src 'none'",
      "form-action 'self' https://shop.example",
      "frame-ancestors 'none'",
      `style-src 'nonce-${nonce}'`,
    ]);
  }
  assert.equal(nonces.size, requests.length, "a nonce was used twice");
});

Deno.test("a checkout that is unknown, or whose id is none, is answered 404 with a page", async () => {
  const { timeslot } = await newRoomWithTimeslot(server);
  const { booking, checkout } = await newCheckout(server, "alice", timeslot);
  const ids = [
    crypto.randomUUID(),
    "1",
    "x".repeat(5_000),
    `${checkout}0`,
    checkout.slice(1),
    checkout.replaceAll("-", ""),
    `{${checkout}}`,
    "%00",
    "%F0%28%8C",
    encodeURIComponent("' or ''='"),
    "%2e%2e%2f",
  ];
  for (const id of ids) {
    for (
      const request of [
        () => fetch(`${server.url}/sandbox/checkout/${id}`),
        () => post(`${server.url}/sandbox/checkout/${id}`, action("pay")),
      ]
    ) {
      const answer = await request();
      assert.equal(answer.status, 404, id);
      assert.match(answer.headers.get("Content-Type") ?? "", /^text\/html/, id);
      assert.match(await answer.text(), /There is no such checkout/, id);
    }
  }
  assert.deepEqual(await read(server, booking), booking);
});

Deno.test("what is sent to the page without an action, or with another one, is answered 400 and changes nothing", async () => {
  const { timeslot } = await newRoomWithTimeslot(server);
  const { booking, checkoutUrl } = await newCheckout(server, "alice", timeslot);
  const file = new FormData();
  file.set("action", new Blob(["pay"]), "pay.txt");
  const bodies: Record<string, BodyInit | null> = {
    "no body": null,
    "no action": new URLSearchParams({ pay: "pay" }),
    "an empty action": action(""),
    "another action": action("refund"),
    "an action in capitals": action("PAY"),
    "a file": file,
    "JSON": new Blob([JSON.stringify({ action: "pay" })], { type: "application/json" }),
    "a form that breaks off": new Blob(["--x\r\nContent-Disposition: form-da"], {
      type: "multipart/form-data; boundary=x",
    }),
    "a form without a boundary": new Blob(["action=pay"], { type: "multipart/form-data" }),
  };
  const statuses: Record<string, number> = {};
  for (const [what, body] of Object.entries(bodies)) {
    const answer = await post(checkoutUrl, body);
    await answer.body?.cancel();
    statuses[what] = answer.status;
  }
  assert.deepEqual(statuses, Object.fromEntries(Object.keys(bodies).map((what) => [what, 400])));
  assert.deepEqual(await read(server, booking), booking);
  assert.deepEqual(await eventTypes(server, booking), ["created"]);
});

Deno.test("a checkout that was replaced, or whose booking was cancelled or moved, takes no payment any more", async () => {
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [replaced, cancelled, moved, later] = slots;
  assert(replaced && cancelled && moved && later);
  const token = await server.token("alice");
  const closed = [replaced, cancelled, moved].map((slot) => newCheckout(server, "alice", slot));
  const [first, second, third] = await Promise.all(closed);
  assert(first && second && third);
  const fresh = await server.ok("createCheckout", { token, params: { bookingId: first.booking.id } });
  await server.ok("cancelBooking", { token, params: { bookingId: second.booking.id } });
  const body = { newTimeslotId: later.id };
  await server.ok("rescheduleBooking", { token, params: { bookingId: third.booking.id }, body });
  for (const { checkoutUrl, booking } of [first, second, third]) {
    const before = await read(server, booking);
    const page = await fetch(checkoutUrl);
    assert.match(await page.text(), /This checkout is closed/);
    for (const name of ["pay", "decline"]) {
      const answer = await post(checkoutUrl, action(name));
      assert.equal(answer.status, 409);
      assert.match(await answer.text(), /This checkout is closed/);
    }
    assert.deepEqual(await read(server, booking), before);
  }
  const paid = await post(fresh.checkoutUrl ?? "", action("pay"));
  await paid.body?.cancel();
  assert.equal(paid.status, 303);
  assert.equal((await read(server, first.booking)).status, "confirmed");
});

Deno.test("without the sandbox's payments there is no page, whatever provider there is instead", async () => {
  const { timeslot } = await newRoomWithTimeslot(server);
  const { checkout, booking } = await newCheckout(server, "alice", timeslot);
  const others = [
    { PAYMENT_PROVIDER: "none" },
    {
      PAYMENT_PROVIDER: "stripe",
      STRIPE_SECRET_KEY: "sk_test_1",
      STRIPE_WEBHOOK_SECRET: "whsec_1",
      CHECKOUT_RETURN_URL: "https://app.example",
    },
  ];
  for (const other of others) {
    await using another = await startServer({ env: other, database: { url: server.databaseUrl } });
    const address = `${another.url}/sandbox/checkout/${checkout}`;
    for (const answer of [await fetch(address), await post(address, action("pay"))]) {
      assert.equal(answer.status, 404);
      assert.equal((await answer.json()).code, "route_not_found");
    }
  }
  assert.deepEqual(await read(server, booking), booking);
});

Deno.test("the page works where the outside sees the server under a path of another one", async () => {
  const { timeslot } = await newRoomWithTimeslot(server);
  let publicUrl = "";
  const env = { SANDBOX: "true", MAX_PENDING_BOOKINGS: "0" };
  const app = await appBeside(server, { env, publicUrl: () => publicUrl });
  const proxy = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname, search } = new URL(request.url);
    assert(pathname.startsWith("/booking/"));
    return app.fetch(new Request(new URL(pathname.slice("/booking".length) + search, server.url), request));
  });
  publicUrl = `http://127.0.0.1:${proxy.addr.port}/booking`;
  try {
    const created = await fetch(`${publicUrl}/api/v1/bookings`, {
      method: "POST",
      headers: { Authorization: `Bearer ${await server.token("alice")}`, "Content-Type": "application/json" },
      body: JSON.stringify({ roomId: timeslot.roomId, timeslotId: timeslot.id }),
    });
    const { booking, checkoutUrl } = await created.json();
    assert(checkoutUrl.startsWith(`${publicUrl}/sandbox/checkout/`));
    const answer = await post(checkoutUrl, action("pay"));
    await answer.body?.cancel();
    assert.equal(answer.status, 303);
    assert.equal(answer.headers.get("Location"), `${publicUrl}?bookingId=${booking.id}&checkout=paid`);
    assert.equal((await read(server, booking)).status, "confirmed");
  } finally {
    await proxy.shutdown();
  }
});
