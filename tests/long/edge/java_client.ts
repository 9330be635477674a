/** Java's HttpClient, as Java programs use it by default. Needs the package default-jre-headless of Debian. */
import { join } from "node:path";

/** Compiled from `Post.java` by `javac --release 11 -g:none`, because a runtime of Java has no compiler. */
const postClass =
  // deno-fmt-ignore
  "yv66vgAAADcAewoAAgADBwAEDAAFAAYBABBqYXZhL2xhbmcvT2JqZWN0AQAGPGluaXQ+AQADKClWCgAIAAkHAAoMAAsADAEADGphdmEvbmV0L1VSSQEABmNyZWF0ZQEAIihMamF2YS9sYW5nL1N0cmluZzspTGphdmEvbmV0L1VSSTsKAA4ADwcAEAwAEQASAQAZamF2YS9uZXQvaHR0cC9IdHRwUmVxdWVzdAEACm5ld0J1aWxkZXIBADMoTGphdmEvbmV0L1VSSTspTGphdmEvbmV0L2h0dHAvSHR0cFJlcXVlc3QkQnVpbGRlcjsIABQBAAxDb250ZW50LVR5cGUIABYBABBhcHBsaWNhdGlvbi9qc29uCwAYABkHABoMABsAHAEAIWphdmEvbmV0L2h0dHAvSHR0cFJlcXVlc3QkQnVpbGRlcgEABmhlYWRlcgEASShMamF2YS9sYW5nL1N0cmluZztMamF2YS9sYW5nL1N0cmluZzspTGphdmEvbmV0L2h0dHAvSHR0cFJlcXVlc3QkQnVpbGRlcjsIAB4BAA1BdXRob3JpemF0aW9uEgAAACAMACEAIgEAF21ha2VDb25jYXRXaXRoQ29uc3RhbnRzAQAmKExqYXZhL2xhbmcvU3RyaW5nOylMamF2YS9sYW5nL1N0cmluZzsKACQAJQcAJgwAJwAoAQAoamF2YS9uZXQvaHR0cC9IdHRwUmVxdWVzdCRCb2R5UHVibGlzaGVycwEACG9mU3RyaW5nAQA9KExqYXZhL2xhbmcvU3RyaW5nOylMamF2YS9uZXQvaHR0cC9IdHRwUmVxdWVzdCRCb2R5UHVibGlzaGVyOwsAGAAqDAArACwBAARQT1NUAQBOKExqYXZhL25ldC9odHRwL0h0dHBSZXF1ZXN0JEJvZHlQdWJsaXNoZXI7KUxqYXZhL25ldC9odHRwL0h0dHBSZXF1ZXN0JEJ1aWxkZXI7CwAYAC4MAC8AMAEABWJ1aWxkAQAdKClMamF2YS9uZXQvaHR0cC9IdHRwUmVxdWVzdDsKADIAMwcANAwANQA2AQAYamF2YS9uZXQvaHR0cC9IdHRwQ2xpZW50AQANbmV3SHR0cENsaWVudAEAHCgpTGphdmEvbmV0L2h0dHAvSHR0cENsaWVudDsKADgAOQcAOgwAJwA7AQAnamF2YS9uZXQvaHR0cC9IdHRwUmVzcG9uc2UkQm9keUhhbmRsZXJzAQAqKClMamF2YS9uZXQvaHR0cC9IdHRwUmVzcG9uc2UkQm9keUhhbmRsZXI7CgAyAD0MAD4APwEABHNlbmQBAGEoTGphdmEvbmV0L2h0dHAvSHR0cFJlcXVlc3Q7TGphdmEvbmV0L2h0dHAvSHR0cFJlc3BvbnNlJEJvZHlIYW5kbGVyOylMamF2YS9uZXQvaHR0cC9IdHRwUmVzcG9uc2U7CQBBAEIHAEMMAEQARQEAEGphdmEvbGFuZy9TeXN0ZW0BAANvdXQBABVMamF2YS9pby9QcmludFN0cmVhbTsLAEcASAcASQwASgBLAQAaamF2YS9uZXQvaHR0cC9IdHRwUmVzcG9uc2UBAApzdGF0dXNDb2RlAQADKClJCgBNAE4HAE8MAFAAUQEAE2phdmEvaW8vUHJpbnRTdHJlYW0BAAdwcmludGxuAQAEKEkpVgsARwBTDABUAFUBAARib2R5AQAUKClMamF2YS9sYW5nL09iamVjdDsHAFcBABBqYXZhL2xhbmcvU3RyaW5nCgBNAFkMAFAAWgEAFShMamF2YS9sYW5nL1N0cmluZzspVgcAXAEABFBvc3QBAARDb2RlAQAEbWFpbgEAFihbTGphdmEvbGFuZy9TdHJpbmc7KVYBAApFeGNlcHRpb25zBwBiAQATamF2YS9sYW5nL0V4Y2VwdGlvbgEAEEJvb3RzdHJhcE1ldGhvZHMPBgBlCgBmAGcHAGgMACEAaQEAJGphdmEvbGFuZy9pbnZva2UvU3RyaW5nQ29uY2F0RmFjdG9yeQEAmChMamF2YS9sYW5nL2ludm9rZS9NZXRob2RIYW5kbGVzJExvb2t1cDtMamF2YS9sYW5nL1N0cmluZztMamF2YS9sYW5nL2ludm9rZS9NZXRob2RUeXBlO0xqYXZhL2xhbmcvU3RyaW5nO1tMamF2YS9sYW5nL09iamVjdDspTGphdmEvbGFuZy9pbnZva2UvQ2FsbFNpdGU7CABrAQAIQmVhcmVyIAEBAAxJbm5lckNsYXNzZXMBAAdCdWlsZGVyAQAOQm9keVB1Ymxpc2hlcnMHAHABACdqYXZhL25ldC9odHRwL0h0dHBSZXF1ZXN0JEJvZHlQdWJsaXNoZXIBAA1Cb2R5UHVibGlzaGVyAQAMQm9keUhhbmRsZXJzBwB0AQAmamF2YS9uZXQvaHR0cC9IdHRwUmVzcG9uc2UkQm9keUhhbmRsZXIBAAtCb2R5SGFuZGxlcgcAdwEAJWphdmEvbGFuZy9pbnZva2UvTWV0aG9kSGFuZGxlcyRMb29rdXAHAHkBAB5qYXZhL2xhbmcvaW52b2tlL01ldGhvZEhhbmRsZXMBAAZMb29rdXAAIABbAAIAAAAAAAIAAAAFAAYAAQBdAAAAEQABAAEAAAAFKrcAAbEAAAAAAAkAXgBfAAIAXQAAAGUABAADAAAAWSoDMrgAB7gADRITEhW5ABcDABIdKgQyugAfAAC5ABcDACoFMrgAI7kAKQIAuQAtAQBMuAAxK7gAN7YAPE2yAEAsuQBGAQC2AEyyAEAsuQBSAQDAAFa2AFixAAAAAABgAAAABAABAGEAAgBjAAAACAABAGQAAQBqAGwAAAAyAAYAGAAOAG0GCQAkAA4AbgAJAG8ADgBxBgkAOABHAHIACQBzAEcAdQYJAHYAeAB6ABk=";

const hasJava: boolean = await new Deno.Command("java", { args: ["-version"], stdout: "null", stderr: "null" }).output()
  .then(({ success }) => success, () => false);

/** The test is skipped without Java, except in CI. */
export const isSkipped: boolean = !hasJava && !Deno.env.get("CI");
if (isSkipped) console.log("java not found. Install default-jre-headless to test Java's client.");

/** Sends a POST of JSON with Java's HttpClient. Fails if it gets no answer. */
export async function postWithJava(
  url: string,
  { token, body }: { token: string; body: unknown },
): Promise<{ status: number; text: string }> {
  const folder = await Deno.makeTempDir({ prefix: "slotkeeper_java_" });
  try {
    await Deno.writeFile(join(folder, "Post.class"), Uint8Array.fromBase64(postClass));
    const args = ["-Xshare:auto", "-cp", folder, "Post", url, token, JSON.stringify(body)];
    const { success, stdout, stderr } = await new Deno.Command("java", { args }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    const [status = "", ...lines] = new TextDecoder().decode(stdout).split("\n");
    return { status: Number(status), text: lines.join("\n") };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
