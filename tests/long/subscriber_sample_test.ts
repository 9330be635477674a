/** The subscriber of the guide on events that uses no SDK. */
import assert from "node:assert/strict";
import { fileBlocks } from "../docs/samples.ts";
import { newRoom, newTimeslots } from "../support/builders.ts";
import { freePort, startServerProcess } from "../support/process.ts";
import { send, startServer, testSecret } from "../support/server.ts";

Deno.test("guide on events: server killed and started again -> the subscriber without the SDK resumes, and prints each event once", async () => {
  // The processes use the real clock.
  const today = Temporal.Now.instant();
  await using base = await startServer({ now: today.toString() });
  const port = freePort();
  const env = { DATABASE_URL: base.databaseUrl, AUTH_JWT_SECRET: testSecret, PORT: `${port}`, RATE_LIMIT: "off" };
  const { code = "" } =
    (await fileBlocks("src/docs/guides/events.md")).find(({ code }) => code.includes("ws://127.0.0.1:8000")) ?? {};
  assert.equal(code.trimEnd().split("\n").length, 10);
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_subscriber_" });
  await Deno.writeTextFile(`${folder}/subscribe.ts`, code.replace("127.0.0.1:8000", `127.0.0.1:${port}`));
  const token = await base.token("alice");

  const first = await startServerProcess("serve", env);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--check", "--allow-net", `${folder}/subscribe.ts`, token],
    stdout: "piped",
    stdin: "null",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream()).values();
  let text = "";
  const until = async (pattern: RegExp) => {
    while (!pattern.test(text)) {
      const { value, done } = await lines.next();
      assert(!done, text);
      text += value;
    }
  };
  const date = today.toZonedDateTimeISO("UTC").toPlainDate().add({ days: 30 }).toString();
  const slots = await newTimeslots(base, await newRoom(base), { date });
  /** Books at another server with the same database. */
  const book = async (): Promise<number> => {
    const slot = slots.pop();
    const body = { roomId: slot?.roomId, timeslotId: slot?.id };
    return JSON.parse((await send(base.url, "createBooking", { token, body })).text).booking.id;
  };
  try {
    await until(/"event":"joined"/);
    await until(new RegExp(`"type":"created","booking":{"id":${await book()},`));
    first.signal("SIGKILL");
    await first.end();
    const missed = await book();
    await using second = await startServerProcess("serve", env);
    await until(new RegExp(`"type":"created","booking":{"id":${missed},`));
    assert.equal(text.match(/"type":"created"/g)?.length, 2);
    assert(second.url.endsWith(`:${port}`));
  } finally {
    child.kill("SIGKILL");
    await lines.return?.();
    await child.status;
    await first[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  }
});
