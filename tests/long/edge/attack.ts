/**
 * Slow headers in a process of their own: `deno run -A attack.ts <port> <connections>`. Each connection sends a byte of a
 * header every second until the edge closes it. Prints `open` when all have been made or refused, and ends at most
 * 10 seconds later.
 */
const bytes = (text: string) => new TextEncoder().encode(text);
const head = bytes("GET /api/v1/bookings/rooms HTTP/1.1\r\nHost: edge\r\nX-Slow: ");
const drop = bytes("a");

async function holdOut(port: number): Promise<void> {
  let timer: ReturnType<typeof setInterval> | undefined;
  try {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port }).finally(made);
    const send = (data: Uint8Array) => connection.write(data).catch(() => {});
    await send(head);
    timer = setInterval(() => send(drop), 1_000);
    const buffer = new Uint8Array(1_024);
    while (await connection.read(buffer) !== null) { /* The edge may send a 408 first. */ }
  } catch (failure) {
    // The edge refuses or cuts connections.
    if (!(failure instanceof Deno.errors.ConnectionReset)) console.error(failure);
  } finally {
    clearInterval(timer);
  }
}

const [port, count] = Deno.args.map(Number) as [number, number];
let attempts = 0;
function made(): void {
  if (++attempts === count) console.log("open");
}

const all: Promise<void>[] = [];
for (let index = 0; index < count; index++) {
  all.push(holdOut(port));
  // All within two seconds.
  if (index % 100 === 99) await new Promise((turn) => setTimeout(turn, 40));
}
// A connection may get lost on a busy machine.
await Promise.race([Promise.all(all), new Promise((limit) => setTimeout(limit, 10_000))]);
Deno.exit(0);
