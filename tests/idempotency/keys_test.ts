/** The form of keys, the answers that are stored, their lifetime and their secrecy. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sql } from "kysely";
import type { ProblemCode, Timeslot } from "../../generated/contract.ts";
import { missingId, newBooking, newRoom, newRoomWithTimeslot, newTimeslots } from "../support/builders.ts";
import { type Call, type OperationId, sharedServer, startServer, type TestServer } from "../support/server.ts";
import {
  age,
  assertDone,
  assertRefused,
  assertReplayed,
  countKeys,
  everything,
  everythingElse,
  newKey,
  sendWithKey,
} from "./keyed_requests.ts";

async function bookingCall(server: TestServer, subject: string, { id, roomId }: Timeslot): Promise<Call> {
  return { token: await server.token(subject), body: { roomId, timeslotId: id } };
}

Deno.test("Idempotency-Key: not 1 to 255 visible ASCII characters -> validation_failed in the header", async (t) => {
  const server = await sharedServer();
  const call = { token: await server.token("alice") };
  const wrong = { "": "empty", "two words": "a space", "tab\there": "a tab", "schlüssel": "no ASCII", a: "256 long" };
  for (const [text, name] of Object.entries(wrong)) {
    await t.step(name, async () => {
      const key = name === "256 long" ? text.repeat(256) : text;
      const problem = assertRefused(await sendWithKey(server, "createSocketTicket", call, key), "validation_failed");
      const [error, ...others] = problem.errors ?? [];
      assert.deepEqual(others, []);
      assert.deepEqual([error?.in, error?.path.toLowerCase()], ["header", "idempotency-key"]);
    });
  }
  assert.equal(await countKeys(server.db, server.subject("alice")), 0);

  const everyCharacter = Array.from({ length: 0x7e - 0x20 }, (_, index) => String.fromCharCode(0x21 + index)).join("");
  for (const key of ["x", "x".repeat(255), everyCharacter, crypto.randomUUID()]) {
    const first = await sendWithKey(server, "createSocketTicket", call, key);
    assertDone(first);
    assertReplayed(first, await sendWithKey(server, "createSocketTicket", call, key));
  }
  // Keys are case-sensitive.
  assertDone(await sendWithKey(server, "createSocketTicket", call, "X"));
});

interface Refused {
  code: ProblemCode;
  id: OperationId;
  call: Call;
  /** Removes the reason. */
  cure: () => Promise<unknown>;
}

async function newRefusals(server: TestServer): Promise<Refused[]> {
  const { timeslot, room } = await newRoomWithTimeslot(server);
  const [next] = await newTimeslots(server, room, { date: "2026-03-10" });
  assert(next);
  const bobs = await newBooking(server, "bob", timeslot);
  const [alice, bob, admin] = [
    await server.token("alice"),
    await server.token("bob"),
    await server.token("a", "admin"),
  ];
  const params = { bookingId: bobs.id };
  const setOwner = sql`update bookings set user_id = (select id from users where subject = 'alice')`;
  return [
    {
      code: "precondition_failed",
      id: "rescheduleBooking",
      call: { token: bob, params, body: { newTimeslotId: next.id }, headers: { "If-Match": '"old"' } },
      cure: () => Promise.resolve(),
    },
    {
      code: "booking_not_found",
      id: "cancelBooking",
      call: { token: bob, params: { bookingId: missingId } },
      cure: () => Promise.resolve(),
    },
    {
      code: "timeslot_unavailable",
      id: "createBooking",
      call: await bookingCall(server, "alice", timeslot),
      cure: () => server.ok("cancelBooking", { token: bob, params }),
    },
    {
      code: "invalid_status_transition",
      id: "updateBookingStatus",
      call: { token: admin, params, body: { status: "confirmed" } },
      cure: () =>
        sql`update bookings set status = 'pending', cancellation_reason = null, cancelled_at = null`.execute(server.db),
    },
    {
      code: "not_booking_owner",
      id: "cancelBooking",
      call: { token: alice, params },
      cure: () => setOwner.execute(server.db),
    },
  ];
}

