/** Java's HttpClient offers HTTP/2 on plain HTTP (`Upgrade: h2c`). The edge drops the offer, so its requests arrive. */
import assert from "node:assert/strict";
import { newRoomWithTimeslot } from "../support/builders.ts";
import { startServer } from "../support/server.ts";
import * as edges from "./edge/edge.ts";
import { isSkipped, postWithJava } from "./edge/java_client.ts";

Deno.test({
  name: "edge: POST of Java's HttpClient with `Upgrade: h2c` -> answered like any other",
  ignore: isSkipped || edges.isSkipped,
  async fn() {
    await using server = await startServer();
    await using edge = await edges.startEdge([server.url, server.url]);
    const { room, timeslot } = await newRoomWithTimeslot(server);
    const token = await server.token("alice");
    const body = { roomId: room.id, timeslotId: timeslot.id };
    const created = await postWithJava(`${edge.url}/api/v1/bookings`, { token, body });
    assert.equal(created.status, 201, created.text);
    const { booking } = JSON.parse(created.text);
    assert.equal(booking.timeslotId, timeslot.id);
    const refused = await postWithJava(`${edge.url}/api/v1/bookings`, { token, body });
    assert.equal(JSON.parse(refused.text).code, "timeslot_unavailable");
  },
});
