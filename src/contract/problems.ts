/**
 * The catalogue of all problems. Domain code throws a {@link Problem} by its code and knows no HTTP. The file
 * `http/problem_response.ts` converts it to RFC 9457.
 */
import type { FieldError, ProblemCode, Timeslot } from "../../generated/contract.ts";

/** Status and title of each code. The compiler checks that it has exactly the codes of `openapi.yaml`. */
export const catalogue: Record<ProblemCode, { status: number; title: string }> = {
  validation_failed: { status: 400, title: "Request is not valid" },
  malformed_json: { status: 400, title: "Body is not JSON" },
  token_missing: { status: 401, title: "Token is missing" },
  token_invalid: { status: 401, title: "Token is not valid" },
  token_expired: { status: 401, title: "Token has expired" },
  admin_required: { status: 403, title: "Admin role required" },
  not_booking_owner: { status: 403, title: "Not your booking" },
  ticket_invalid: { status: 401, title: "Ticket is not valid" },
  origin_not_allowed: { status: 403, title: "Origin is not allowed" },
  upgrade_required: { status: 426, title: "Upgrade required" },
  too_many_sockets: { status: 429, title: "Too many sockets" },
  cursor_expired: { status: 410, title: "Cursor has expired" },
  route_not_found: { status: 404, title: "Route not found" },
  method_not_allowed: { status: 405, title: "Method not allowed" },
  body_too_large: { status: 413, title: "Body is too large" },
  unsupported_media_type: { status: 415, title: "Unsupported media type" },
  room_not_found: { status: 404, title: "Room not found" },
  timeslot_not_found: { status: 404, title: "Timeslot not found" },
  booking_not_found: { status: 404, title: "Booking not found" },
  unknown_room: { status: 400, title: "Room does not exist" },
  unknown_timeslot: { status: 400, title: "Timeslot does not exist" },
  timeslot_not_in_room: { status: 400, title: "Timeslot belongs to another room" },
  timeslot_unavailable: { status: 400, title: "Timeslot is not available" },
  room_inactive: { status: 400, title: "Room is deactivated" },
  booking_not_cancellable: { status: 400, title: "Booking cannot be cancelled" },
  booking_not_reschedulable: { status: 400, title: "Booking cannot be rescheduled" },
  booking_not_payable: { status: 400, title: "Booking cannot be paid" },
  price_differs: { status: 400, title: "Price differs" },
  invalid_status_transition: { status: 400, title: "Invalid status transition" },
  invalid_date_range: { status: 400, title: "Date range is not valid" },
  too_many_timeslots: { status: 400, title: "Too many timeslots" },
  timeslot_does_not_fit: { status: 400, title: "Timeslot does not fit" },
  timeslot_has_bookings: { status: 400, title: "Timeslot has bookings" },
  no_failed_refund: { status: 400, title: "No refund has failed" },
  booking_not_refundable: { status: 400, title: "Booking cannot be refunded" },
  refund_exceeds_payment: { status: 400, title: "Refund exceeds the payment" },
  webhook_invalid: { status: 400, title: "Webhook is not valid" },
  payment_provider_not_found: { status: 404, title: "Payment provider not found" },
  clock_goes_forward: { status: 400, title: "The clock goes forward only" },
  scope_missing: { status: 403, title: "API key lacks a scope" },
  api_key_not_found: { status: 404, title: "API key not found" },
  request_timeout: { status: 408, title: "Request timed out" },
  idempotency_in_progress: { status: 409, title: "Request is still running" },
  precondition_failed: { status: 412, title: "Precondition failed" },
  idempotency_key_reused: { status: 422, title: "Idempotency-Key was used" },
  rate_limited: { status: 429, title: "Too many requests" },
  too_many_pending_bookings: { status: 400, title: "Too many pending bookings" },
  internal_error: { status: 500, title: "Internal error" },
  service_unavailable: { status: 503, title: "Service unavailable" },
  payment_provider_unavailable: { status: 503, title: "Payment provider unavailable" },
  // Answers of the edge (scripts/deploy/haproxy.cfg).
  malformed_request: { status: 400, title: "Request is malformed" },
  bad_gateway: { status: 502, title: "Answer was lost" },
  gateway_timeout: { status: 504, title: "Answer did not come" },
};

/** A refusal. `detail` is for the caller: it says what is wrong and what to do next. `cause` is for the log. */
export class Problem extends Error {
  override name = "Problem";
  readonly errors: FieldError[] | undefined;
  /** Seconds after which the caller may retry. */
  readonly retryAfter: number | undefined;
  /** Other available timeslots, best first. Defined for every `timeslot_unavailable`, and for no other code. */
  readonly alternatives: Timeslot[] | undefined;

  constructor(
    readonly code: ProblemCode,
    readonly detail: string,
    { errors, retryAfter, alternatives, cause }: {
      errors?: FieldError[];
      retryAfter?: number;
      alternatives?: Timeslot[];
      cause?: unknown;
    } = {},
  ) {
    // A refusal is expected, and a stack costs more than the rest of it.
    const { stackTraceLimit } = Error;
    if (cause === undefined) Error.stackTraceLimit = 0;
    super(`${code}: ${detail}`, { cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.errors = errors;
    this.retryAfter = retryAfter;
    this.alternatives = alternatives;
  }
}

/** Returns `validation_failed` with the invalid fields. The detail names the first one. */
export function invalidFields(errors: [FieldError, ...FieldError[]]): Problem {
  const [{ in: place, path, message }] = errors;
  return new Problem(
    "validation_failed",
    `The request is not valid: ${[place, path].filter(Boolean).join(".")} ${message}.`,
    { errors },
  );
}
