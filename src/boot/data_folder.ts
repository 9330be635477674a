/** The folder of the embedded Postgres and of its secrets: checked before anything is started. */
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { ConfigError } from "../config.ts";

/** Bytes that must be free. A new database takes 40 MiB, and Postgres adds 16 MiB at a time. */
const leastFree = { forNew: 100 * 2 ** 20, forExisting: 16 * 2 ** 20 };

/**
 * Creates the folder if it is missing.
 *
 * @throws {ConfigError} if this process cannot use the folder.
 */
export async function makeDataFolder(dataDir: string): Promise<void> {
  if ((await Deno.permissions.query({ name: "write", path: dataDir })).state !== "granted") {
    throw new ConfigError(
      "DATABASE_URL: set it, because this server may not write files and cannot start a Postgres of its own",
    );
  }
  await explainFolder(dataDir, () => Deno.mkdir(dataDir, { recursive: true }));
}

/** @throws {ConfigError} if this process cannot write in the folder, or Postgres has too little space. */
export async function assertFitsPostgres(dataDir: string): Promise<void> {
  await explainFolder(dataDir, async () => {
    const trial = await Deno.makeTempFile({ dir: dataDir, prefix: "trial_" });
    try {
      await Deno.writeTextFile(trial, "x".repeat(4_096));
    } finally {
      await Deno.remove(trial);
    }
  });
  const isNew = await Deno.stat(`${dataDir}/postgres`).then(() => false, () => true);
  const { bavail, bsize } = await statfs(dataDir);
  const [free, least] = [bavail * bsize, isNew ? leastFree.forNew : leastFree.forExisting];
  if (free < least) throw fullDisk(dataDir, `has ${inMebibytes(free)} free, and Postgres needs ${inMebibytes(least)}`);
}

const inMebibytes = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;

function fullDisk(dataDir: string, state: string): ConfigError {
  return new ConfigError(
    `DATA_DIR: the disk of ${resolve(dataDir)} ${state}. Free some space, or choose another folder.`,
  );
}

/** Runs `use`. A failure of the file system becomes a {@link ConfigError} that says what is wrong with the folder. */
export async function explainFolder<Result>(dataDir: string, use: () => Promise<Result>): Promise<Result> {
  try {
    return await use();
  } catch (failure) {
    throw await folderFault(dataDir, failure) ?? failure;
  }
}

async function folderFault(dataDir: string, failure: unknown): Promise<ConfigError | undefined> {
  if (!(failure instanceof Error)) return undefined;
  const folder = resolve(dataDir);
  const because = (reason: string) => new ConfigError(`DATA_DIR: ${reason}. Choose another folder.`);
  if (failure instanceof Deno.errors.NotCapable) {
    return because(`${folder} is a place of the system, which Deno protects`);
  }
  // Failures of the system end with the path.
  const path = resolve(/'(.+)'$/.exec(failure.message)?.[1] ?? folder);
  switch ("code" in failure ? failure.code : undefined) {
    case "EEXIST":
    case "ENOTDIR":
      return because(`${await fileAbove(folder)} is not a folder`);
    case "EACCES":
    case "EPERM": {
      const owner = await ownerOf(path);
      const advice = `Start as the user that owns it${owner}, change its rights, or choose another folder.`;
      return new ConfigError(`DATA_DIR: this user (${Deno.uid() ?? "unknown"}) may not use ${path}. ${advice}`);
    }
    case "ENOSPC":
    case "EDQUOT":
      return fullDisk(folder, "is full");
    case "EROFS":
      return because(`${folder} is on a disk that is read-only`);
    case "ENOENT":
    case "ELOOP":
    case "ENAMETOOLONG":
    case "EISDIR":
    case "EIO":
    case "EINVAL":
      return because(`${path} cannot be used: ${failure.message}`);
    default:
      return undefined;
  }
}

/** The nearest path, from `path` upwards, that exists and is not a folder. */
async function fileAbove(path: string): Promise<string> {
  for (let each = path; dirname(each) !== each; each = dirname(each)) {
    const found = await Deno.stat(each).catch(() => undefined);
    if (found?.isDirectory === false) return each;
  }
  return path;
}

/** ` (0)`: the user of a path, or of the nearest folder above it. Empty if it cannot be read. */
async function ownerOf(path: string): Promise<string> {
  for (let each = path; dirname(each) !== each; each = dirname(each)) {
    const found = await Deno.stat(each).catch(() => undefined);
    if (found?.uid !== undefined && found.uid !== null) return ` (${found.uid})`;
  }
  return "";
}
