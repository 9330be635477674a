/** Sends each hostile text to each place of the contract that takes a value. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { type Kysely, sql } from "kysely";
import pLimit from "p-limit";
import { type Me, Problem, RoomName } from "../../generated/contract.ts";
import type { Database } from "../../src/database/connect.ts";
import { createLog } from "../../src/log.ts";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer, testSecret } from "../support/server.ts";
import { assertInvalidFrames, handshake } from "../support/socket.ts";
import { child, contract, contractOperations, object, withoutRefs } from "../contract/document.ts";
import { allRows, exampleCall, newExampleRows } from "../contract/example_calls.ts";
import { hostileTexts, sleepSeconds } from "../contract/hostile_texts.ts";
import {
  assertRefused,
  assertUnforged,
  isStorable,
  newSubject,
  rawRequest,
  readers,
  sendInBody,
  sendInHeaders,
  sendInParameters,
  type Subject,
} from "../contract/injection_calls.ts";

/** Definitions of all columns, indexes, constraints, functions and triggers. */
async function structureOf(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ line: string }>`
    select format('column %s.%s.%s %s %s', table_schema, table_name, column_name, data_type, column_default) as line
    from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema')
    union all select indexdef from pg_indexes where schemaname = 'public'
    union all select conname || pg_get_constraintdef(oid) from pg_constraint
    union all select oid::regprocedure || prosrc from pg_proc where pronamespace = 'public'::regnamespace
    union all select pg_get_triggerdef(oid) from pg_trigger
    order by line
  `.execute(db);
  return rows.map(({ line }) => line);
}

async function idsIn(db: Kysely<Database>): Promise<Set<string>> {
  const { rows } = await sql<{ id: string }>`
    select 'room ' || id as id from rooms union all select 'booking ' || id from bookings
  `.execute(db);
  return new Set(rows.map(({ id }) => id));
}

/** The sandbox's checkout page without its nonce. */
async function pageOf(url: string): Promise<string> {
  const response = await fetch(url);
  assert.equal(response.status, 200);
  assertUnforged(response, url);
  return (await response.text()).replaceAll(/nonce="[^"]+"/g, "");
}

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;");

