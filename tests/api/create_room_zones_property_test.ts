/** createRoom in every IANA time zone: one zone of eight in `deno task test`. */
import assert from "node:assert/strict";
import pLimit from "p-limit";
import type { Room } from "../../generated/contract.ts";
import { runs } from "../support/properties.ts";
import { sharedServer } from "../support/server.ts";

/** Older names of zones, which `Intl` does not list. */
const olderNames = ["CET", "EET", "MET", "WET", "EST", "MST", "HST", "EST5EDT", "PST8PDT", "NZ", "GB", "Asia/Calcutta"];

Deno.test("createRoom: each IANA time zone -> 400, or a room with its whole local day", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const all = [...Intl.supportedValuesOf("timeZone"), ...olderNames];
  const zones = all.filter((_, index) => index % runs(8, 1) === 0);
  const wrong: unknown[] = [];
  const tryZone = async (timeZone: string) => {
    const { status, body } = await server.call("createRoom", {
      token,
      body: { name: "Sky Lounge", roomType: "meeting", timeZone },
    });
    if (status === 400) return false;
    if (status !== 201) wrong.push({ timeZone, status });
    // The first and the last hour of a day, in summer in the north.
    const date = "2026-07-15";
    const roomId = (body as Room).id;
    const hours = { workingHours: { start: "00:00", end: "24:00" }, breaks: [{ start: "01:00", end: "23:00" }] };
    const rules = { roomId, startDate: date, endDate: date, slotDuration: 60, ...hours };
    await server.ok("generateTimeslots", { token, body: rules });
    const { timeslots } = await server.ok("listFreeTimeslots", { params: { roomId }, query: { date } });
    if (timeslots.length !== 2) wrong.push({ timeZone, timeslots });
    return true;
  };
  // Eight at once. On a busy machine a longer queue would be answered 503.
  const limit = pLimit(8);
  const accepted = await Promise.all(zones.map((zone) => limit(() => tryZone(zone))));
  assert.deepEqual(wrong, []);
  assert(all.length > 420);
  assert(accepted.filter(Boolean).length > zones.length * 0.95, "nearly all zones are accepted");
});
