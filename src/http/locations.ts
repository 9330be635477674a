/** Addresses of new resources (RFC 9110, 15.3.2). */
import type { Operation } from "../contract/handlers.ts";

/** The path of what an operation creates, up to its id. Other operations create nothing with a path of its own. */
const paths: Partial<Record<Operation["id"], string>> = {
  createBooking: "/api/v1/bookings/",
  createRoom: "/api/v1/bookings/rooms/",
};

/** Adds `Location` to the answer `text` of an operation that creates. */
export function addLocation(headers: Record<string, string>, operation: Operation["id"], text: string): void {
  const path = paths[operation];
  // The first id of the answer is that of the new resource.
  const id = path && /"id":(\d+)/.exec(text)?.[1];
  if (path !== undefined && id !== undefined) headers.Location = `${path}${id}`;
}
