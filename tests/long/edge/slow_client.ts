/** Clients that take their time, on bare connections. */

export interface Conversation {
  /** What came before the connection ended. */
  text: string;
  /** How long after its beginning the connection ended. */
  ms: number;
}

const encoder = new TextEncoder();

/** Sends `head` and then `drop` every `everyMs`, for as long as the other side listens. */
export async function dripInto(
  port: number,
  { head, drop = "", everyMs = 1_000 }: { head: string; drop?: string; everyMs?: number },
): Promise<Conversation> {
  const start = performance.now();
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  // A connection that was ended refuses what is still written to it; its end is seen below.
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
