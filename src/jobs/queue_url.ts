/**
 * `DATABASE_URL` for node-postgres, on which the queue of jobs runs. Its options are those of postgres.js, of which only the
 * one for TLS means something here; `require` is then as in libpq, which does not look at the certificate's issuer.
 */
export function queueUrl(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  const tls = url.searchParams.get("ssl") ?? url.searchParams.get("sslmode");
  url.search = "";
  if (tls !== null) {
    url.searchParams.set("sslmode", tls === "true" ? "verify-full" : tls);
    url.searchParams.set("uselibpqcompat", "true");
  }
  return url.href;
}
