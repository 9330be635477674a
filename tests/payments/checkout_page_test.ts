/** Requests to the sandbox's checkout page. tests/long/checkout_page_test.ts opens it in a browser. */
import assert from "node:assert/strict";
import { type Booking, rateLimits as contractLimits } from "../../generated/contract.ts";
import { appBeside } from "../support/app.ts";
import { newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { checkoutIn, eventTypes, newCheckout, paymentsOf } from "../support/sandbox_payments.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

const env = { PAYMENT_PROVIDER: "sandbox" };

async function read(server: TestServer, { id: bookingId }: Booking): Promise<Booking> {
  return await server.ok("getBooking", { token: await server.token("alice"), params: { bookingId } });
}

const post = (url: string, body: BodyInit | null) => fetch(url, { method: "POST", body, redirect: "manual" });
const action = (name: string) => new URLSearchParams({ action: name });

Deno.test("checkout page: 10 posts of Pay at once -> one payment", async () => {
  const server = await sharedServer({ env });
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

Deno.test("checkout page: any answer -> strict Content-Security-Policy, no-store, a new nonce", async () => {
  const { databaseUrl: url } = await sharedServer({ env });
  const returnEnv = { ...env, CHECKOUT_RETURN_URL: "https://shop.example/thanks" };
  await using server = await startServer({ env: returnEnv, database: { url } });
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

Deno.test("checkout page: unknown checkout or malformed id -> 404 page", async () => {
  const server = await sharedServer({ env });
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

Deno.test("checkout page, result page: too many requests, a large body -> a page with the reason", async () => {
  const { databaseUrl: url } = await sharedServer({ env });
  const rateLimits = { ...contractLimits, public: { quota: 3, windowSeconds: 60 } };
  await using server = await startServer({ env: { ...env, RATE_LIMIT: "on" }, rateLimits, database: { url } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const { checkoutUrl, checkout } = await newCheckout(server, "alice", timeslot);
  const large = await post(checkoutUrl, new URLSearchParams({ action: "pay".repeat(30_000) }));
  const answers: [Response, number][] = [[large, 413]];
  for (let request = 0; request < 2; request++) await (await fetch(checkoutUrl)).body?.cancel();
  answers.push([await fetch(checkoutUrl), 429], [await post(checkoutUrl, action("pay")), 429]);
  answers.push([await fetch(`${server.url}/checkout/${checkout}`), 429]);
  for (const [answer, status] of answers) {
    assert.equal(answer.status, status);
    assert.match(answer.headers.get("Content-Type") ?? "", /^text\/html/);
    assert.match(answer.headers.get("Content-Security-Policy") ?? "", /style-src 'nonce-.{16,}'/);
    assert.match(answer.headers.get("X-Request-Id") ?? "", /./);
    assert.equal(answer.headers.has("Retry-After"), status === 429);
    assert.match(await answer.text(), status === 429 ? /Try again in \d+ seconds/ : /Body is too large/);
  }
});

Deno.test("checkout page: post without a known action -> 400, booking unchanged", async () => {
  const server = await sharedServer({ env });
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

Deno.test("checkout page: replaced checkout, cancelled or rescheduled booking -> 409, no payment", async () => {
  const server = await sharedServer({ env });
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [replaced, cancelled, rescheduled, later] = slots;
  assert(replaced && cancelled && rescheduled && later);
  const token = await server.token("alice");
  const closed = [replaced, cancelled, rescheduled].map((slot) => newCheckout(server, "alice", slot));
  const [first, second, third] = await Promise.all(closed);
  assert(first && second && third);
  const fresh = await server.ok("createCheckout", { token, params: { bookingId: first.booking.id } });
  await server.ok("cancelBooking", { token, params: { bookingId: second.booking.id } });
  const body = { newTimeslotId: later.id };
  await server.ok("rescheduleBooking", { token, params: { bookingId: third.booking.id }, body });
  for (const { checkoutUrl, booking } of [first, second, third]) {
    const before = await read(server, booking);
    const said = before.status === "cancelled" ? /is cancelled/ : /This checkout is closed/;
    const page = await fetch(checkoutUrl);
    assert.match(await page.text(), said);
    for (const name of ["pay", "decline"]) {
      const answer = await post(checkoutUrl, action(name));
      assert.equal(answer.status, 409);
      assert.match(await answer.text(), said);
    }
    assert.deepEqual(await read(server, booking), before);
  }
  const paid = await post(fresh.checkoutUrl ?? "", action("pay"));
  await paid.body?.cancel();
  assert.equal(paid.status, 303);
  assert.equal((await read(server, first.booking)).status, "confirmed");
});

Deno.test("checkout page: another PAYMENT_PROVIDER -> 404 route_not_found", async () => {
  const server = await sharedServer({ env });
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

Deno.test("checkout page: PUBLIC_URL with a path -> pays there and redirects there", async () => {
  const server = await sharedServer({ env });
  const { timeslot } = await newRoomWithTimeslot(server);
  let publicUrl = "";
  const appEnv = { SANDBOX: "true", MAX_PENDING_BOOKINGS: "0" };
  const app = await appBeside(server, { env: appEnv, publicUrl: () => publicUrl });
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
    assert.equal(
      answer.headers.get("Location"),
      `${publicUrl}/checkout/${checkoutIn(checkoutUrl)}?bookingId=${booking.id}&checkout=paid`,
    );
    const page = await fetch(answer.headers.get("Location") ?? "");
    assert.match(await page.text(), new RegExp(`Booking ${booking.id} is confirmed`));
    assert.equal((await read(server, booking)).status, "confirmed");
  } finally {
    await proxy.shutdown();
  }
});
