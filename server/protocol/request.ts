/** What an inference request is, and its fields one by one as every door reads them. Not its framing: see `infer-request.ts`. */
import { LorasaError } from "../../src/base/errors.ts";
import { elementCount, formatDims } from "../../src/base/tensor.ts";
import {
  BODY_LIMIT_BYTES,
  ID_LIMIT_CHARACTERS,
  JSON_DEPTH_CHECKED_BYTES,
  JSON_DEPTH_LIMIT,
  RANK_LIMIT,
  TENSOR_LIMIT,
} from "../limits.ts";
import { DATATYPES, type Datatype, isDatatype, type WireTensor } from "./datatypes.ts";

/** The header that says how many bytes of a body are JSON. */
export const HEADER_LENGTH = "inference-header-content-length";

export type ParameterValue = string | number | boolean;

/** Which outputs a reply holds and how each is sent. */
export interface RequestedOutput {
  readonly name: string;
  readonly binary: boolean;
}

export interface InferRequest {
  /** Empty when the client gave none. */
  readonly id: string;
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  readonly inputs: ReadonlyMap<string, WireTensor>;
  /** Absent: every output. */
  readonly outputs?: readonly RequestedOutput[];
  /** How outputs that are not named are sent. */
  readonly binaryDefault: boolean;
}

/** A declared tensor of a model: a size of −1 varies. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
}

export type Json = Readonly<Record<string, unknown>>;

/** The header's value as a number of bytes of the body. */
export function parseHeaderLength(text: string, bodyLength: number): number {
  const length = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (length <= bodyLength) return length;
  throw requestError(
    "Inference-Header-Content-Length",
    `a whole number from 0 to ${bodyLength}, the body's length`,
    text.slice(0, 40),
  );
}

/**
 * JSON text as an object.
 * @throws LORASA_REQUEST.
 */
export function parseJson(text: Buffer): Json {
  checkStructure(text);
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch {
    throw requestError("request body", "JSON", text.length === 0 ? "an empty body" : "text that is not JSON");
  }
  return asObject("request body", value);
}

/** Most arrays and objects of a JSON text: more than a nested tensor of as many rows as are allowed has. */
const JSON_PARTS_LIMIT = 2 ** 20;
/** Most fields of all objects of a JSON text: each name that is new takes a place among all names of the process. */
const JSON_FIELDS_LIMIT = 2 ** 16;

/**
 * Many small arrays, inside or beside each other, and many names cost far more memory and time than their text: counted
 * before they are made.
 */
function checkStructure(text: Buffer): void {
  if (text.length < JSON_DEPTH_CHECKED_BYTES) return;
  let depth = 0;
  let parts = 0;
  let fields = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const byte = text[at]!;
    if (quoted) {
      if (byte === 0x5c) at += 1;
      else if (byte === 0x22) quoted = false;
    } else if (byte === 0x22) quoted = true;
    else if (byte === 0x5b || byte === 0x7b) {
      depth += 1;
      parts += 1;
      if (depth > JSON_DEPTH_LIMIT) {
        throw requestError("request body", `JSON nested at most ${JSON_DEPTH_LIMIT} deep`, "a deeper one");
      }
      if (parts > JSON_PARTS_LIMIT) {
        throw requestError("request body", `at most ${JSON_PARTS_LIMIT} arrays and objects`, "more");
      }
    } else if (byte === 0x5d || byte === 0x7d) depth -= 1;
    else if (byte === 0x3a) {
      fields += 1;
      if (fields > JSON_FIELDS_LIMIT) {
        throw requestError("request body", `at most ${JSON_FIELDS_LIMIT} fields`, "more");
      }
    }
  }
}

/** The `parameters` object of a request: flat, of strings, numbers and booleans. */
export function parseParameters(where: string, value: unknown): Readonly<Record<string, ParameterValue>> {
  if (value === undefined) return {};
  const parameters = asObject(where, value);
  for (const [key, entry] of Object.entries(parameters)) {
    if (typeof entry === "object") {
      throw requestError(`${where}.${key.slice(0, 80)}`, "a string, number or boolean", "another value");
    }
  }
  // Every value was just seen to be a string, number or boolean.
  return parameters as Readonly<Record<string, ParameterValue>>;
}

