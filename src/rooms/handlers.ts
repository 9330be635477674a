import type { Handlers } from "../contract/handlers.ts";
import { findRoom, listRooms } from "./queries.ts";
import { createRoom, deleteRoom, roomNotFound, type RoomOptions, toRoom, updateRoom } from "./rooms.ts";

type RoomOperations = "listRooms" | "getRoom" | "createRoom" | "updateRoom" | "deleteRoom";

export function roomHandlers(options: RoomOptions): Pick<Handlers, RoomOperations> {
  return {
    async listRooms({ query: { type, active, page, limit } }, { db }) {
      const { rows, total } = await listRooms(db, { type, activeOnly: active, limit, offset: (page - 1) * limit });
      return { status: 200, body: { items: rows.map(toRoom), total, page, limit, pages: Math.ceil(total / limit) } };
    },

    async getRoom({ params: { roomId } }, { db }) {
      const row = await findRoom(db, roomId);
      if (row === undefined) throw roomNotFound(roomId);
      return { status: 200, body: toRoom(row) };
    },

    async createRoom({ body }, scope) {
      return { status: 201, body: await createRoom({ ...options, ...scope }, body) };
    },

    async updateRoom({ params: { roomId }, body: change, headers: { "if-match": ifMatch } }, scope) {
      return { status: 200, body: await updateRoom({ ...options, ...scope }, roomId, { change, ifMatch }) };
    },

    async deleteRoom({ params: { roomId }, headers: { "if-match": ifMatch } }, scope) {
      await deleteRoom({ ...options, ...scope }, roomId, ifMatch);
      return { status: 200, body: { message: "Room deactivated" } };
    },
  };
}
