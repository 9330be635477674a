/** Checks the database of `DATABASE_URL` before anything is started. */
import postgres from "postgres";
import { ConfigError } from "../config.ts";

/** Milliseconds. Another program at this address may accept the connection and never answer. */
const patienceMs = 10_000;
const oldestVersion = 15;

interface Facts {
  version: number;
  encoding: string;
  isStandby: boolean;
  isEmpty: boolean;
  role: string;
  name: string;
}

/** Rights of the role. An empty database needs all of them. */
interface Rights {
  mayCreateSchemas: boolean;
  /** The schema for tables. Null if there is none that the role may use. */
  schema: string | null;
  mayCreateTables: boolean | null;
  mayHaveExtension: boolean;
}

/** @throws {ConfigError} if the server cannot use the database. */
export async function checkDatabase(url: string): Promise<void> {
  const client = postgres(url, { max: 1, connect_timeout: patienceMs / 1_000, backoff: () => 0, fetch_types: false });
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${patienceMs / 1_000} seconds`)), patienceMs);
  try {
    const fault = await Promise.race([findFault(client), late.promise]);
    if (fault !== undefined) throw new ConfigError(`DATABASE_URL: ${fault}`);
  } catch (failure) {
    throw databaseFault(failure, url) ?? failure;
  } finally {
    clearTimeout(timer);
    // A connection to another program never ends in order.
    void client.end({ timeout: 1 }).catch(() => {});
  }
}

/** Returns what is wrong with a database that answers, as a sentence and the way out. */
async function findFault(client: postgres.Sql): Promise<string | undefined> {
  const [facts] = await client<[Facts]>`
    select current_setting('server_version_num')::int / 10000 as version,
      pg_encoding_to_char(encoding) as encoding,
      pg_is_in_recovery() as "isStandby",
      to_regclass('kysely_migration') is null as "isEmpty",
      current_user as role,
      datname as name
    from pg_database where datname = current_database()`;
  const { version, encoding, isStandby, isEmpty, role, name } = facts;
  if (version < oldestVersion) return `Postgres ${version} is too old. Use Postgres ${oldestVersion} or later.`;
  if (encoding !== "UTF8") {
    return `the database ${name} has the encoding ${encoding}. Create it with: createdb --encoding UTF8 --template template0`;
  }
  if (isStandby) return "this Postgres is a standby, which cannot be written. Use the address of the primary.";
  return isEmpty ? await findMissingRight(client, { role, name }) : undefined;
}

async function findMissingRight(
  client: postgres.Sql,
  { role, name }: Pick<Facts, "role" | "name">,
): Promise<string | undefined> {
  const [{ mayCreateSchemas, schema, mayCreateTables, mayHaveExtension }] = await client<[Rights]>`
    select has_database_privilege(current_database(), 'create') as "mayCreateSchemas",
      current_schema() as schema,
      has_schema_privilege(current_schema(), 'create') as "mayCreateTables",
      exists (select from pg_extension where extname = 'btree_gist') or exists (
        select from pg_available_extension_versions, pg_roles
        where name = 'btree_gist' and rolname = current_user and (trusted or rolsuper)
      ) as "mayHaveExtension"`;
  if (!mayCreateSchemas) {
    return `the role ${role} may not create schemas. Run as an admin: grant create on database "${name}" to "${role}"`;
  }
  if (mayCreateTables !== true) {
    const place = `"${schema ?? "public"}"`;
    return `the role ${role} may not create tables in the schema ${place}. ` +
      `Run as an admin in this database: grant usage, create on schema ${place} to "${role}"`;
  }
  if (!mayHaveExtension) {
    return `the extension btree_gist is missing, and the role ${role} may not create it. ` +
      "Install the extensions of Postgres, and run as an admin in this database: create extension btree_gist";
  }
  return undefined;
}

/** Returns what to do about a database that cannot be reached or refuses this server, or undefined for other failures. */
export function databaseFault(failure: unknown, url: string): ConfigError | undefined {
  if (failure instanceof ConfigError || !(failure instanceof Error)) return undefined;
  const { hostname, port, pathname, username } = new URL(url);
  const [server, name] = [`${hostname || "localhost"}:${port || 5432}`, decodeURIComponent(pathname.slice(1))];
  const fault = (sentence: string) => new ConfigError(`DATABASE_URL: ${sentence}`);
  const { message } = failure;
  switch ("code" in failure ? failure.code : undefined) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return fault(`the host ${hostname} cannot be found (${message}). Correct its name.`);
    case "ECONNREFUSED":
    case "EHOSTUNREACH":
    case "ENETUNREACH":
    case "ETIMEDOUT":
    case "CONNECT_TIMEOUT":
      return fault(`Postgres at ${server} cannot be reached (${message}). Start it, or correct the host and the port.`);
    case "ECONNRESET":
    case "CONNECTION_CLOSED":
      return fault(`${server} ended the connection (${message}). It is another program, or a Postgres without TLS.`);
    case "28P01":
    case "28000":
      return fault(
        `Postgres at ${server} refused the user ${decodeURIComponent(username)} (${message}). ` +
          "Correct the user or the password, or its rule in pg_hba.conf.",
      );
    case "3D000":
      return fault(
        `Postgres at ${server} has no database ${name || username}. Create it (createdb), or correct its name.`,
      );
    case "42501":
      return fault(`the role lacks a right (${message}). Grant it, or use the role that owns the tables.`);
    case "42704":
      return fault(`Postgres does not know an option in the URL (${message}). Remove it.`);
    case "53300":
      return fault(
        `Postgres at ${server} has no connection left (${message}). Raise max_connections, or use fewer servers.`,
      );
    case "57P03":
      return fault(`Postgres at ${server} is not ready (${message}). Try again in a moment.`);
    case "25006":
      return fault(`this Postgres cannot be written (${message}). Use the address of the primary.`);
    default:
  }
  if (message.startsWith("no answer within")) {
    return fault(`${server} gave ${message}. It is another program, or an overloaded Postgres.`);
  }
  if (/certificate|self.signed|SSL|TLS/i.test(message)) {
    return fault(`the certificate of ${server} is refused (${message}). Correct sslmode, or trust its issuer.`);
  }
  return undefined;
}
