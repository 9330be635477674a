/** Amounts in requests have two decimals, for the server and for other validators of the contract. */
import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import { newRoom } from "../support/builders.ts";
import { sharedServer } from "../support/server.ts";
import { child, contract, object } from "./document.ts";

const amounts = [["CreateRoom", "hourlyRate"], ["UpdateRoom", "hourlyRate"], ["RefundBooking", "amount"]] as const;

Deno.test("contract: 19.99 and each other number of cents -> valid for a validator that divides doubles", () => {
  const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
  ajv.addVocabulary(["x-decimals"]);
  assert(!ajv.validate({ type: "number", multipleOf: 0.01 }, 19.99), "this validator divides doubles");
  for (const [name, field] of amounts) {
    const schema = object(child(child(child(child(contract.components, "schemas"), name), "properties"), field));
    assert.equal(schema["x-decimals"], 2);
    const isValid = ajv.compile(schema);
    assert(isValid(19.99), `${name}.${field}`);
    const wrong = Array.from({ length: 100_000 }, (_, index) => (index + 1) / 100).filter((amount) => !isValid(amount));
    assert.deepEqual(wrong, [], `${name}.${field}`);
  }
});

Deno.test("createRoom, updateRoom: amounts with two decimals -> kept; with more -> 400", async () => {
  await using server = await sharedServer();
  const token = await server.token("admin", "admin");
  const room = await newRoom(server);
  for (const hourlyRate of [0, 0.01, 0.07, 0.29, 1.1, 19.99, 8.2, 1234.57, 131072.03, 999_999.99]) {
    assert.equal((await newRoom(server, { hourlyRate })).hourlyRate, hourlyRate);
    const changed = await server.ok("updateRoom", { token, params: { roomId: room.id }, body: { hourlyRate } });
    assert.equal(changed.hourlyRate, hourlyRate);
  }
  for (const hourlyRate of [0.001, 0.295, 19.990000000000002, 19.999, 999_999.985, 1e-7]) {
    const body = { name: "Room", roomType: "meeting", hourlyRate };
    const { errors } = await server.refused("validation_failed", "createRoom", { token, body });
    assert.deepEqual(errors, [{ in: "body", path: "hourlyRate", message: "must have at most 2 decimals" }]);
  }
});
