/** Migrates the database and prints the migrations. The server does the same at its start. */
import { assertNoArguments } from "../src/boot/arguments.ts";
import { exitAfter } from "../src/boot/exit.ts";
import { migrate } from "../src/boot/migrate.ts";
import { openDatabase } from "../src/boot/open_database.ts";
import { parseConfig } from "../src/config.ts";

assertNoArguments(`Usage: deno task migrate

Migrates the database of DATABASE_URL, or the one in DATA_DIR.`);

await exitAfter(async () => {
  const { url, close } = await openDatabase(parseConfig(Deno.env.toObject(), { serves: false }));
  try {
    const ran = await migrate(url);
    console.log(ran.length === 0 ? "The database is up to date." : `Ran ${ran.join(", ")}.`);
  } finally {
    await close();
  }
});