Deno.test("Idempotency-Key: refused request is sent again after its reason is gone -> same refusal with its first requestId", async () => {
  // The test compares all rows.
  await using server = await startServer();
  for (const { code, id, call, cure } of await newRefusals(server)) {
    const key = newKey();
    // The first request of a user inserts a row.
    await server.ok("getMe", { token: call.token ?? "" });
    const untouched = await everythingElse(server.db);
    const first = await sendWithKey(server, id, call, key);
    const problem = assertRefused(first, code);
    assert.deepEqual([first.isReplay, first.headers.get("X-Request-Id")], [false, problem.requestId]);
    assert.deepEqual(await everythingElse(server.db), untouched, code);
    await cure();
    const before = await everything(server.db);
    const second = await sendWithKey(server, id, call, key);
    assertReplayed(first, second);
    assert.notEqual(second.headers.get("X-Request-Id"), problem.requestId);
    assert.deepEqual(await everything(server.db), before, code);
  }
});

Deno.test("Idempotency-Key: request is rejected before its execution -> key is free for another request", async (t) => {
  const server = await sharedServer();
  const slots = await newTimeslots(server, await newRoom(server), { date: "2026-03-09" });
  const [alice, admin] = [await server.token("alice"), await server.token("admin", "admin")];
  const cases: Record<string, { id?: OperationId; call: Call; code: ProblemCode }> = {
    "an invalid body": { call: { token: alice, body: { roomId: 0 } }, code: "validation_failed" },
    "a body without JSON": { call: { token: alice, body: "{" }, code: "malformed_json" },
    "an invalid path": {
      id: "cancelBooking",
      call: { token: alice, params: { bookingId: "x" } },
      code: "validation_failed",
    },
    "a value that the handler rejects": {
      id: "setSandboxClock",
      call: { token: admin, body: { now: "9999-12-31T00:00:00Z" } },
      code: "validation_failed",
    },
    "no token": { call: { body: {} }, code: "token_missing" },
    "a malformed token": { call: { token: "x", body: {} }, code: "token_invalid" },
    "an operation for admins": { id: "createRoom", call: { token: alice, body: {} }, code: "admin_required" },
    "a body of another type": {
      call: { token: alice, body: "{}", headers: { "Content-Type": "text/plain" } },
      code: "unsupported_media_type",
    },
    "a body above the limit": { call: { token: alice, body: " ".repeat(2_000_000) }, code: "body_too_large" },
  };
  for (const [name, { id = "createBooking", call, code }] of Object.entries(cases)) {
    await t.step(name, async () => {
      const key = newKey();
      assertRefused(await sendWithKey(server, id, call, key), code);
      assert.equal(assertRefused(await sendWithKey(server, id, call, key), code).code, code);
      const valid = call.token === admin ? "createSocketTicket" : "createBooking";
      const slot = slots.pop() ?? (await newRoomWithTimeslot(server)).timeslot;
      const token = call.token === admin ? admin : alice;
      const body = { roomId: slot.roomId, timeslotId: slot.id };
      assertDone(await sendWithKey(server, valid, { token, ...(token === alice ? { body } : {}) }, key));
    });
  }
});

Deno.test("Idempotency-Key: internal_error -> nothing is stored, and the request succeeds when sent again", async () => {
  // The test breaks tables and compares all rows.
  await using server = await startServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const [call, key] = [await bookingCall(server, "alice", timeslot), newKey()];
  await server.ok("getMe", { token: call.token ?? "" });
  const untouched = await everything(server.db);
  // The second table stores the answer.
  for (const table of ["bookings", "idempotency_keys"]) {
    const broken = sql.table(table);
    await sql`alter table ${broken} add constraint broken check (false) not valid`.execute(server.db);
    assertRefused(await sendWithKey(server, "createBooking", call, key), "internal_error");
    await sql`alter table ${broken} drop constraint broken`.execute(server.db);
    assert.deepEqual(await everything(server.db), untouched);
  }
  assertDone(await sendWithKey(server, "createBooking", call, key));
});

Deno.test("Idempotency-Key: any domain clock -> answer is replayed for 24 hours, then the key is free", async () => {
  const server = await sharedServer();
  const { timeslot } = await newRoomWithTimeslot(server);
  const [key, ticket] = [newKey(), { token: await server.token("alice") }];
  const first = await sendWithKey(server, "createSocketTicket", ticket, key);
  server.clock.set("2026-03-04T10:00:00.000Z");
  await server.sweep();
  await age(server.db, "23 hours 59 minutes");
  await server.sweep();
  assertReplayed(first, await sendWithKey(server, "createSocketTicket", ticket, key));
  // A replay does not extend the lifetime.
  await age(server.db, "1 minute");
  const second = await sendWithKey(server, "createSocketTicket", ticket, key);
  assertDone(second);
  assert.notEqual(second.text, first.text);
  assertReplayed(second, await sendWithKey(server, "createSocketTicket", ticket, key));

  await age(server.db, "24 hours");
  assertDone(await sendWithKey(server, "createBooking", await bookingCall(server, "alice", timeslot), key));
});

