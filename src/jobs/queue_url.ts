/**
 * Converts `DATABASE_URL` for node-postgres, which the job queue uses. Its options are those of postgres.js. Only the
 * option for TLS applies here.
 *
 * `require` works as in libpq: it does not check the certificate's issuer. The option `prefer` means TLS if the server
 * supports it. Because node-postgres has no such option, this function connects once with TLS. It throws if that fails for
 * another reason.
 */
export async function queueUrl(databaseUrl: string): Promise<string> {
  const tls = tlsOf(databaseUrl);
  if (tls !== "prefer") return withTls(databaseUrl, tls);
  const encrypted = withTls(databaseUrl, "require");
  const { default: pg } = await import("pg");
  const client = new pg.Client({ connectionString: encrypted, connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
    return encrypted;
  } catch (failure) {
    if (!(failure instanceof Error && failure.message.includes("does not support SSL"))) throw failure;
    return withTls(databaseUrl, "disable");
  } finally {
    await client.end();
  }
}

type Tls = "disable" | "prefer" | "require" | "verify-full";

function tlsOf(databaseUrl: string): Tls {
  const { searchParams } = new URL(databaseUrl);
  const mode = searchParams.get("sslmode") ?? searchParams.get("ssl") ?? "disable";
  switch (mode) {
    case "disable":
    case "false":
    case "":
      return "disable";
    case "prefer":
      return "prefer";
    // postgres.js treats both alike.
    case "allow":
    case "require":
      return "require";
    default:
      return "verify-full";
  }
}

function withTls(databaseUrl: string, tls: Tls): string {
  const url = new URL(databaseUrl);
  url.search = "";
  if (tls !== "disable") {
    url.searchParams.set("sslmode", tls);
    url.searchParams.set("uselibpqcompat", "true");
  }
  return url.href;
}
