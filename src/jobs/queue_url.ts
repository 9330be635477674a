import pg from "pg";

/**
 * `DATABASE_URL` for node-postgres, on which the queue of jobs runs. Its options are those of postgres.js, of which only the
 * one for TLS means something here. `require` is then as in libpq, which does not look at the certificate's issuer. What
 * postgres.js tries with TLS first and then without (`prefer`) is tried here once, since node-postgres does not.
 */
export async function queueUrl(databaseUrl: string): Promise<string> {
  const tls = tlsOf(databaseUrl);
  if (tls !== "prefer") return withTls(databaseUrl, tls);
  const encrypted = withTls(databaseUrl, "require");
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
  const written = searchParams.get("sslmode") ?? searchParams.get("ssl") ?? "disable";
  switch (written) {
    case "disable":
    case "false":
    case "":
      return "disable";
    case "prefer":
      return "prefer";
    // To postgres.js they are the same.
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