Deno.test("sweep: 2,500 keys older than a day -> all of them removed, and no others", async () => {
  const server = await sharedServer();
  const subject = server.subject("alice");
  const call = { token: await server.token("alice") };
  assertDone(await sendWithKey(server, "createSocketTicket", call, newKey()));
  await sql`
    insert into idempotency_keys
    select user_id, 'old ' || n, request_hash, status, answer, pending_until, created_at
    from idempotency_keys join users on users.id = user_id, generate_series(1, 2500) n where subject = ${subject}
  `.execute(server.db);
  await age(server.db, "23 hours 59 minutes");
  const young = newKey();
  const answer = await sendWithKey(server, "createSocketTicket", call, young);
  await server.sweep();
  assert.equal(await countKeys(server.db, subject), 2_502);
  await age(server.db, "1 minute");
  await server.sweep();
  assert.equal(await countKeys(server.db, subject), 1);
  assertReplayed(answer, await sendWithKey(server, "createSocketTicket", call, young));
});

Deno.test("Idempotency-Key: keys and stored answers -> unreadable in the database and the log", async () => {
  const server = await sharedServer({ env: { PAYMENT_PROVIDER: "sandbox" } });
  const { timeslot } = await newRoomWithTimeslot(server);
  const key = () => crypto.randomUUID();
  const admin = { token: await server.token("admin", "admin") };
  const ticketCall = { token: await server.token("alice") };
  const requests: [string, OperationId, Call][] = [
    [key(), "createApiKey", { ...admin, body: { name: "Door displays", scopes: ["events:read"] } }],
    [key(), "createBooking", await bookingCall(server, "alice", timeslot)],
    [key(), "createBooking", await bookingCall(server, "bob", timeslot)],
    [key(), "createSocketTicket", ticketCall],
  ];
  const answers: string[] = [];
  for (const [key, id, call] of requests) answers.push((await sendWithKey(server, id, call, key)).text);
  const secrets = [
    /"key":"(slk_[^"]+)"/,
    /"checkoutUrl":"([^"]+)"/,
    /"code":"(timeslot_unavailable)"/,
    /"ticket":"([^"]+)"/,
  ];
  const found = secrets.map((pattern, index) => pattern.exec(answers[index] ?? "")?.at(-1));
  const [apiKey, checkoutUrl, , ticket] = found;
  assert(found.every((secret) => secret !== undefined) && apiKey && checkoutUrl && ticket);

  const subjects = ["admin", "alice", "bob"].map((name) => server.subject(name));
  const rows = await server.db.selectFrom("idempotency_keys").selectAll("idempotency_keys")
    .innerJoin("users", "users.id", "idempotency_keys.user_id").where("subject", "in", subjects).execute();
  assert.equal(rows.length, requests.length);
  const stored = Buffer.concat(
    rows.flatMap(({ answer, ...row }) => [Buffer.from(JSON.stringify(row)), answer ?? Buffer.of()]),
  );
  const keys = requests.map(([key]) => key);
  for (const secret of [...keys, ...found, ...answers]) {
    const bytes = Buffer.from(secret ?? "");
    for (const form of [bytes, bytes.toString("hex"), bytes.toString("base64")]) assert(!stored.includes(form), secret);
  }
  const elsewhere = JSON.stringify(await everything(server.db)) + server.logged.join("\n");
  for (const secret of [...keys, apiKey, ticket]) {
    assert(!elsewhere.includes(secret), secret);
    assert(!elsewhere.includes(Buffer.from(secret).toString("hex")), secret);
  }
  // Equal keys and answers do not look equal.
  for (const column of ["key_hash", "answer"] as const) {
    assert.equal(new Set(rows.map((row) => String(row[column]))).size, rows.length, column);
  }
});

Deno.test("Idempotency-Key: stored answer belongs to another key or was changed -> internal_error", async () => {
  const server = await sharedServer();
  const call = { token: await server.token("alice") };
  const [one, two] = [newKey(), newKey()];
  await sendWithKey(server, "createSocketTicket", call, one);
  await sendWithKey(server, "createSocketTicket", call, two);
  await sql`
    update idempotency_keys k set answer = o.answer from idempotency_keys o join users on users.id = o.user_id
    where k.user_id = o.user_id and o.key_hash <> k.key_hash and subject = ${server.subject("alice")}
  `.execute(server.db);
  for (const key of [one, two]) {
    assertRefused(await sendWithKey(server, "createSocketTicket", call, key), "internal_error");
  }
});
