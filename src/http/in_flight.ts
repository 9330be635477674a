/** An item, and its place among all. -1 after it was deleted. */
interface Entry<Item> {
  readonly item: Item;
  place: number;
}

/**
 * The requests in flight, in no order. A `Set` makes a new table after some additions. Its old tables refer to requests
 * that have ended since. V8 keeps an old table until the next full garbage collection. That took 8 % of the CPU of a
 * small request.
 */
export class InFlight<Item> {
  private readonly entries: Entry<Item>[] = [];

  get size(): number {
    return this.entries.length;
  }

  /** Adds an item and returns its entry, for {@link delete}. */
  add(item: Item): Entry<Item> {
    const entry = { item, place: this.entries.length };
    this.entries.push(entry);
    return entry;
  }

  /** Deletes an entry, unless it is deleted already. */
  delete(entry: Entry<Item>): void {
    if (entry.place < 0) return;
    const last = this.entries.pop();
    if (last !== undefined && last !== entry) {
      last.place = entry.place;
      this.entries[entry.place] = last;
    }
    entry.place = -1;
  }

  /** The entries at this moment. They may be deleted while a caller goes through them. */
  all(): Entry<Item>[] {
    return [...this.entries];
  }
}
