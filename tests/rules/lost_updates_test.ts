/** `If-Match` on each change of a booking and a room: nobody overwrites a version that they have not seen. */
import assert from "node:assert/strict";
import { sql } from "kysely";
import { operations, Problem, type Room, type Timeslot } from "../../generated/contract.ts";
import { allRows } from "../contract/example_calls.ts";
import { confirm, missingId, newBooking, newRoom, newTimeslots } from "../support/builders.ts";
import {
  type Answer,
  type Call,
  type OperationId,
  send,
  sharedServer,
  startServer,
  type TestServer,
} from "../support/server.ts";

/** These tests compare whole tables, so they share a database with no others. */
const ownServer = () => sharedServer({ pool: 10, group: "lost updates" });

/** A room with alice's pending booking, and free timeslots. */
interface Scene {
  server: TestServer;
  room: Room;
  bookingId: number;
  free: Timeslot[];
  alice: string;
  admin: string;
}

async function newScene(server: TestServer): Promise<Scene> {
  const room = await newRoom(server);
  const workingHours = { start: "00:00", end: "24:00" };
  const [slot, ...free] = await newTimeslots(server, room, { date: "2026-03-09", workingHours });
  assert(slot !== undefined);
  const { id: bookingId } = await newBooking(server, "alice", slot);
  const [alice, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  return { server, room, bookingId, free, alice, admin };
}

interface Guarded {
  id: OperationId;
  of: "room" | "booking";
  /** The change. Each editor sends another one if the operation has parameters for it. */
  call(scene: Scene, editor?: number): Call;
}

function slotId({ free }: Scene, editor: number): number {
  const slot = free[editor];
  assert(slot !== undefined);
  return slot.id;
}

const ofRoom = ({ room, admin }: Scene): Call => ({ token: admin, params: { roomId: room.id } });
const ofBooking = ({ bookingId }: Scene, token: string): Call => ({ token, params: { bookingId } });

const guarded: Guarded[] = [
  {
    id: "updateRoom",
    of: "room",
    call: (scene, editor = 0) => ({ ...ofRoom(scene), body: { name: `Name by ${editor}` } }),
  },
  { id: "deleteRoom", of: "room", call: ofRoom },
  { id: "cancelBooking", of: "booking", call: (scene) => ofBooking(scene, scene.alice) },
  {
    id: "rescheduleBooking",
    of: "booking",
    call: (scene, editor = 0) => ({
      ...ofBooking(scene, scene.alice),
      body: { newTimeslotId: slotId(scene, editor) },
    }),
  },
  {
    id: "updateBookingStatus",
    of: "booking",
    call: (scene) => ({ ...ofBooking(scene, scene.admin), body: { status: "confirmed" } }),
  },
];

const withIfMatch = (call: Call, ifMatch: string): Call => ({ ...call, headers: { "If-Match": ifMatch } });

function read(scene: Scene, of: Guarded["of"], server = scene.server): Promise<Answer> {
  return of === "room"
    ? server.call("getRoom", { params: { roomId: scene.room.id } })
    : server.call("getBooking", ofBooking(scene, scene.alice));
}

async function tagOf(scene: Scene, of: Guarded["of"], server = scene.server): Promise<string> {
  const { headers } = await read(scene, of, server);
  return headers.get("ETag") ?? assert.fail(`the ${of} has no tag`);
}

/** Another editor changes it first. */
async function overtake(scene: Scene, of: Guarded["of"]): Promise<void> {
  const { server, free } = scene;
  if (of === "room") await server.ok("updateRoom", { ...ofRoom(scene), body: { capacity: 99 } });
  else {
    const newTimeslotId = slotId(scene, free.length - 1);
    await server.ok("rescheduleBooking", { ...ofBooking(scene, scene.alice), body: { newTimeslotId } });
  }
}

async function outcome(server: TestServer, id: OperationId, call: Call): Promise<string> {
  const { status, body } = await server.call(id, call);
  return status < 400 ? String(status) : `${status} ${Problem.parse(body).code}`;
}

Deno.test("If-Match: operations of the contract that take it -> all tested here", () => {
  const conditional = Object.values(operations).filter(({ takesIfMatch }) => takesIfMatch).map(({ id }) => id);
  assert.deepEqual(guarded.map(({ id }) => id).sort(), conditional.sort());
});

for (const { id, of, call } of guarded) {
  Deno.test(`${id}: If-Match with the ${of}'s tag, also among others, or * -> done`, async (t) => {
    await using server = await ownServer();
    const ways: ((tag: string) => string)[] = [
      (tag) => tag,
      (tag) => `"another", ${tag}`,
      (tag) => `${tag},"another"`,
      (tag) => `W/"another" , ${tag} , "one more"`,
      () => "*",
      () => " * ",
    ];
    for (const way of ways) {
      await t.step(way('"tag"'), async () => {
        const scene = await newScene(server);
        const before = await read(scene, of);
        await server.ok(id, withIfMatch(call(scene), way(await tagOf(scene, of))));
        assert.notDeepEqual((await read(scene, of)).body, before.body);
      });
    }
  });

  Deno.test(`${id}: If-Match stale, weak or malformed -> 412, nothing changes`, async () => {
    await using server = await ownServer();
    const scene = await newScene(server);
    const stale = await tagOf(scene, of);
    await overtake(scene, of);
    const fresh = await tagOf(scene, of);
    const bare = fresh.slice(1, -1);
    const others = [stale, `${stale}, "another"`, `W/${fresh}`, `W/${fresh}, ${stale}`, bare, `"${bare}`, `${bare}"`];
    const before = await allRows(server.db);
    for (const ifMatch of [...others, '""', '"*"', ","]) {
      const { status } = await server.refused("precondition_failed", id, withIfMatch(call(scene), ifMatch));
      assert.equal(status, 412, ifMatch);
    }
    assert.deepEqual(await allRows(server.db), before);
    assert.equal(await tagOf(scene, of), fresh);
  });

  Deno.test(`${id}: any If-Match for a missing ${of} or as another user -> 404 or 403, nothing changes`, async () => {
    await using server = await ownServer();
    const scene = await newScene(server);
    const mallory = await server.token("mallory");
    // The first request of a user creates their row.
    await server.ok("getMe", { token: mallory });
    const before = await allRows(server.db);
    const request = call(scene);
    const refusal = operations[id].access === "user" ? "not_booking_owner" : "admin_required";
    for (const ifMatch of ['"stale"', await tagOf(scene, of), "*"]) {
      const nothing = { ...request, params: { roomId: missingId, bookingId: missingId } };
      await server.refused(`${of}_not_found`, id, withIfMatch(nothing, ifMatch));
      await server.refused(refusal, id, withIfMatch({ ...request, token: mallory }, ifMatch));
    }
    assert.deepEqual(await allRows(server.db), before);
  });
}

Deno.test("cancelBooking: tags of before and after an admin's confirmation -> 412, then cancelled", async () => {
  await using server = await ownServer();
  const scene = await newScene(server);
  const seen = await tagOf(scene, "booking");
  const request = ofBooking(scene, scene.alice);
  const confirmed = await confirm(server, await server.ok("getBooking", request));
  await server.refused("precondition_failed", "cancelBooking", withIfMatch(request, seen));
  assert.deepEqual(await server.ok("getBooking", request), confirmed);
  const cancelled = await server.ok("cancelBooking", withIfMatch(request, await tagOf(scene, "booking")));
  assert.equal(cancelled.booking.status, "cancelled");
});

Deno.test("cancelBooking: tag of before its room was renamed -> 412", async () => {
  await using server = await ownServer();
  const scene = await newScene(server);
  const seen = await tagOf(scene, "booking");
  await server.ok("updateRoom", { ...ofRoom(scene), body: { name: "Another name" } });
  await server.refused("precondition_failed", "cancelBooking", withIfMatch(ofBooking(scene, scene.alice), seen));
});

for (const { id, of, call } of guarded.filter((each) => operations[each.id].takesIdempotencyKey)) {
  Deno.test(`${id}: If-Match and Idempotency-Key sent again with an old tag -> the first answer`, async () => {
    await using server = await ownServer();
    const scene = await newScene(server);
    const keyed = (key: string, ifMatch: string): Call => {
      return { ...call(scene), headers: { "If-Match": ifMatch, "Idempotency-Key": key } };
    };
    const stale = await tagOf(scene, of);
    await overtake(scene, of);
    const fresh = await tagOf(scene, of);
    const refused = await send(server.url, id, keyed("first", stale));
    assert.equal(refused.status, 412);
    const done = await send(server.url, id, keyed("second", fresh));
    assert.equal(done.status, 200, done.text);

    const before = await allRows(server.db);
    for (const [key, tag, first] of [["first", stale, refused], ["second", fresh, done]] as const) {
      const again = await send(server.url, id, keyed(key, tag));
      assert.deepEqual([again.status, again.text], [first.status, first.text]);
      assert.equal(again.headers.get("Idempotency-Replayed"), "true");
      assert.equal(again.headers.get("ETag"), first.headers.get("ETag"));
      // Another tag makes it another request.
      await server.refused("idempotency_key_reused", id, keyed(key, '"another"'));
      await server.refused("idempotency_key_reused", id, { ...call(scene), headers: { "Idempotency-Key": key } });
    }
    assert.deepEqual(await allRows(server.db), before);
  });
}

Deno.test("If-Match: ten editors on each of two servers at once with one tag -> one 200, others 412", async (t) => {
  await using first = await ownServer();
  await using second = await startServer({ pool: 10, database: { url: first.databaseUrl } });
  for (const { id, of, call } of guarded) {
    await t.step(id, async () => {
      const scene = await newScene(first);
      const tag = await tagOf(scene, of);
      assert.equal(await tagOf(scene, of, second), tag);
      const outcomes = await Promise.all(
        Array.from(
          { length: 20 },
          (_, editor) => outcome(editor % 2 === 0 ? first : second, id, withIfMatch(call(scene, editor), tag)),
        ),
      );
      assert.deepEqual(outcomes.sort(), ["200", ...Array(19).fill("412 precondition_failed")]);
    });
  }
});

Deno.test("rescheduleBooking: to a timeslot that is cancelled at once -> taken after freed in the feed", async () => {
  await using server = await ownServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09", slotDuration: 15 });
  const [alice, bob] = [await server.token("alice"), await server.token("bob")];
  let moved = 0;
  for (let round = 0; round < 30; round++) {
    const [from, to] = [slots[(2 * round) % 30], slots[(2 * round + 1) % 30]];
    assert(from && to);
    const booking = await newBooking(server, "alice", from);
    const leaving = await newBooking(server, "bob", to);
    const params = { bookingId: booking.id };
    const { headers } = await server.call("getBooking", { token: alice, params });
    const [, move] = await Promise.all([
      server.ok("cancelBooking", { token: bob, params: { bookingId: leaving.id } }),
      server.call("rescheduleBooking", {
        token: alice,
        params,
        body: { newTimeslotId: to.id },
        headers: { "If-Match": headers.get("ETag") ?? "" },
      }),
    ]);
    if (move.status === 200) {
      moved++;
      const last = await server.db.selectFrom("booking_events").select("type")
        .where("type", "in", ["taken", "freed"]).where(sql`data->>'timeslot_id'`, "=", String(to.id))
        .orderBy("transaction_id", "desc").orderBy("id", "desc").limit(1).executeTakeFirstOrThrow();
      assert.equal(last.type, "taken", `round ${round}`);
    }
    await server.ok("cancelBooking", { token: alice, params });
  }
  assert(moved > 0, "no booking was moved while the other one left");
});