export function parseId(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "string" && value.length <= ID_LIMIT_CHARACTERS) return value;
  throw requestError("id", `a string of at most ${ID_LIMIT_CHARACTERS} characters`, typeof value);
}

/** Names that other servers keep for themselves. */
export function refuseParameters(parameters: Readonly<Record<string, ParameterValue>>): void {
  for (const key in parameters) {
    if (!key.startsWith("triton_")) continue;
    throw requestError(`parameters.${key.slice(0, 80)}`, "no reserved name", "one that starts triton_");
  }
}

export function parseDatatype(name: string, value: unknown): Datatype {
  if (isDatatype(value)) return value;
  throw new LorasaError("LORASA_DTYPE", {
    asked: `input ${name} datatype`,
    expected: Object.keys(DATATYPES).join(", "),
    received: typeof value === "string" ? value.slice(0, 40) : typeof value,
  });
}

export function parseShape(name: string, value: unknown): readonly number[] {
  const shape = value as readonly number[];
  if (
    Array.isArray(value) &&
    value.length <= RANK_LIMIT &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0)
  ) {
    return shape;
  }
  throw new LorasaError("LORASA_SHAPE", {
    asked: `input ${name} shape`,
    expected: `at most ${RANK_LIMIT} whole numbers, none negative`,
    received: Array.isArray(value)
      ? formatDims(
          value.slice(0, RANK_LIMIT + 1).map((size) => (typeof size === "number" ? size : typeof size)),
        )
      : typeof value,
  });
}

/** Elements of the tensor, refused before memory is taken for them. */
export function checkCount(name: string, datatype: Datatype, shape: readonly number[]): number {
  const count = elementCount(shape);
  if (count * Math.max(1, DATATYPES[datatype].bytes) <= BODY_LIMIT_BYTES) return count;
  throw new LorasaError("LORASA_TOO_LARGE", {
    asked: `input ${name} ${formatDims(shape)}`,
    expected: `at most ${BODY_LIMIT_BYTES} bytes`,
    received: `${count} elements of ${datatype}`,
  });
}

export function parseOutputs(value: unknown, binaryDefault: boolean): RequestedOutput[] | undefined {
  if (value === undefined) return undefined;
  const list = asList("outputs", value);
  if (list.length === 0) return undefined;
  const seen = new Set<string>();
  return list.map((entry, index) => {
    const output = asObject(`outputs[${index}]`, entry);
    const name = asName(`outputs[${index}].name`, output["name"]);
    if (seen.has(name)) throw nameTwice(`output ${name}`);
    seen.add(name);
    const parameters = parseParameters(`output ${name} parameters`, output["parameters"]);
    refuseSharedMemory(`output ${name}`, parameters);
    if (parameters["classification"] !== undefined) {
      throw requestError(`output ${name}`, "no classification", "a request for classes");
    }
    const binary = asFlag(`output ${name} binary_data`, parameters["binary_data"]) ?? binaryDefault;
    return { name, binary };
  });
}

export function refuseSharedMemory(
  asked: string,
  parameters: Readonly<Record<string, ParameterValue>>,
): void {
  if (!Object.keys(parameters).some((key) => key.startsWith("shared_memory"))) return;
  throw requestError(asked, "data in the request", "a shared-memory region");
}

export function asObject(where: string, value: unknown): Json {
  // Any object that is not an array can be read by name; every field is checked where it is read.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw requestError(
    where,
    "an object",
    Array.isArray(value) ? "an array" : `${value === null ? null : typeof value}`,
  );
}

export function asList(where: string, value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) {
    throw requestError(where, "an array", value === undefined ? "nothing" : typeof value);
  }
  if (value.length <= TENSOR_LIMIT) return value;
  throw requestError(where, `at most ${TENSOR_LIMIT} entries`, `${value.length}`);
}

export function asName(where: string, value: unknown): string {
  if (typeof value === "string" && value.length > 0 && value.length <= 256) return value;
  throw requestError(where, "a name of 1 to 256 characters", typeof value);
}

export function asFlag(where: string, value: ParameterValue | undefined): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw requestError(where, "true or false", `${value}`.slice(0, 40));
}

export function nameTwice(asked: string): LorasaError {
  return new LorasaError("LORASA_NAME", { asked, expected: "each name once", received: "it twice" });
}

export function requestError(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked, expected, received });
}
