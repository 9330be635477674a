/** `admin refunds`. */
import { type Booking, unwrap } from "@slotkeeper/client";
import type { AdminCommand, JsonOption } from "./command.ts";
import { connect } from "./connection.ts";
import { paidAmount, whole } from "./options.ts";
import { confirmed, print, printJson, type Shell } from "./shell.ts";
import { money } from "./texts.ts";

interface Agreed extends JsonOption {
  yes?: boolean;
}

export function refunds(program: AdminCommand, shell: Shell): void {
  const group = program.command("refunds").description("Refund cancelled bookings, and settle failed refunds");

  group.operation("create", "Refund more of a cancelled booking, up to what was paid", ["42 --amount 12.50"])
    .argument("<id>", "Id of the booking", whole)
    .requiredOption("--amount <amount>", "Amount in the booking's currency", paidAmount)
    .option("--yes", "Do not ask")
    .action(async (bookingId: number, { amount, yes = false, json = false }: Agreed & { amount: number }) => {
      const question = `Refund ${amount.toFixed(2)} of booking ${bookingId}?`;
      if (!await confirmed(shell, question, { isSure: yes })) return;
      const init = { params: { path: { bookingId } }, body: { amount } };
      const refunded = await unwrap(connect(shell).POST("/api/v1/admin/bookings/{bookingId}/refunds", init));
      show(shell, refunded, json);
    });

  group.operation("retry", "Ask the payment provider again for a failed refund", ["42"])
    .argument("<id>", "Id of the booking", whole)
    .action(async (bookingId: number, { json = false }: JsonOption) => {
      const init = { params: { path: { bookingId } } };
      show(shell, await unwrap(connect(shell).POST("/api/v1/admin/bookings/{bookingId}/refund", init)), json);
    });

  group.operation("settle", "Record a failed refund that you made in another way", ["42 --yes"])
    .argument("<id>", "Id of the booking", whole)
    .option("--yes", "Do not ask")
    .action(async (bookingId: number, { yes = false, json = false }: Agreed) => {
      const question = `Record the failed refund of booking ${bookingId} as made? It is not requested again.`;
      if (!await confirmed(shell, question, { isSure: yes })) return;
      const init = { params: { path: { bookingId } } };
      show(shell, await unwrap(connect(shell).PUT("/api/v1/admin/bookings/{bookingId}/refund", init)), json);
    });
}

interface Refunded {
  booking: Booking;
  refundAmount: number;
  message: string;
}

function show(shell: Shell, refunded: Refunded, json: boolean): void {
  if (json) return void printJson(shell, refunded);
  const { booking: { id, currency, paymentStatus }, refundAmount, message } = refunded;
  print(shell, `Booking ${id}: ${money(refundAmount, currency)}, now ${paymentStatus}. ${message}`);
}
