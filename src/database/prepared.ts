/** Statements that are put together once and run with other values each time. For long ones that was measured to pay. */
import type { Compilable, CompiledQuery, Kysely } from "kysely";
import type { Database } from "./connect.ts";

/** Stands for a value while the statement is put together. */
class Placeholder {
  constructor(readonly name: PropertyKey) {}
}

/** Gives a placeholder for whatever is asked of it. */
const placeholders = new Proxy({}, { get: (_, name) => new Placeholder(name) });

/**
 * `build` is called once, with placeholders: it must hand the values on as they are, and may not look at them. Dates and
 * numbers, texts and null are alike to it, so what the statement looks like cannot depend on them.
 */
export function prepared<Values extends object, Row>(
  build: (db: Kysely<Database>, values: Values) => Compilable<Row>,
): (db: Kysely<Database>, values: Values) => Promise<Row[]> {
  let statement: CompiledQuery<Row> | undefined;
  return async (db, values) => {
    // A placeholder passes for the value that it stands for, since nobody looks at it.
    statement ??= build(db, placeholders as Values).compile();
    const parameters = statement.parameters.map((each) =>
      each instanceof Placeholder ? Reflect.get(values, each.name) : each
    );
    return (await db.executeQuery<Row>({ ...statement, parameters })).rows;
  };
}
