/**
 * Imports `graphile-worker` without reads outside the working directory. On import the package looks for a configuration
 * file in every folder up to the home directory. Production has no permission to read these. So the working directory
 * replaces the home directory during the import.
 */
import os from "node:os";

const { homedir } = os;
os.homedir = () => Deno.cwd();
const loaded = await import("graphile-worker").finally(() => os.homedir = homedir);

export const { Logger, runMigrations, runTaskListOnce } = loaded;
