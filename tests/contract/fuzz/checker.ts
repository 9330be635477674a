/** Validates answers by the contract, independently of the server: Ajv on the YAML, without generated code. */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { child, type ContractOperation, type Json, type JsonObject, object } from "../document.ts";
import type { Answerer } from "./requests.ts";
import type { Answer } from "./send.ts";

const problemType = "application/problem+json";
/** Refusals of the app for requests without an operation. */
const ownRefusals: Record<string, number> = { route_not_found: 404, method_not_allowed: 405 };
/** With these, or by closing the connection, Deno refuses unreadable HTTP. The app does not see such a request. */
const httpRefusals = [0, 400, 414, 431, 505];
/** The declaration of one status of an operation. */
interface Declared {
  headers: { name: string; isRequired: boolean; schema: string }[];
  /** By media type: the pointer to the schema and the codes of problems. Empty without a body. */
  media: Map<string, { schema: string; codes: string[] }>;
}

export class AnswerChecker {
  private readonly ajv = new Ajv2020({ strict: true, strictTypes: true, allowUnionTypes: true });
  private readonly validators = new Map<string, ValidateFunction>();
  private readonly declared = new Map<string, Declared | undefined>();

  constructor(private readonly contract: JsonObject) {
    // Deno and TypeScript see different default exports of a CommonJS module.
    (addFormats as unknown as (ajv: Ajv2020) => void)(this.ajv);
    // Ajv checks that one member of a `oneOf` fits, without the discriminator.
    // Only the server checks `x-decimals`.
    this.ajv.addVocabulary(["discriminator", "x-decimals"]);
    // For Ajv the whole document is a schema.
    this.ajv.addVocabulary(Object.keys(contract));
    this.ajv.addSchema(contract, "openapi.yaml", false, false);
  }

  /** The fault of an answer to `method`, or undefined. Any of `answerers` may have answered. */
  faultOf(method: string, answerers: Answerer[], answer: Answer): string | undefined {
    const faults = answerers.map((answerer) => this.faultFrom(method, answerer, answer));
    return faults.includes(undefined) ? undefined : faults[0];
  }

  private faultFrom(method: string, answerer: Answerer, answer: Answer): string | undefined {
    const { status, headers, body } = answer;
    const requestId = headers.get("X-Request-Id");
    if (answerer === "http") {
      if (httpRefusals.includes(status) && requestId === null && body.length === 0) return undefined;
      return `${status} is no refusal of the runtime`;
    }
    if (status >= 500) return `${status}: the server failed`;
    if (requestId === null) return `${status} without X-Request-Id`;
    // No operation declares this status.
    if (status === 405 && !headers.has("Allow")) return "405 without Allow";
    const declared = typeof answerer === "string" ? this.ownRefusal(answerer, status) : this.find(answerer, status);
    if (declared === undefined) {
      return `${status} is not declared${typeof answerer === "string" ? `, ${answerer} was expected` : ""}`;
    }
    return this.faultInHeaders(declared, headers) ?? this.faultInBody(method, declared, answer);
  }

  /** A refusal of the app: the contract does not have the path, or not with this method. */
  private ownRefusal(code: string, status: number): Declared | undefined {
    if (ownRefusals[code] !== status) return undefined;
    return { headers: [], media: new Map([[problemType, { schema: "#/components/schemas/Problem", codes: [code] }]]) };
  }

  private find(operation: Pick<ContractOperation, "path" | "method">, status: number): Declared | undefined {
    const pointer = at("#/paths", operation.path, operation.method.toLowerCase(), "responses", String(status));
    if (!this.declared.has(pointer)) this.declared.set(pointer, this.read(pointer));
    return this.declared.get(pointer);
  }

  private read(written: string): Declared | undefined {
    const { pointer, node: response } = this.followed(written);
    if (response === undefined) return undefined;
    const headers = Object.keys(object(child(response, "headers") ?? {})).map((name) => {
      const header = this.followed(at(pointer, "headers", name));
      return { name, isRequired: child(header.node, "required") === true, schema: at(header.pointer, "schema") };
    });
    const media = Object.entries(object(child(response, "content") ?? {})).map(([type, value]) => {
      const codes = Object.keys(object(child(value, "examples") ?? {}));
      // Followed, so that each schema is compiled once, not once per response.
      return [type, { schema: this.followed(at(pointer, "content", type, "schema")).pointer, codes }] as const;
    });
    return { headers, media: new Map(media) };
  }

  /** The node at `pointer`, or at its `$ref`. */
  private followed(pointer: string): { pointer: string; node: Json | undefined } {
    const node = pointer.slice("#/".length).split("/")
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce<Json | undefined>((within, key) => child(within, key), this.contract);
    const reference = child(node, "$ref");
    return typeof reference === "string" ? this.followed(reference) : { pointer, node };
  }

  private faultInHeaders({ headers: declared }: Declared, headers: Headers): string | undefined {
    for (const { name, isRequired, schema } of declared) {
      const text = headers.get(name);
      if (text === null && isRequired) return `the header ${name} is missing`;
      if (text === null) continue;
      const fits = (value: unknown): boolean => this.validator(schema)(value);
      // A header is text. Only its schema says that it is a number.
      if (!fits(text) && (text.trim() === "" || !fits(Number(text)))) return `the header ${name} is ${text}`;
    }
    return undefined;
  }

  private faultInBody(method: string, { media }: Declared, answer: Answer): string | undefined {
    const { status, headers, body } = answer;
    if (media.size === 0) return body.length === 0 ? undefined : "a body where the contract has none";
    const type = headers.get("Content-Type");
    const content = media.get(type ?? "");
    if (content === undefined || (type === problemType) !== (status >= 400)) return `Content-Type is ${type}`;
    if (method === "HEAD") return body.length === 0 ? undefined : "HEAD has a body";
    const json = parsed(body);
    if (json === undefined) return "the body is not JSON in UTF-8";
    const validate = this.validator(content.schema);
    if (validate(json)) return status >= 400 ? problemFault(object(json), content.codes, answer) : undefined;
    const [error] = validate.errors ?? [];
    return `the body breaks its schema: ${error?.instancePath} ${error?.message}`;
  }

  private validator(pointer: string): ValidateFunction {
    const known = this.validators.get(pointer);
    if (known !== undefined) return known;
    const validate = this.ajv.compile({ $ref: `openapi.yaml${pointer}` });
    this.validators.set(pointer, validate);
    return validate;
  }
}

/** A JSON pointer below `pointer` (RFC 6901). */
function at(pointer: string, ...parts: string[]): string {
  return [pointer, ...parts.map((part) => part.replaceAll("~", "~0").replaceAll("/", "~1"))].join("/");
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The JSON in `body`, or undefined if it is not JSON in UTF-8. */
export function parsed(body: Uint8Array): Json | undefined {
  try {
    return JSON.parse(decoder.decode(body));
  } catch {
    return undefined;
  }
}

function problemFault(
  { code, status, requestId, detail, error }: JsonObject,
  codes: string[],
  answer: Answer,
): string | undefined {
  if (status !== answer.status) return `the problem says ${status}, HTTP ${answer.status}`;
  if (!codes.includes(String(code))) return `${code} is not declared for ${status}`;
  // A stored answer has the id of its first request.
  const isReplayed = answer.headers.get("Idempotency-Replayed") === "true";
  if (!isReplayed && requestId !== answer.headers.get("X-Request-Id")) return "requestId and X-Request-Id differ";
  return error === detail ? undefined : "error and detail differ";
}
