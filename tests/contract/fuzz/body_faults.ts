/** Faults of a body: its fields, its JSON, its bytes and its Content-Type. */
import type { Json } from "../document.ts";
import { replaced } from "../faults.ts";
import type { Draft } from "./drafts.ts";
import type { Fault } from "./faults.ts";
import type { Random } from "./random.ts";
import { brokenJson, hugeJson, oddJson, oddTexts } from "./texts.ts";
import { boundaryValue, type Place, placesIn } from "./values.ts";

const sizeLimit = 65_536;
const marker = "replaced by JSON that no value of JavaScript can hold";

const media = ({ operation }: Draft) => operation.requestBody?.content["application/json"];

function places(draft: Draft): Place[] {
  const schema = media(draft)?.schema;
  return draft.value === undefined || schema === undefined ? [] : placesIn(draft.value, schema);
}

/** Returns the body with any JSON at one place. */
function withJson({ value = null }: Draft, at: string[], json: string): string {
  // A function, because `replace` interprets `$&` in a text.
  return JSON.stringify(replaced(value, { at, value: marker })).replace(JSON.stringify(marker), () => json);
}

function objectsIn(draft: Draft): Place[] {
  return places(draft).filter(({ schema }) => [schema.type].flat().includes("object"));
}

function textBytes(draft: Draft): Uint8Array<ArrayBuffer> {
  return typeof draft.body === "string" ? new TextEncoder().encode(draft.body) : draft.body ?? new Uint8Array();
}

/** The text with a byte that is not UTF-8 after the first quotation mark, so in a name or value. */
function withByte(text: string, byte: number): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text.replace('"', '"~'));
  return bytes.map((each) => each === 0x7e ? byte : each);
}

function utf16(text: string, isBigEndian: boolean, hasMark: boolean): Uint8Array<ArrayBuffer> {
  const units = Array.from({ length: text.length }, (_, index) => text.charCodeAt(index));
  const all = hasMark ? [0xfeff, ...units] : units;
  const view = new DataView(new ArrayBuffer(all.length * 2));
  all.forEach((unit, index) => view.setUint16(index * 2, unit, !isBigEndian));
  return new Uint8Array(view.buffer);
}

