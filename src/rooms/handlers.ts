import type { Handlers } from "../contract/handlers.ts";
import { findRoom, listRooms } from "./queries.ts";
import { changeRoom, closeRoom, createRoom, type RoomChangeRules, roomNotFound, toRoom } from "./rooms.ts";

type RoomOperations = "listRooms" | "getRoom" | "createRoom" | "updateRoom" | "deleteRoom";

export function roomHandlers(rules: RoomChangeRules): Pick<Handlers, RoomOperations> {
  const { db } = rules;
  return {
    async listRooms({ query: { type, active, page, limit } }) {
      const { rows, total } = await listRooms(db, { type, activeOnly: active, limit, offset: (page - 1) * limit });
      return { status: 200, body: { items: rows.map(toRoom), total, page, limit, pages: Math.ceil(total / limit) } };
    },

    async getRoom({ params: { roomId } }) {
      const row = await findRoom(db, roomId);
      if (row === undefined) throw roomNotFound(roomId);
      return { status: 200, body: toRoom(row) };
    },

    async createRoom({ body }) {
      return { status: 201, body: await createRoom(rules, body) };
    },

    async updateRoom({ params: { roomId }, body: change, headers: { "if-match": ifMatch } }) {
      return { status: 200, body: await changeRoom(rules, roomId, { change, ifMatch }) };
    },

    async deleteRoom({ params: { roomId }, headers: { "if-match": ifMatch } }) {
      await closeRoom(rules, roomId, ifMatch);
      return { status: 200, body: { message: "Room deactivated" } };
    },
  };
}
