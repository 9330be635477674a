import type { Handlers } from "../http/handlers.ts";
import { findRoom, listRooms } from "./queries.ts";
import { changeRoom, closeRoom, createRoom, roomNotFound, type RoomRules, toRoom } from "./rooms.ts";

type RoomOperations = "listRooms" | "getRoom" | "createRoom" | "updateRoom" | "deleteRoom";

export function roomHandlers(rules: RoomRules): Pick<Handlers, RoomOperations> {
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

    async updateRoom({ params: { roomId }, body }) {
      return { status: 200, body: await changeRoom(rules, roomId, body) };
    },

    async deleteRoom({ params: { roomId } }) {
      await closeRoom(rules, roomId);
      return { status: 200, body: { message: "Room deactivated" } };
    },
  };
}
