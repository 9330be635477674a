/**
 * Payments for trying out: no money moves. The checkout is a page of this server (`sandbox/checkout_page.ts`), whose buttons
 * make this server send itself what a real provider would send, signed in the same way.
 */
import { z } from "zod";
import { Problem } from "../contract/problems.ts";
import type { PaymentNotice, PaymentProvider, PaymentProviderType, Webhook } from "./provider.ts";

/** Seconds after which a signature is no longer taken, so that a message that was caught cannot be sent again. */
const toleranceSeconds = 300;
const header = "Sandbox-Signature";
const name = "sandbox";

const place = { id: z.string().min(1), checkout: z.uuid() };
const money = { payment: z.string().min(1), cents: z.int().min(0), currency: z.string() };
const sandboxEvent = z.discriminatedUnion("type", [
  z.object({ ...place, ...money, type: z.literal("paid") }),
  z.object({ ...place, type: z.literal("failed") }),
  z.object({ ...place, type: z.literal("expired") }),
  z.object({ ...place, ...money, type: z.literal("refunded") }),
]);
export type SandboxEvent = z.infer<typeof sandboxEvent>;

type OpenArguments = Parameters<PaymentProviderType["open"]>;

export interface SandboxPayments extends PaymentProvider {
  /** An event as it is sent to the webhook. `signedAt` is in milliseconds since 1970. */
  sign(event: SandboxEvent, options?: { signedAt?: number }): Promise<Webhook>;
}

type SandboxPaymentsType = Omit<PaymentProviderType, "open"> & { open: (...given: OpenArguments) => SandboxPayments };

export const sandboxPayments: SandboxPaymentsType = {
  variables: {},

  open(_settings, links) {
    // Signed and verified by the same process, so nobody else needs to know it.
    const key = crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]);
    const signedPart = (time: string, body: string) => new TextEncoder().encode(`${time}.${body}`);

    return {
      name,
      createCheckout: ({ id }) => Promise.resolve({ reference: id, url: links.page(`/sandbox/checkout/${id}`) }),
      // The page looks at the booking each time.
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

/** Whether payments are those of the sandbox, which has a page of its own. */
export function isSandboxPayments(payments: PaymentProvider | undefined): payments is SandboxPayments {
  return payments?.name === name;
}

function toNotice({ id: eventId, checkout: checkoutId, type: kind, ...rest }: SandboxEvent): PaymentNotice {
  // What is left of an event is what its kind of notice has.
  return { eventId, checkoutId, kind, ...rest } as PaymentNotice;
}
