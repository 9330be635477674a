import type { Handlers } from "../contract/handlers.ts";
import { pageBody, pageRange } from "../contract/pages.ts";
import { findRoom, listRooms } from "./queries.ts";
import { createRoom, deleteRoom, roomNotFound, type RoomOptions, type RoomRow, toRoom, updateRoom } from "./rooms.ts";

type RoomOperations = "listRooms" | "getRoom" | "createRoom" | "updateRoom" | "deleteRoom";

export function roomHandlers(options: RoomOptions): Pick<Handlers, RoomOperations> {
  return {
    async listRooms({ query }, { db }) {
      const { type, active, limit } = query;
      const order = query.sort === "name" ? "name" : "id";
      const found = await listRooms(db, { type, activeOnly: active, order, ...pageRange(order, query) });
      const valueOf = ({ name }: RoomRow) => order === "name" ? name : null;
      const body = pageBody(found, query, { order, toItem: toRoom, valueOf });
      return { status: 200, body: { ...body, pages: Math.ceil(found.total / limit) } };
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