const mediaTypes: readonly (string | null)[] = [
  ...[null, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"],
  ...["application/jsonp", "application/json-patch+json", "json", "application/*", "application/json, text/plain"],
  ...["application/json; charset=utf-16", "application/json; charset=latin1", "application/json;charset=", ";", "é/ü"],
  ...[
    "APPLICATION/JSON",
    "application/json;;",
    "application/json; charset=utf-8; charset=utf-16",
    " application/json ",
  ],
];

function inBytes(random: Random, text: string): Uint8Array<ArrayBuffer> {
  switch (random.int(0, 4)) {
    case 0:
      return withByte(text, random.pick([0x80, 0xc0, 0xe9, 0xed, 0xf5, 0xfe, 0xff]));
    case 1:
      return utf16(text, random.chance(0.5), random.chance(0.5));
    case 2:
      return new TextEncoder().encode(`\ufeff${text}`);
    case 3:
      return new TextEncoder().encode(text).slice(0, random.int(0, text.length));
    default:
      return Uint8Array.from({ length: random.int(1, 200) }, () => random.int(0, 255));
  }
}

const hasBody = ({ operation }: Draft) => operation.requestBody !== undefined;
const hasObject = (draft: Draft) => objectsIn(draft).length > 0;

/** For an operation without a body. */
export const unaskedBody: Fault = {
  name: "an undeclared body",
  applies: (draft) => !hasBody(draft),
  apply(draft, random) {
    draft.body = random.chance(0.5) ? random.pick(oddJson) : inBytes(random, '{"nonsense":1}');
    const type = random.pick(mediaTypes);
    if (type !== null) draft.headers.push(["Content-Type", type]);
  },
};

export const bodyFaults: Fault[] = [
  {
    name: "a field at its bounds",
    applies: hasBody,
    apply(draft, random) {
      const candidates = places(draft).map(({ at, schema }) => ({ at, value: boundaryValue(random, schema) }))
        .filter(({ value }) => value !== undefined);
      if (candidates.length === 0) return;
      draft.body = JSON.stringify(replaced(draft.value ?? null, random.pick(candidates)));
    },
  },
  {
    name: "a field of another kind",
    applies: hasBody,
    apply(draft, random) {
      draft.body = withJson(draft, random.pick(places(draft)).at, random.pick(oddJson));
    },
  },
  {
    name: "a field of odd text",
    applies: hasBody,
    apply(draft, random) {
      draft.body = withJson(draft, random.pick(places(draft)).at, JSON.stringify(random.pick(oddTexts)));
    },
  },
  {
    name: "a huge field",
    weight: 0.3,
    applies: hasBody,
    apply(draft, random) {
      draft.body = withJson(draft, random.pick(places(draft)).at, random.pick(hugeJson));
    },
  },
  {
    name: "a field left out",
    applies: hasObject,
    apply(draft, random) {
      const { at } = random.pick(objectsIn(draft));
      const object = at.reduce<Json | undefined>((value, name) => Reflect.get(Object(value), name), draft.value);
      const names = Object.keys(Object(object));
      if (names.length === 0) return;
      draft.body = JSON.stringify(
        replaced(draft.value ?? null, { at: [...at, random.pick(names)], value: undefined }),
      );
    },
  },
  {
    name: "an unknown field",
    applies: hasObject,
    apply(draft, random) {
      const { at } = random.pick(objectsIn(draft));
      const name = random.chance(0.02) ? "k".repeat(60_000) : random.pick(oddTexts);
      const json = random.pick(oddJson);
      draft.body = withJson(draft, at, `{${JSON.stringify(name)}:${json}}`);
    },
  },
  {
    name: "a field twice",
    applies: hasObject,
    apply(draft, random) {
      const [first = "nonsense"] = Object.keys(Object(draft.value));
      const again = `${JSON.stringify(first)}:${random.pick(oddJson)}`;
      const text = JSON.stringify(draft.value);
      draft.body = random.chance(0.5) ? text.replace("{", () => `{${again},`) : text.replace(/\}$/, () => `,${again}}`);
    },
  },
  {
    name: "another body",
    applies: hasBody,
    apply(draft, random) {
      draft.body = random.pick(random.chance(0.5) ? brokenJson : oddJson);
    },
  },
  {
    name: "JSON cut off",
    weight: 0.5,
    applies: hasBody,
    apply(draft, random) {
      const text = JSON.stringify(draft.value);
      draft.body = text.slice(0, random.int(0, text.length - 1));
    },
  },
  {
    name: "bytes that are not UTF-8",
    applies: hasBody,
    apply(draft, random) {
      draft.body = inBytes(random, JSON.stringify(draft.value));
    },
  },
  {
    name: "another media type",
    applies: hasBody,
    apply(draft, random) {
      const type = random.pick(mediaTypes);
      const others = draft.headers.filter(([name]) => name !== "Content-Type");
      draft.headers = type === null ? others : [...others, ["Content-Type", type]];
    },
  },
  {
    name: "a Content-Encoding",
    weight: 0.3,
    applies: hasBody,
    apply(draft, random) {
      draft.headers.push(["Content-Encoding", random.pick(["gzip", "br", "identity", "nonsense", ""])]);
    },
  },
  {
    name: "a body around the limit",
    weight: 0.15,
    applies: hasBody,
    apply(draft, random) {
      draft.body = textBytes(draft);
      const padded = new Uint8Array(sizeLimit + random.int(-1, 1)).fill(0x20);
      padded.set(draft.body.slice(0, padded.length));
      draft.body = padded;
    },
  },
  {
    name: "a body in chunks",
    weight: 0.3,
    applies: hasBody,
    apply(draft) {
      draft.isChunked = true;
    },
  },
];
