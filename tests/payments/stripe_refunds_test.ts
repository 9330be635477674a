/** The Stripe provider refunds once, also when requests fail. */
import assert from "node:assert/strict";
import { ProviderRefusal, type RefundRequest } from "../../src/payments/provider.ts";
import type { StripeFault } from "../support/stripe_stand_in.ts";
import { assertRetryable, faults, isRetryable, newClient } from "./stripe_client.ts";
import { onRefunds } from "./world.ts";

Deno.test("stripe refund: a request -> its amount, its key and our id", async () => {
  await using client = await newClient();
  const request = await client.newRefund({ cents: 1_275, idempotencyKey: "first-try" });
  const name = await client.provider.refund(request);
  const [refund, ...others] = client.stripe.refunds;
  assert(refund);
  assert.deepEqual(others, []);
  assert.equal(refund.id, name);
  assert.equal(refund.amount, 1_275);
  assert.deepEqual(refund.metadata, { slotkeeper_refund: request.id });
  const sent = client.stripe.requests.at(-1);
  assert.equal(sent?.headers["idempotency-key"], "first-try");
});

Deno.test("stripe refund: sent again with another key, after 120 other refunds -> same refund", async () => {
  await using client = await newClient();
  const request = await client.newRefund({ cents: 1_000 });
  const name = await client.provider.refund(request);
  for (let count = 0; count < 120; count++) client.stripe.refundInDashboard(request.payment, 1);
  assert.equal(await client.provider.refund(request), name);
  assert.equal(await client.provider.refund({ ...request, idempotencyKey: "retried-by-an-admin" }), name);
  assert.equal(client.stripe.refunds.length, 121);
});

Deno.test("stripe refund: sent again after it failed or was canceled -> a new refund", async () => {
  await using client = await newClient();
  for (const status of ["failed", "canceled"] as const) {
    const request = await client.newRefund();
    const first = await client.provider.refund(request);
    const made = client.stripe.refunds.find(({ id }) => id === first);
    assert(made);
    made.status = status;
    const second = await client.provider.refund({ ...request, idempotencyKey: `${request.id}-2` });
    assert.notEqual(second, first);
  }
});

Deno.test("stripe refund: permanent error -> ProviderRefusal with Stripe's reason", async () => {
  await using client = await newClient();
  const refused = async (fields: Partial<RefundRequest>, message: RegExp) => {
    const request = await client.newRefund(fields);
    await assert.rejects(client.provider.refund(request), (error) => {
      assert(error instanceof ProviderRefusal);
      assert.match(error.message, message);
      return true;
    });
    return request;
  };
  await refused({ cents: 4_551 }, /greater than unrefunded amount/);
  await refused({ payment: "pi_unknown" }, /No such payment_intent/);
  await refused({ currency: "JPY" }, /no such fractions/);
  const { payment } = await client.newRefund();
  client.stripe.refundInDashboard(payment, 4_550);
  await refused({ payment }, /already been refunded/);
  client.stripe.fault = { kind: 402, on: /refunds/ };
  await refused({}, /A fault with status 402/);
});

Deno.test("stripe refund: any fault, then a retry -> retryable error, then one refund", async () => {
  const tryFault = async (fault: StripeFault) => {
    await using client = await newClient();
    const request = await client.newRefund();
    await assertRetryable(client, { ...fault, on: onRefunds }, () => client.provider.refund(request));
    assert.equal(client.stripe.refunds.length, fault.takesEffect ? 1 : 0);
    const retry = { ...request };
    if (fault.kind === 500 && !fault.takesEffect) {
      // Stripe repeats a 500 as long as it keeps the key.
      await assert.rejects(client.provider.refund(retry), isRetryable);
      retry.idempotencyKey = `${request.id}-2`;
    }
    assert.equal(await client.provider.refund(retry), client.stripe.refunds[0]?.id);
    assert.equal(client.stripe.refunds.length, 1);
  };
  for (const fault of faults) {
    await tryFault(fault);
    await tryFault({ ...fault, takesEffect: true });
  }
});

Deno.test("stripe refund: earlier refunds cannot be listed -> retryable error, no refund", async () => {
  await using client = await newClient();
  const request = await client.newRefund();
  for (const kind of ["drip", "garbage", 429, 500] as const) {
    const fault = { kind, on: /^GET \/v1\/refunds$/ };
    await assertRetryable(client, fault, () => client.provider.refund(request));
  }
  assert.equal(
    client.stripe.requests.filter(({ method, path }) => method === "POST" && path === "/v1/refunds").length,
    0,
  );
});
