/** Statements that Kysely compiles once and runs with new values each time. See the guide on decisions. */
import type { CompiledQuery, Kysely } from "kysely";
import type { Database } from "./connect.ts";
import { runStatement } from "./driver.ts";
import type { RunOptions } from "./statement_pool.ts";

/** A query of Kysely's builders, or a text of its `sql`. */
export interface Buildable<Row> {
  compile(db: Kysely<Database>): CompiledQuery<Row>;
}

type Build<Values, Row> = (db: Kysely<Database>, values: Values) => Buildable<Row>;

/** Runs a statement with these values and returns its rows. */
export type Prepared<Values, Row> = (db: Kysely<Database>, values: Values) => Promise<Row[]>;

/** Replaces a value while the statement is compiled. */
class Placeholder {
  constructor(readonly name: PropertyKey) {}
}

/** Returns a placeholder for every property. */
const placeholders = new Proxy({}, { get: (_, name) => new Placeholder(name) });

/**
 * Returns a function that runs the statement of `build` and returns its rows.
 *
 * `build` is called once, with placeholders as values. It must pass them on unchanged, so the form of the statement cannot
 * depend on a value.
 */
export function prepared<Values extends object, Row>(
  build: Build<Values, Row>,
  options: RunOptions = {},
): Prepared<Values, Row> {
  let statement: CompiledQuery<Row> | undefined;
  return (db, values) => {
    // `build` only passes values on, so a placeholder may have the type of its value.
    statement ??= build(db, placeholders as Values).compile(db);
    return run(db, statement, { values, options });
  };
}

/**
 * Like {@link prepared}, but the form of the statement may depend on which values are undefined. `build` is called once for
 * each set of defined values, and gets undefined for the others.
 */
export function preparedFilter<Values extends object, Row>(build: Build<Values, Row>): Prepared<Values, Row> {
  const statements = new Map<string, CompiledQuery<Row>>();
  return (db, values) => {
    let key = "";
    for (const [name, value] of Object.entries(values)) if (value !== undefined) key += `${name} `;
    let statement = statements.get(key);
    if (statement === undefined) {
      const defined = key.trimEnd().split(" ").map((name) => [name, new Placeholder(name)]);
      statement = build(db, Object.fromEntries(defined)).compile(db);
      statements.set(key, statement);
    }
    return run(db, statement, { values });
  };
}

function run<Row>(
  db: Kysely<Database>,
  statement: CompiledQuery<Row>,
  { values, options = {} }: { values: object; options?: RunOptions },
): Promise<Row[]> {
  const parameters = statement.parameters.map((each) =>
    each instanceof Placeholder ? Reflect.get(values, each.name) : each
  );
  return runStatement(db, { ...statement, parameters }, options);
}
