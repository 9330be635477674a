/**
 * The package `graphile-worker`, loaded so that it leaves the disk alone: as it loads it looks for a configuration file in
 * the working directory and in every folder above it up to the home, none of which is ours to read in production. So while
 * it loads, the working directory passes for the home.
 */
import os from "node:os";

const { homedir } = os;
os.homedir = () => Deno.cwd();
const loaded = await import("graphile-worker").finally(() => os.homedir = homedir);

export const { Logger, runMigrations, runTaskListOnce } = loaded;
