/** Most rooms in memory. */
const maxRooms = 10_000;

/**
 * The time zones of rooms as this server has last read them. A query asks for a day in that zone. It needs a second
 * statement only if the room has another one.
 */
export class RoomTimeZones {
  private readonly zones = new Map<number, string>();

  /** Returns a guess for an unknown room. */
  get(roomId: number): string {
    return this.zones.get(roomId) ?? "UTC";
  }

  learn({ id, time_zone }: { id: number; time_zone: string }): string {
    if (this.zones.size === maxRooms) this.zones.clear();
    this.zones.set(id, time_zone);
    return time_zone;
  }
}
