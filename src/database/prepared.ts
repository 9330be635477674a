/** Statements that Kysely compiles once and runs with new values each time. See the guide on decisions. */
import type { Compilable, CompiledQuery, Kysely } from "kysely";
import type { Database } from "./connect.ts";
import { runStatement } from "./driver.ts";

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
  build: (db: Kysely<Database>, values: Values) => Compilable<Row>,
): (db: Kysely<Database>, values: Values) => Promise<Row[]> {
  let statement: CompiledQuery<Row> | undefined;
  return (db, values) => {
    // `build` only passes values on, so a placeholder may have the type of its value.
    statement ??= build(db, placeholders as Values).compile();
    const parameters = statement.parameters.map((each) =>
      each instanceof Placeholder ? Reflect.get(values, each.name) : each
    );
    return runStatement(db, statement, parameters);
  };
}
