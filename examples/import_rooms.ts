/**
 * Imports rooms from a CSV file. Run it again after a correction: rooms that exist are skipped by their name.
 *
 *     deno run --allow-net --allow-env --allow-read examples/import_rooms.ts examples/rooms.csv
 *
 * `SLOTKEEPER_URL` is the address of Slotkeeper, `SLOTKEEPER_TOKEN` an admin's token or an API key with `rooms:write`.
 */
import { type Client, createClient, isProblem, unwrap } from "@slotkeeper/client";

const columns = ["name", "roomType", "capacity", "hourlyRate", "timeZone"] as const;
type RoomType = "office" | "consultation" | "meeting" | "treatment";

/** A row that cannot be sent. The message names the wrong cell. */
class RowError extends Error {}

/** Returns what is wrong with the row, or undefined if the failure concerns every row, such as a missing token. */
function faultOfRow(failure: unknown): string | undefined {
  if (failure instanceof RowError) return failure.message;
  if (!isProblem(failure, "validation_failed")) return undefined;
  return failure.errors.map(({ path, message }) => `${path}: ${message}`).join("; ");
}

/**
 * Creates the room of one row.
 *
 * @throws {RowError} if a cell is missing or is not a number.
 */
async function createRoom(client: Client, row: string): Promise<string> {
  const cells = row.split(",").map((cell) => cell.trim());
  if (cells.length !== columns.length) throw new RowError(`it has ${cells.length} cells, not ${columns.length}`);
  const [name = "", roomType = "", capacity = "", hourlyRate = "", timeZone = ""] = cells;
  for (const [column, cell] of Object.entries({ capacity, hourlyRate })) {
    if (Number.isNaN(Number(cell))) throw new RowError(`${column} is not a number: ${cell}`);
  }
  // One request for each row: it creates the whole room or nothing. An empty cell means the default.
  const room = await unwrap(client.POST("/api/v1/admin/rooms", {
    body: {
      name,
      // The server validates the type.
      roomType: roomType as RoomType,
      ...(capacity === "" ? {} : { capacity: Number(capacity) }),
      ...(hourlyRate === "" ? {} : { hourlyRate: Number(hourlyRate) }),
      ...(timeZone === "" ? {} : { timeZone }),
    },
  }));
  return `created as room ${room.id}`;
}

/** Prints a line for each row. Returns the exit code: 1 if a row is wrong. A failure that concerns every row is thrown. */
export async function main([file]: string[], env: Record<string, string>): Promise<number> {
  if (file === undefined) {
    throw new Error("Usage: deno run --allow-net --allow-env --allow-read examples/import_rooms.ts <file>");
  }
  const client = createClient({ baseUrl: env.SLOTKEEPER_URL ?? "http://127.0.0.1:8000", token: env.SLOTKEEPER_TOKEN });
  const [header, ...rows] = (await Deno.readTextFile(file)).trim().split(/\r?\n/);
  if (header !== columns.join(",")) throw new Error(`${file} does not begin with ${columns.join(",")}`);

  const names = new Set<string>();
  // `active: false` lists deactivated rooms as well.
  for await (const { name } of client.items("/api/v1/bookings/rooms", { query: { active: false } })) names.add(name);

  let exitCode = 0;
  for (const [index, row] of rows.entries()) {
    const [name = ""] = row.split(",", 1);
    try {
      console.log(`${name}: ${names.has(name) ? "exists" : await createRoom(client, row)}`);
      names.add(name);
    } catch (failure) {
      const fault = faultOfRow(failure);
      if (fault === undefined) throw failure;
      console.error(`${file}:${index + 2}: ${fault}`);
      exitCode = 1;
    }
  }
  return exitCode;
}

if (import.meta.main) {
  const exitCode = await main(Deno.args, Deno.env.toObject()).catch((error: Error) => {
    console.error(error.message);
    return 1;
  });
  Deno.exit(exitCode);
}
