/** The contract as JSON. The reference has its own, filled in so that its requests succeed. */
import { codeSamples } from "../../generated/code_samples.ts";
import openapiYaml from "../../openapi.yaml" with { type: "text" };
import { guidesSection, guidesUrl } from "./guides.ts";

/** Address of the server in the samples. */
const sampleUrl = "http://127.0.0.1:8000";

/** The examples of the contract are about this week, which starts on a Monday. */
const exampleMonday = Temporal.PlainDate.from("2026-03-02");

/** Values that work in the sandbox now, by operation. Other examples are those of the contract. */
export type TrialValues = Record<string, {
  parameters?: Record<string, unknown>;
  /** Fields of the body. */
  body?: Record<string, unknown>;
}>;

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  example?: unknown;
  schema: Record<string, unknown>;
}

interface Operation {
  operationId: string;
  description: string;
  parameters?: (Parameter | { $ref: string })[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  security: Record<string, string[]>[];
  "x-codeSamples"?: { lang: string; label: string; source: string }[];
}

interface Contract {
  info: { description: string };
  externalDocs?: unknown;
  /** For operations without their own, and what the reference shows first. */
  security?: Record<string, string[]>[];
  paths: Record<string, Record<string, Operation>>;
  components: { parameters: Record<string, Parameter>; securitySchemes: Record<string, { description: string }> };
}

/** Made at the first request: parsing the YAML takes longer than the rest of a start. */
let served: string | undefined;

/** Returns the contract as JSON, each operation with its sample, and links to the guides. */
export async function contractJson(publicUrl: string): Promise<string> {
  served ??= await readContract();
  // URL encodes quotes, which would end a JSON string. A function ignores `$` in the address.
  const url = new URL(publicUrl).href.replace(/\/$/, "");
  return served.replaceAll(sampleUrl, () => url);
}

async function readContract(): Promise<string> {
  const { parse } = await import("yaml");
  const contract: Contract = parse(openapiYaml);
  contract.info.description += await guidesSection();
  contract.externalDocs = { url: guidesUrl, description: "Guides" };
  const sources = new Map(Object.entries(codeSamples));
  for (const operation of operationsOf(contract)) {
    const source = sources.get(operation.operationId);
    if (source !== undefined) operation["x-codeSamples"] = [{ lang: "typescript", label: "SDK", source }];
  }
  return JSON.stringify(contract);
}

/** Operations whose requests cannot succeed from a page, and the reason. */
const notes: Record<string, string> = {
  openSocket: "\n\n**Test Request** gets 426 `upgrade_required`, because a page cannot send a handshake as a request.",
  receivePaymentEvent: "\n\n**Test Request** gets 400 `webhook_invalid`, because only the provider can sign an event.",
};

/** The security scheme of the reference for operations of admins, with a token of its own. */
export const adminScheme = "adminBearer";

export interface ReferenceOptions {
  publicUrl: string;
  now: Date;
  values: TrialValues;
  /** Whether the operations of admins get {@link adminScheme}. */
  hasAdminToken: boolean;
}

/**
 * Returns the contract for the reference, whose form sends every value that it knows. So optional parameters have no
 * value, and dates are in the next weeks.
 */
export async function referenceJson({ publicUrl, now, values, hasAdminToken }: ReferenceOptions): Promise<string> {
  const contract: Contract = JSON.parse(await contractJson(publicUrl));
  contract.info.description +=
    "\n## The contract as a file\n\n[openapi.yaml](/openapi.yaml), [openapi.json](/openapi.json)\n";
  const { parameters, securitySchemes } = contract.components;
  const { bearer } = securitySchemes;
  if (hasAdminToken && bearer !== undefined) {
    securitySchemes[adminScheme] = { ...bearer, description: "The admin token of the sandbox." };
    contract.security = [{ bearer: [] }, { [adminScheme]: [] }];
  }
  const weeks = weeksAfter(now);
  for (const operation of operationsOf(contract)) {
    operation.description += notes[operation.operationId] ?? "";
    const { parameters: own = {}, body = {} } = values[operation.operationId] ?? {};
    operation.parameters = operation.parameters?.map((parameter) => {
      const known = "$ref" in parameter ? parameters[parameter.$ref.split("/").at(-1) ?? ""] : parameter;
      return known === undefined ? parameter : fillIn(known, own, weeks);
    }) ?? [];
    for (const media of Object.values(operation.requestBody?.content ?? {})) {
      media.example = { ...Object(moved(media.example, weeks)), ...body };
    }
    for (const sample of operation["x-codeSamples"] ?? []) sample.source = moveDates(sample.source, weeks);
    if (hasAdminToken) operation.security = operation.security.map(withAdminScheme);
  }
  return JSON.stringify(contract);
}

function operationsOf({ paths }: Contract): Operation[] {
  return Object.values(paths).flatMap((path) => Object.values(path));
}

function fillIn(parameter: Parameter, own: Record<string, unknown>, weeks: number): Parameter {
  const { name, example, schema } = parameter;
  if (parameter.required !== true) {
    // The form sends an example, a default, or the first value of an enum. It finds none inside of `allOf`.
    const { example: _unsent, ...rest } = parameter;
    return { ...rest, schema: { allOf: [schema] } };
  }
  return { ...parameter, example: name in own ? own[name] : moved(example, weeks) };
}

function withAdminScheme(requirement: Record<string, string[]>): Record<string, string[]> {
  const { bearer } = requirement;
  return bearer?.includes("admin") === true ? { [adminScheme]: bearer } : requirement;
}

/** Returns by how many weeks the examples move. They keep their weekdays, and 9 March becomes next Monday. */
function weeksAfter(now: Date): number {
  const today = now.toTemporalInstant().toZonedDateTimeISO("UTC").toPlainDate();
  return Math.floor(exampleMonday.until(today, { largestUnit: "day" }).days / 7);
}

/** Moves every date in an example. */
function moved(example: unknown, weeks: number): unknown {
  if (typeof example === "string") return moveDates(example, weeks);
  if (Array.isArray(example)) return example.map((part) => moved(part, weeks));
  if (typeof example !== "object" || example === null) return example;
  return Object.fromEntries(Object.entries(example).map(([name, part]) => [name, moved(part, weeks)]));
}

function moveDates(text: string, weeks: number): string {
  return text.replaceAll(/\b\d{4}-\d{2}-\d{2}\b/g, (date) => Temporal.PlainDate.from(date).add({ weeks }).toString());
}