Deno.test("injection: hostile texts in every place -> refused or stored unchanged, no other effect", async (t) => {
  const statements = new Set<string>();
  let longestMs = 0;
  await using server = await startServer({
    env: { PAYMENT_PROVIDER: "sandbox" },
    log: ({ query, queryDurationMillis }) => {
      statements.add(query.sql);
      longestMs = Math.max(longestMs, queryDurationMillis);
    },
  });
  const { db } = server;
  await newExampleRows(server);
  const [rows, structure] = [await allRows(db), await structureOf(db)];
  const limit = pLimit(8);
  const atOnce = async <Item>(items: Item[], send: (item: Item, index: number) => Promise<void>) => {
    await Promise.all(items.map((item, index) => limit(() => send(item, index))));
  };
  const subjects = await Promise.all(
    contractOperations.map((operation) => limit(() => newSubject(server, operation))),
  );
  const idsBefore = await idsIn(db);
  /** Sends each text to each operation. The texts of one operation go in turn, because they change its rows. */
  const forAll = (send: (subject: Subject, text: string) => Promise<void>) =>
    atOnce(subjects, async (subject) => {
      for (const text of hostileTexts) await send(subject, text);
    });
  const secrets = [await server.token("alice"), await server.token("admin", "admin")];

  await t.step("body: fields and names", async () => {
    await forAll(sendInBody);
    const fitting = hostileTexts.filter((text) => isStorable(text) && text.length <= 100);
    for (const { operation: { operationId }, accepted } of subjects) {
      if (readers[operationId] !== undefined) {
        assert(accepted >= fitting.length, `${operationId} accepted ${accepted}`);
      }
    }
  });

  await t.step("parameters: values and names", async () => {
    await forAll(sendInParameters);
    await atOnce(hostileTexts, async (text, index) => {
      const subject = subjects[index % subjects.length] ?? assert.fail();
      const example = exampleCall(subject.operation, subject.ids);
      // A URL replaces characters that are not well-formed.
      const named = [`query.${text.toWellFormed()}`];
      await assertRefused(subject, { ...example, query: { ...example.query, [text]: 1 } }, named);
    });
  });

  await t.step("path: unescaped", async () => {
    const inPath = subjects.filter(({ operation: { path } }) => path.includes("{"));
    const written = hostileTexts.filter((text) => /^[!-~]+$/.test(text) && !/[?#]/.test(text));
    await atOnce(written, async (text, index) => {
      const { operation: { method, path } } = inPath[index % inPath.length] ?? assert.fail();
      const answer = await rawRequest(server, { method, target: path.replaceAll(/\{\w+\}/g, () => text) });
      assert(answer.status >= 400 && answer.status < 500, `${method} ${path} with ${text}: ${answer.status}`);
      assertUnforged(answer, text);
      if (answer.text !== "") Problem.parse(JSON.parse(answer.text));
    });
  });

  await t.step("headers: Authorization and X-Request-Id", () =>
    forAll(async (subject, text) => {
      // A third of the texts for each operation, because headers are read before the operation is found.
      if ((hostileTexts.indexOf(text) + subjects.indexOf(subject)) % 3 > 0) return;
      const headers = { Authorization: `Bearer ${text}`, "X-Request-Id": text };
      await sendInHeaders({ ...subject, token: undefined }, headers);
    }));

  await t.step("claims of a token", () =>
    atOnce(hostileTexts, async (text, index) => {
      for (const sub of [text, `honest ${index}`]) {
        const claims = { sub, name: text, email: text, exp: Math.floor(Date.now() / 1_000) + 600 };
        const token = await new SignJWT(claims).setProtectedHeader({ alg: "HS256" })
          .sign(new TextEncoder().encode(testSecret));
        secrets.push(token);
        const answer = await server.call("getMe", { token });
        const what = `${Deno.inspect(text).slice(0, 300)}: ${JSON.stringify(answer.body)}`;
        assert(answer.status < (sub === text ? 500 : 300), what);
        assertUnforged(answer, what);
        if (answer.status >= 400) continue;
        // `call` has validated it.
        const { id, subject, role, name } = answer.body as Me;
        assert.deepEqual([subject, role], [sub, "user"], what);
        const user = await db.selectFrom("users").selectAll().where("id", "=", id).executeTakeFirstOrThrow();
        assert.equal(user.subject, sub, what);
        for (const kept of [user.name, user.email, name]) assert(kept === text || kept === null, what);
      }
    }));

  await t.step(
    "ticket of a WebSocket",
    () =>
      atOnce(hostileTexts.filter((text) => text.isWellFormed()), async (text) => {
        using answer = await handshake(server, { query: `?ticket=${encodeURIComponent(text)}` });
        assert.deepEqual([answer.status, Problem.parse(JSON.parse(answer.body)).code], [401, "ticket_invalid"]);
        assertUnforged(answer, text);
      }),
  );

  await t.step("frames: fields and names", async () => {
    const frames: string[] = [];
    const schemas = object(withoutRefs(contract, child(contract.components, "schemas") ?? {}));
    const kinds = child(schemas.ClientFrame, "oneOf");
    assert(Array.isArray(kinds));
    for (const properties of kinds.map((kind) => object(child(kind, "properties")))) {
      const action = child(properties.action, "const") ?? "";
      const valid = { action, ...("roomId" in properties ? { roomId: 1 } : {}) };
      for (const text of hostileTexts) {
        for (const frame of [...Object.keys(properties).map((name) => [name, text]), [text, 1]]) {
          const data = JSON.stringify({ ...valid, [String(frame[0])]: frame[1] ?? null });
          // A frame over 4 KiB closes the socket.
          if (data.length <= 4_000) frames.push(data);
        }
      }
    }
    await assertInvalidFrames(server, { token: await server.token("alice"), frames });
  });

  await t.step("checkout page of the sandbox", async () => {
    const { room: { id: roomId }, timeslot } = await newRoomWithTimeslot(server, { description: "<b>" });
    const body = {
      roomId,
      timeslotId: timeslot.id,
      notes: hostileTexts.filter((text) => text.includes("<")).join(" "),
    };
    const { booking, checkoutUrl } = await server.ok("createBooking", { token: await server.token("alice"), body });
    assert(checkoutUrl);
    idsBefore.add(`room ${roomId}`).add(`booking ${booking.id}`);
    const rename = { token: await server.token("admin", "admin"), params: { roomId } };
    await server.ok("updateRoom", { ...rename, body: { name: "NAME" } });
    const honest = await pageOf(checkoutUrl);
    assert(honest.includes("NAME"));
    const names = hostileTexts.filter((text) =>
      isStorable(text) && text.length <= 200 && RoomName.safeParse(text).success
    );
    assert(names.length > 20);
    for (const name of names) {
      await server.ok("updateRoom", { ...rename, body: { name } });
      assert.equal(await pageOf(checkoutUrl), honest.replace("NAME", () => escaped(name)));
      const elsewhere = await rawRequest(server, { target: `/sandbox/checkout/${encodeURIComponent(name)}` });
      assert.equal(elsewhere.status, 404);
      assertUnforged(elsewhere, name);
      assert(!/<[^>]+>/.test(name) || !elsewhere.text.includes(name), name);
    }
  });

  await t.step("database afterwards: unchanged except by accepted requests", async () => {
    assert.deepEqual(await structureOf(db), structure);
    const rowsAfter = await allRows(db);
    for (const [table, old] of Object.entries(rows)) {
      const now = new Set(rowsAfter[table]?.map((row) => JSON.stringify(row)));
      assert.deepEqual(old.filter((row) => !now.has(JSON.stringify(row))), [], table);
    }
    for (const { operation: { operationId }, kept } of subjects) {
      for (const id of kept) idsBefore.add(`${readers[operationId]?.id === "getRoom" ? "room" : "booking"} ${id}`);
    }
    assert.deepEqual((await idsIn(db)).symmetricDifference(idsBefore), new Set());
    assert(longestMs < sleepSeconds * 1_000, `a statement took ${longestMs} ms`);
    assert(statements.size > 20);
    // Shorter texts may be part of any statement.
    const long = hostileTexts.filter((text) => text.length >= 8);
    assert.deepEqual([...statements].filter((statement) => long.some((text) => statement.includes(text))), []);
  });

  await t.step("log: one JSON object a line, no token, no error", () => {
    assert(server.logged.length > 1_000);
    for (const line of server.logged) {
      assert(!/[\r\n]/.test(line), line);
      const { time, level, message } = JSON.parse(line);
      assert(
        typeof time === "string" && typeof message === "string" && ["debug", "info", "warn"].includes(level),
        line,
      );
    }
    // The path of an unknown route is what the client sent.
    const all = server.logged.map((line) => JSON.stringify({ ...JSON.parse(line), path: undefined })).join("\n");
    assert.deepEqual(secrets.filter((token) => server.logged.join("\n").includes(token.split(".")[2] ?? "")), []);
    assert(!all.includes("forged") && !all.includes("njected"));
  });
});

Deno.test("log: hostile text in an entry -> stays in its line and field", () => {
  for (const text of hostileTexts) {
    const lines: string[] = [];
    createLog("debug", (line) => lines.push(line)).info(text, { text, [text]: text });
    const [line = "", ...others] = lines;
    assert(others.length === 0 && !/[\r\n]/.test(line), line);
    const entry: unknown = JSON.parse(line);
    assert(typeof entry === "object" && entry !== null && "message" in entry && "text" in entry);
    assert.deepEqual([entry.message, entry.text, Object.getOwnPropertyDescriptor(entry, text)?.value], [
      text,
      text,
      text,
    ]);
  }
});
