/**
 * The sandbox provider. No money moves. The checkout is a page of this server (`sandbox/checkout_page.ts`). Its buttons
 * make the server send signed webhooks to itself, as a real provider would.
 */
import { z } from "zod";
import { Problem } from "../contract/problems.ts";
import type { PaymentNotice, PaymentProvider, PaymentProviderType, Webhook } from "./provider.ts";

/** Seconds after which a signature expires, so that an intercepted message cannot be replayed. */
const toleranceSeconds = 300;
const header = "Sandbox-Signature";
const name = "sandbox";

const subject = { id: z.string().min(1), checkout: z.uuid() };
const money = { payment: z.string().min(1), cents: z.int().min(0), currency: z.string() };
const sandboxEvent = z.discriminatedUnion("type", [
  z.object({ ...subject, ...money, type: z.literal("paid") }),
  z.object({ ...subject, type: z.literal("failed") }),
  z.object({ ...subject, type: z.literal("expired") }),
  z.object({ ...subject, ...money, type: z.literal("refunded") }),
]);
export type SandboxEvent = z.infer<typeof sandboxEvent>;

type OpenArguments = Parameters<PaymentProviderType["open"]>;

export interface SandboxPayments extends PaymentProvider {
  /** Returns the page where the checkout `id` is paid. */
  payPage(id: string): string;
  /** Returns an event as a signed message for the webhook. `signedAt` is in milliseconds since 1970. */
  sign(event: SandboxEvent, options?: { signedAt?: number }): Promise<Webhook>;
}

type SandboxPaymentsType = Omit<PaymentProviderType, "open"> & { open: (...args: OpenArguments) => SandboxPayments };

export const sandboxPayments: SandboxPaymentsType = {
  variables: {},

  open(_settings, links) {
    // The same process signs and verifies, so the key stays in memory.
    const key = crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
    const payPage = (id: string) => links.page(`/sandbox/checkout/${id}`);
    const signedPart = (time: string, body: string) => new TextEncoder().encode(`${time}.${body}`);

    return {
      name,
      payPage,
      openCheckoutPage: ({ id }) => Promise.resolve({ reference: id, url: payPage(id) }),
      // The page reads the booking each time.
      closeCheckout: () => Promise.resolve(undefined),
      refund: ({ id }) => Promise.resolve(`sandbox_refund_${id}`),

      async sign(event, { signedAt = Date.now() } = {}) {
        const body = JSON.stringify(event);
        const time = String(Math.floor(signedAt / 1_000));
        const signature = new Uint8Array(await crypto.subtle.sign("HMAC", await key, signedPart(time, body))).toHex();
        const headers = new Headers({ "Content-Type": "application/json", [header]: `t=${time},v1=${signature}` });
        return { body, headers };
      },

      async readWebhook({ body, headers }) {
        const [, time, signature] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(headers.get(header) ?? "") ?? [];
        const isSigned = time !== undefined && signature !== undefined &&
          await crypto.subtle.verify("HMAC", await key, Uint8Array.fromHex(signature), signedPart(time, body)) &&
          Date.now() / 1_000 - Number(time) <= toleranceSeconds;
        if (!isSigned) throw new Problem("webhook_invalid", "The signature is not valid, or older than 5 minutes.");
        const { data } = sandboxEvent.safeParse(JSON.parse(body));
        return data === undefined ? undefined : toNotice(data);
      },
    };
  },
};

/** Returns whether the provider is the sandbox, which has a page of its own. */
export function isSandboxPayments(payments: PaymentProvider | undefined): payments is SandboxPayments {
  return payments?.name === name;
}

function toNotice({ id: eventId, checkout: checkoutId, type: kind, ...rest }: SandboxEvent): PaymentNotice {
  // The other fields of an event are those of its kind of notice.
  return { eventId, checkoutId, kind, ...rest } as PaymentNotice;
}
