/** Prints a token for development: `deno task token --subject alice --role admin --hours 1`. */
import { InvalidArgumentError, Option } from "commander";
import { mintToken } from "../src/auth/tokens.ts";
import { exitAfter } from "../src/boot/exit.ts";
import { withSecret } from "../src/boot/open_database.ts";
import { ConfigError, parseConfig } from "../src/config.ts";
import type { Role } from "../src/contract/caller.ts";
import { version } from "../src/version.ts";
import { AdminCommand } from "./admin/command.ts";
import { UsageError } from "./admin/failures.ts";

interface TokenOptions {
  subject: string;
  role: Role;
  name?: string;
  email?: string;
  hours: number;
}

function text(value: string): string {
  if (value.trim() === "") throw new InvalidArgumentError("must not be empty");
  return value;
}

function positiveNumber(value: string): number {
  if (/^\d{1,9}(\.\d+)?$/.test(value) && Number(value) > 0) return Number(value);
  throw new InvalidArgumentError("must be a number above 0");
}

function parseOptions(): TokenOptions {
  const command = new AdminCommand("deno task token", Deno.args)
    .description("Print a token that this server accepts")
    .version(version, "-V, --version", "Print the version")
    .requiredOption("--subject <text>", "User of the token", text)
    .addOption(new Option("--role <role>", "Rights of the token").choices(["user", "admin"]).default("user"))
    .option("--name <text>", "Name in the profile")
    .option("--email <address>", "Address in the profile")
    .option("--hours <number>", "Time until the token expires", positiveNumber, 24)
    .addHelpText("after", "\nExample:\n  deno task token --subject alice --role admin --hours 1");
  try {
    return command.parse(Deno.args, { from: "user" }).opts<TokenOptions>();
  } catch (failure) {
    if (!(failure instanceof UsageError)) throw failure;
    console.error(`${failure.message.replace(/\.$/, "")}. See deno task token --help`);
    Deno.exit(2);
  }
}

const { hours, ...person } = parseOptions();

await exitAfter(async () => {
  const { auth } = await withSecret(parseConfig(Deno.env.toObject()));
  if (auth.secret === undefined) {
    throw new ConfigError("AUTH_JWKS_URL: only its issuer can mint tokens. Get one there");
  }
  console.log(await mintToken(auth, { ...person, lifetimeSeconds: Math.ceil(hours * 3600) }));
});
