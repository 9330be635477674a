/** Row types of the migrated database, for Kysely. */
import { sql } from "kysely";
import { migrate } from "../../src/boot/migrate.ts";
import { connect } from "../../src/database/connect.ts";
import { startTemporaryPostgres } from "../temporary_postgres.ts";

/** The type that postgres.js returns for each column type, and accepts (see `src/database/connect.ts`). */
const columnTypes: Record<string, string> = {
  bool: "boolean",
  bytea: "Uint8Array",
  int4: "number",
  int8: "number",
  numeric: "ColumnType<string, string | number, string | number>",
  text: "string",
  timestamptz: "ColumnType<string, Date, Date>",
  uuid: "string",
  xid8: "string",
};

/** The type of each json or jsonb column. postgres.js parses and serializes them, so queries pass values, never text. */
const jsonColumns: Record<string, string> = {
  "api_keys.scopes": "string[]",
  "audit_log.after": "Record<string, unknown> | null",
  "audit_log.before": "Record<string, unknown> | null",
  "booking_events.data": "Record<string, unknown>",
  "bookings.cancellation_tiers": "{ hours: number; percent: number }[]",
  "idempotency_keys.result": "object | null",
  "rooms.metadata": "Record<string, unknown>",
};

/** Types of enums that cannot have their own name, because the contract has another type with it. */
const enumTypes: Record<string, string> = { booking_event_type: "StoredEventType" };

const pascalCase = (name: string): string => name.replaceAll(/(?:^|_)([a-z])/g, (_, letter) => letter.toUpperCase());

const enumType = (name: string): string => enumTypes[name] ?? pascalCase(name);

/** Returns the TypeScript of `generated/database.d.ts`, read from a new Postgres after every migration. */
export async function generateDatabaseTypes(): Promise<string> {
  await using server = await startTemporaryPostgres();
  await migrate(server.url("postgres"));
  const db = connect({ url: server.url("postgres"), pool: 1 });
  try {
    const enums = await sql<{ name: string; labels: string[] }>`
      select t.typname as name, json_agg(e.enumlabel order by e.enumsortorder) as labels
      from pg_type t join pg_enum e on e.enumtypid = t.oid group by t.typname order by t.typname
    `.execute(db);
    const types = { ...columnTypes, ...Object.fromEntries(enums.rows.map(({ name }) => [name, enumType(name)])) };

    const tables = (await db.introspection.getTables()).filter(({ schema }) => schema === "public").sort((a, b) =>
      a.name < b.name ? -1 : 1
    );
    const interfaces = tables.map(({ name, columns }) => {
      const fields = columns.map((column) => {
        const json = jsonColumns[`${name}.${column.name}`];
        const type = json === undefined ? types[column.dataType] : `ColumnType<${[json, json, json].join(", ")}>`;
        if (type === undefined) {
          throw new Error(`${name}.${column.name} is ${column.dataType}; add its type to columnTypes`);
        }
        const nullable = column.isNullable ? `${type} | null` : type;
        const generated = column.isAutoIncrementing || column.hasDefaultValue;
        // The second type of a ColumnType is the one for inserts.
        const optional = nullable.startsWith("ColumnType<")
          ? nullable.replace(/, (.+), /, ", $1 | undefined, ")
          : `Generated<${nullable}>`;
        return `${column.name}: ${generated ? optional : nullable};`;
      });
      return `export interface ${pascalCase(name)} { ${fields.join("\n")} }\n`;
    });
    return `import type { ColumnType, Generated } from "kysely";

      ${
      enums.rows.map(({ name, labels }) =>
        `export type ${enumType(name)} = ${labels.map((l) => `"${l}"`).join(" | ")};`
      ).join("\n")
    }

      ${interfaces.join("\n")}
      export interface DB { ${tables.map(({ name }) => `${name}: ${pascalCase(name)};`).join("\n")} }
    `;
  } finally {
    await db.destroy();
  }
}
