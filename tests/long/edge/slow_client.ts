/** Slow clients on bare TCP connections. */

export interface Conversation {
  /** All text received until the connection ended. */
  text: string;
  /** Lifetime of the connection in ms. */
  ms: number;
}

const encoder = new TextEncoder();

/** Sends `head`, then `drop` every `everyMs`, until the other side closes the connection. */
export async function dripInto(
  port: number,
  { head, drop = "", everyMs = 1_000 }: { head: string; drop?: string; everyMs?: number },
): Promise<Conversation> {
  const start = performance.now();
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  // A closed connection refuses writes. The read below sees its end.
  const send = (text: string) => connection.write(encoder.encode(text)).catch(() => {});
  if (head !== "") await send(head);
  const timer = drop === "" ? undefined : setInterval(() => send(drop), everyMs);
  let text = "";
  try {
    for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) text += chunk;
  } catch (failure) {
    if (!(failure instanceof Deno.errors.ConnectionReset)) throw failure;
  } finally {
    clearInterval(timer);
  }
  return { text, ms: performance.now() - start };
}
