/** The header of a safetensors file: its JSON, with every rule on names and offsets checked. Not the tensors' bytes. */
import { LorasaError } from "../base/errors.ts";
import { DTYPES, type DType, elementCount, formatDims } from "../base/tensor.ts";

/** Names of element types in the file, for those that lorasa holds. */
export const FILE_DTYPES = {
  float32: "F32",
  float64: "F64",
  int32: "I32",
  int64: "I64",
  bool: "BOOL",
  uint8: "U8",
  float16: "F16",
} as const satisfies Record<DType, string>;

const DTYPE_OF = new Map<string, DType>(
  (Object.keys(FILE_DTYPES) as DType[]).map((dtype) => [FILE_DTYPES[dtype], dtype]),
);

/** Types of the format that are refused by name rather than as unknown. */
const OTHER_DTYPES = new Set(
  "I8 I16 U16 U32 U64 BF16 C64 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ F4 F6_E2M3 F6_E3M2".split(" "),
);

/** One tensor: `begin` and `end` are bytes from the start of the data area. */
export interface HeaderEntry {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  /** In the order of their bytes. */
  readonly entries: readonly HeaderEntry[];
  readonly metadata: Record<string, string>;
}

/** Most axes of a tensor: as many as NumPy has. */
const MAX_AXES = 64;
/** Deepest nesting that a header has: tensor, then its shape. */
const MAX_DEPTH = 3;

/**
 * Parses the header's text and checks it against a data area of `dataBytes` bytes.
 * @param what name of the file for messages.
 * @throws LORASA_FILE naming the tensor and the rule that it breaks; LORASA_DTYPE for a type that is not held.
 */
export function parseHeader(text: string, dataBytes: number, what: string): Header {
  const root = parseObject(text, what);
  scanJson(text, `${what}, header`);
  const entries: HeaderEntry[] = [];
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(root)) {
    if (name === "__metadata__") metadata = parseMetadata(value, what);
    else entries.push(parseEntry(name, value, what));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  checkCoverage(entries, dataBytes, what);
  return { entries, metadata };
}

function parseObject(text: string, what: string): Record<string, unknown> {
  try {
    // The text starts with `{`, so what parses is an object.
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw broken(`${what}, header`, "JSON", (cause as Error).message);
  }
}

function parseMetadata(value: unknown, what: string): Record<string, string> {
  const pairs = isObject(value) ? Object.entries(value) : undefined;
  if (!pairs?.every(([, text]) => typeof text === "string")) {
    throw broken(`${what}, __metadata__`, "an object of strings", JSON.stringify(value).slice(0, 80));
  }
  return Object.fromEntries(pairs as [string, string][]);
}

function parseEntry(name: string, value: unknown, what: string): HeaderEntry {
  const asked = `${what}, tensor ${quoted(name)}`;
  if (!isObject(value)) throw broken(asked, "an object with dtype, shape and data_offsets", typeof value);
  const dims = value["shape"];
  if (!isSizes(dims)) throw broken(`${asked}, shape`, "whole sizes of 0 to 2^53", show(dims));
  if (dims.length > MAX_AXES) throw broken(`${asked}, shape`, `at most ${MAX_AXES} axes`, `${dims.length}`);
  const offsets = value["data_offsets"];
  if (!isSizes(offsets) || offsets.length !== 2) {
    throw broken(`${asked}, data_offsets`, "[begin, end] of 0 to 2^53", show(offsets));
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw broken(`${asked}, data_offsets`, "begin ≤ end", show(offsets));
  const dtype = parseDtype(value["dtype"], asked);
  const bytes = byteCount(dtype, dims, asked);
  if (end - begin !== bytes) {
    throw broken(asked, `${bytes} bytes for ${dtype} ${formatDims(dims)}`, `${end - begin}`);
  }
  return { name, dtype, dims, begin, end };
}

function parseDtype(value: unknown, asked: string): DType {
  const dtype = typeof value === "string" ? DTYPE_OF.get(value) : undefined;
  if (dtype !== undefined) return dtype;
  const expected = [...DTYPE_OF.keys()].join(", ");
  if (typeof value !== "string" || !OTHER_DTYPES.has(value))
    throw broken(`${asked}, dtype`, expected, show(value));
  throw new LorasaError("LORASA_DTYPE", { asked, expected, received: value, mend: "convert it to F32" });
}

function byteCount(dtype: DType, dims: readonly number[], asked: string): number {
  try {
    return elementCount([...dims, DTYPES[dtype].bytes]);
  } catch {
    throw broken(asked, "a size below 2^53 bytes", formatDims(dims));
  }
}

/** Tensors in the order of their bytes must follow one another from 0 to the end: no hole, no overlap. */
function checkCoverage(entries: readonly HeaderEntry[], dataBytes: number, what: string): void {
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at) {
      const fault = begin < at ? "an overlap" : "a hole";
      throw broken(`${what}, tensor ${quoted(name)}`, `data from byte ${at}`, `byte ${begin} (${fault})`);
    }
    if (end > dataBytes) {
      throw broken(
        `${what}, tensor ${quoted(name)}`,
        `data within ${dataBytes} bytes`,
        `an end at ${end} (the file is truncated or its header wrong)`,
      );
    }
    at = end;
  }
  if (at !== dataBytes) throw broken(what, `${at} bytes of data`, `${dataBytes} (bytes that no tensor owns)`);
}

/**
 * Refuses what JSON.parse lets pass: a key that is named twice in one object (it keeps the last), a number
 * that is not written as a plain whole one, and deep nesting. The text is known to be JSON.
 */
function scanJson(text: string, asked: string): void {
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at]!;
    if (character === '"') {
      const end = stringEnd(text, at);
      if (isKey(text, end)) noteKey(open.at(-1), text.slice(at, end), asked);
      at = end - 1;
    } else if (character === "{" || character === "[") {
      if (open.push(character === "{" ? new Set() : null) > MAX_DEPTH) {
        throw broken(asked, `nesting of at most ${MAX_DEPTH}`, "deeper");
      }
    } else if (character === "}" || character === "]") open.pop();
    else if (/[-+.eE]/.test(character) && /[0-9]/.test(text[at + 1]! + text[at - 1]!)) {
      throw broken(asked, "whole numbers that are not negative", text.slice(Math.max(0, at - 20), at + 20));
    }
  }
}

/** Index after the closing quote of the string that opens at `at`. */
function stringEnd(text: string, at: number): number {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end + 1;
}

function isKey(text: string, end: number): boolean {
  let at = end;
  while (/[ \t\r\n]/.test(text[at] ?? "")) at++;
  return text[at] === ":";
}

/** Escapes are resolved, so that two spellings of one key are the same key. */
function noteKey(keys: Set<string> | null | undefined, token: string, asked: string): void {
  const name = JSON.parse(token) as string;
  if (keys?.has(name)) throw broken(asked, "every key once", `${quoted(name)} twice`);
  keys?.add(name);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** A name from a file, cut for a message of one line. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name);
}

function show(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 80);
}

function broken(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_FILE", { asked, expected, received });
}
