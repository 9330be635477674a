/** Prints a token for development: `deno task token --subject alice --role admin --hours 1`. */
import { parseArgs } from "node:util";
import { mintToken } from "../src/auth/tokens.ts";
import { exitAfter } from "../src/boot/exit.ts";
import { withSecret } from "../src/boot/open_database.ts";
import { ConfigError, parseConfig } from "../src/config.ts";

const usage = "deno task token --subject alice [--role user|admin] [--name Alice] [--email a@example.com] [--hours 24]";

function refuse(why: string): never {
  console.error(`${why}\nUsage: ${usage}`);
  Deno.exit(2);
}

function options() {
  try {
    const text = { type: "string" } as const;
    const { values } = parseArgs({
      args: Deno.args,
      options: { subject: text, role: text, name: text, email: text, hours: text },
    });
    return values;
  } catch (failure) {
    return refuse(failure instanceof Error ? failure.message : String(failure));
  }
}

const { subject, role = "user", name, email, hours = "24" } = options();
if (subject === undefined || subject === "") refuse("--subject is required.");
if (role !== "user" && role !== "admin") refuse("--role must be user or admin.");
if (!(Number(hours) > 0 && Number.isFinite(Number(hours)))) refuse("--hours must be a positive number.");

await exitAfter(async () => {
  const { auth } = await withSecret(parseConfig(Deno.env.toObject()));
  if (auth.secret === undefined) {
    throw new ConfigError("AUTH_JWKS_URL: only its issuer can mint tokens. Get one there");
  }
  const person = { ...(name === undefined ? {} : { name }), ...(email === undefined ? {} : { email }) };
  const lifetimeSeconds = Math.ceil(Number(hours) * 3600);
  console.log(await mintToken(auth, { subject, role, ...person, lifetimeSeconds }));
});
