/** Names that people and programs read: time zones in IANA's spelling, rooms in the order of Unicode, visible texts. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { Migrator } from "kysely/migration";
import { migrate } from "../../src/boot/migrate.ts";
import { timeZoneLinks } from "../../generated/time_zones.ts";
import { connect } from "../../src/database/connect.ts";
import { migrations } from "../../src/database/migrations.ts";
import { ianaName } from "../../src/time_zones.ts";
import { newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { newDatabase } from "../support/database.ts";
import { sharedServer, startServer } from "../support/server.ts";

const names: Record<string, string> = {
  "europe/berlin": "Europe/Berlin",
  "EUROPE/KIEV": "Europe/Kyiv",
  "Europe/Kiev": "Europe/Kyiv",
  "Asia/Calcutta": "Asia/Kolkata",
  "Asia/Saigon": "Asia/Ho_Chi_Minh",
  "Asia/Rangoon": "Asia/Yangon",
  "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
  "America/Godthab": "America/Nuuk",
  "US/Pacific": "America/Los_Angeles",
  "GB": "Europe/London",
  "CET": "Europe/Brussels",
  "EST": "America/Panama",
  // Their present names are links, too. See IANA's comments.
  "Iceland": "Atlantic/Reykjavik",
  "Africa/Asmera": "Africa/Asmara",
  "Africa/Timbuktu": "Africa/Bamako",
  "America/Coral_Harbour": "America/Atikokan",
  "America/Virgin": "America/St_Thomas",
  "Antarctica/South_Pole": "Antarctica/McMurdo",
  "Atlantic/Jan_Mayen": "Arctic/Longyearbyen",
  "Pacific/Ponape": "Pacific/Pohnpei",
  "Pacific/Truk": "Pacific/Chuuk",
  "utc": "UTC",
  "Etc/UTC": "UTC",
  "Zulu": "UTC",
  "GMT": "UTC",
  // IANA links these places, because their clocks agree since 1970. They keep their names.
  "Europe/Amsterdam": "Europe/Amsterdam",
  "Europe/Oslo": "Europe/Oslo",
  "America/port-au-prince": "America/Port-au-Prince",
};

Deno.test("createRoom and updateRoom: former name or other spelling of a time zone -> its present IANA name", async (t) => {
  await using server = await sharedServer();
  const other = await newRoom(server);
  const token = await server.token("admin", "admin");
  for (const [sent, expected] of Object.entries(names)) {
    await t.step(`${sent} -> ${expected}`, async () => {
      const { id: roomId, timeZone } = await newRoom(server, { timeZone: sent });
      assert.equal(timeZone, expected);
      assert.equal((await server.ok("getRoom", { params: { roomId } })).timeZone, expected);
      const change = { token, params: { roomId: other.id }, body: { timeZone: sent } };
      assert.equal((await server.ok("updateRoom", change)).timeZone, expected);
    });
  }
});

Deno.test("ianaName: every zone of the runtime and every link -> a name that Postgres knows", async () => {
  await using database = await newDatabase();
  const db = connect({ url: database.url, pool: 1 });
  try {
    const { rows } = await sql<{ name: string }>`select name from pg_timezone_names`.execute(db);
    const known = new Set(rows.map(({ name }) => name));
    const zones = [...Intl.supportedValuesOf("timeZone"), ...Object.keys(timeZoneLinks)];
    assert.deepEqual(zones.map((zone) => ianaName(zone) ?? zone).filter((name) => !known.has(name)), []);
  } finally {
    await db.destroy();
  }
});

Deno.test("ianaName: every zone of the runtime -> a name that stays, with the same clock", () => {
  const days = ["2026-01-15T12:00:00Z", "2026-07-15T12:00:00Z"].map((text) => Temporal.Instant.from(text));
  for (const zone of Intl.supportedValuesOf("timeZone")) {
    const name = ianaName(zone) ?? assert.fail(zone);
    assert.equal(ianaName(name), name);
    for (const day of days) {
      const [before, after] = [zone, name].map((each) => day.toZonedDateTimeISO(each).offset);
      assert.equal(after, before, `${zone} as ${name}`);
    }
  }
});

Deno.test("ianaName: offset, abbreviation or nonsense -> undefined", () => {
  for (const zone of ["+02:00", "Z", "", "Europe/Atlantis", "Mars", "1"]) assert.equal(ianaName(zone), undefined, zone);
});

Deno.test("DEFAULT_TIME_ZONE: former name -> rooms get the present one", async () => {
  await using server = await sharedServer({ env: { DEFAULT_TIME_ZONE: "asia/calcutta" } });
  const body = { name: "Lounge", roomType: "office" };
  const room = await server.ok("createRoom", { token: await server.token("admin", "admin"), body });
  assert.equal(room.timeZone, "Asia/Kolkata");
});

Deno.test("migrate: time zones as earlier versions stored them -> present names, unknown ones stay", async () => {
  await using database = await newDatabase({ migrated: false });
  const db = connect({ url: database.url, pool: 1 });
  try {
    const provider = { getMigrations: () => Promise.resolve(migrations) };
    const { error } = await new Migrator({ db, provider }).migrateTo("0011_end_of_waiting");
    assert.equal(error, undefined);
    await sql`
      insert into rooms (name, capacity, room_type, currency, time_zone, auto_confirm, is_active, metadata, created_at,
        updated_at)
      select zone, 1, 'meeting', 'EUR', zone, false, true, '{}', now(), now()
      from unnest(array['europe/kiev', 'Europe/Berlin', 'Unknown/Zone']) zone
    `.execute(db);
    await migrate(database.url);
    const rooms = await db.selectFrom("rooms").select("time_zone").orderBy("id").execute();
    assert.deepEqual(rooms.map(({ time_zone: zone }) => zone), ["Europe/Kyiv", "Europe/Berlin", "Unknown/Zone"]);
  } finally {
    await db.destroy();
  }
});

Deno.test("listRooms, listAvailableRooms and getBookingStats: names with capitals and accents -> sorted as people sort", async () => {
  await using server = await startServer();
  const sorted = ["1 Lounge", "apfel", "Äpfel", "Birne", "birne 2", "Éclair", "Zebra", "Ωmega"];
  for (const name of sorted.toReversed()) {
    await newTimeslots(server, await newRoom(server, { name }), { date: "2026-03-09" });
  }
  const rooms = await server.ok("listRooms", { query: { limit: 100 } });
  assert.deepEqual(rooms.items.map(({ name }) => name), sorted);
  const pages = await Promise.all([1, 2, 3].map((page) => server.ok("listRooms", { query: { limit: 3, page } })));
  assert.deepEqual(pages.flatMap(({ items }) => items.map(({ name }) => name)), sorted);
  const found = await server.ok("listAvailableRooms", { query: { from: "2026-03-09", to: "2026-03-09" } });
  assert.deepEqual(found.items.map(({ room }) => room.name), sorted);
  const query = { fromDate: "2026-03-01", toDate: "2026-03-09" };
  const { byRoom } = await server.ok("getBookingStats", { token: await server.token("admin", "admin"), query });
  assert.deepEqual(byRoom.map(({ name }) => name), sorted);
});

/** Characters that nobody sees: spaces, controls, marks of direction, fillers. */
const invisible = [
  " ",
  "   ",
  "\t",
  "\n\r",
  "\u00a0",
  "\u200b\u200d",
  "\u2060",
  "\u00ad",
  "\u3164",
  "\ufeff",
  "\u202e",
  "\u2800",
  "\ufe0f",
  "\u180b\u3000",
  "\ufffa",
];

Deno.test("createRoom, updateRoom, createApiKey and createBooking: name or label without a visible character -> 400 validation_failed", async (t) => {
  await using server = await sharedServer();
  const { room, timeslot } = await newRoomWithTimeslot(server);
  const token = await server.token("admin", "admin");
  for (const text of invisible) {
    await t.step(JSON.stringify(text), async () => {
      const body = { name: text, roomType: "office" };
      const { errors } = await server.refused("validation_failed", "createRoom", { token, body });
      assert.deepEqual(errors?.map(({ path }) => path), ["name"]);
      const change = { token, params: { roomId: room.id }, body: { name: text } };
      await server.refused("validation_failed", "updateRoom", change);
      await server.refused("validation_failed", "createApiKey", {
        token,
        body: { name: text, scopes: ["events:read"] },
      });
      const booking = { roomId: room.id, timeslotId: timeslot.id, bookingType: text };
      await server.refused("validation_failed", "createBooking", { token, body: booking });
    });
  }
  for (const name of [" a ", "会", "🎉", "‏שלום", ".", "é"]) {
    assert.equal((await newRoom(server, { name })).name, name);
  }
});
