/** Two servers on one database. */
import type { Room, Timeslot } from "../../generated/contract.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { sharedServer, startServer, type TestServer } from "../support/server.ts";

export interface Pair extends AsyncDisposable {
  servers: [TestServer, TestServer];
  room: Room;
  slots: Timeslot[];
}

export const env = { PAYMENT_PROVIDER: "sandbox" };

export async function newRoomAndSlots(server: TestServer): Promise<{ room: Room; slots: Timeslot[] }> {
  const room = await newRoom(server);
  return { room, slots: await newTimeslots(server, room, { date: "2026-03-09", slotDuration: 15 }) };
}

/** The shared server, and another one on its database. They have a payment provider unless `settings` say otherwise. */
export async function newPair(settings: Record<string, string> = env): Promise<Pair> {
  const first = await sharedServer({ env: settings });
  const second = await startServer({ pool: 10, env: settings, database: { url: first.databaseUrl } });
  const dispose = () => second[Symbol.asyncDispose]();
  return { servers: [first, second], ...await newRoomAndSlots(first), [Symbol.asyncDispose]: dispose };
}
