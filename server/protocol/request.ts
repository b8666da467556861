/**
 * Parses an inference request of the Open Inference Protocol v2: JSON, JSON followed by binary tensors, or the
 * bare bytes of one input. Which tensors a model wants is not decided here.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { elementCount, formatDims } from "../../src/base/tensor.ts";
import { BODY_LIMIT_BYTES, ID_LIMIT_CHARACTERS, RANK_LIMIT, TENSOR_LIMIT } from "../limits.ts";
import { readBinaryData } from "./binary-data.ts";
import { DATATYPES, type Datatype, isDatatype, type WireTensor } from "./datatypes.ts";
import { readJsonData } from "./json-data.ts";

/** The header that says how many bytes of a body are JSON. */
export const HEADER_LENGTH = "inference-header-content-length";

export type ParameterValue = string | number | boolean;

/** Which outputs a reply holds and how each is sent. */
interface RequestedOutput {
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

type Json = Readonly<Record<string, unknown>>;

/**
 * @param headerLength value of {@link HEADER_LENGTH}, if sent; `0` makes the body the bytes of `inputs[0]`.
 * @param inputs the model's declared inputs, for that raw form only.
 * @throws LORASA_REQUEST, LORASA_NAME, LORASA_SHAPE, LORASA_DTYPE, LORASA_RANGE or LORASA_TOO_LARGE.
 */
export function parseInferRequest(
  body: Buffer,
  headerLength: string | undefined,
  inputs: readonly TensorMetadata[],
): InferRequest {
  if (headerLength === undefined) return fromJson(parseJson(body), Buffer.alloc(0));
  const length = parseHeaderLength(headerLength, body.length);
  if (length === 0) return fromRaw(body, inputs);
  return fromJson(parseJson(body.subarray(0, length)), body.subarray(length));
}

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
  let value: unknown;
  try {
    value = JSON.parse(text.toString("utf8"));
  } catch {
    throw requestError("request body", "JSON", text.length === 0 ? "an empty body" : "text that is not JSON");
  }
  return asObject("request body", value);
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

function fromJson(request: Json, binary: Buffer): InferRequest {
  const parameters = parseParameters("parameters", request["parameters"]);
  refuseParameters(parameters);
  const binaryDefault = asFlag("parameters.binary_data_output", parameters["binary_data_output"]) ?? false;
  const outputs = parseOutputs(request["outputs"], binaryDefault);
  return {
    id: parseId(request["id"]),
    parameters,
    inputs: parseInputs(request["inputs"], binary),
    ...(outputs && { outputs }),
    binaryDefault,
  };
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

function parseInputs(value: unknown, binary: Buffer): Map<string, WireTensor> {
  const inputs = new Map<string, WireTensor>();
  let at = 0;
  for (const [index, entry] of asList("inputs", value).entries()) {
    const where = `inputs[${index}]`;
    const input = asObject(where, entry);
    const name = asName(`${where}.name`, input["name"]);
    if (inputs.has(name)) throw nameTwice(`input ${name}`);
    const tensor = parseInput(name, input, binary, at);
    inputs.set(name, tensor.value);
    at = tensor.end;
  }
  if (at === binary.length) return inputs;
  throw requestError(
    "binary data",
    `${at} bytes after the JSON`,
    `${binary.length}: unexpected additional input data`,
  );
}

function parseInput(
  name: string,
  input: Json,
  binary: Buffer,
  at: number,
): { readonly value: WireTensor; readonly end: number } {
  const datatype = input["datatype"];
  if (!isDatatype(datatype)) {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `input ${name} datatype`,
      expected: Object.keys(DATATYPES).join(", "),
      received: typeof datatype === "string" ? datatype.slice(0, 40) : typeof datatype,
    });
  }
  const shape = parseShape(name, input["shape"]);
  const count = checkCount(name, datatype, shape);
  const parameters = parseParameters(`input ${name} parameters`, input["parameters"]);
  refuseSharedMemory(`input ${name}`, parameters);
  const size = parameters["binary_data_size"];
  if (size === undefined) {
    return { value: readJsonData(name, datatype, shape, count, input["data"]), end: at };
  }
  if (input["data"] !== undefined) {
    throw requestError(`input ${name}`, "data or binary_data_size", "both");
  }
  const end = at + checkSize(name, size, binary.length - at);
  return { value: readBinaryData(name, datatype, shape, count, binary.subarray(at, end)), end };
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
    received: Array.isArray(value) ? formatDims(value.slice(0, RANK_LIMIT + 1)) : typeof value,
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

function checkSize(name: string, size: ParameterValue, left: number): number {
  if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0 && size <= left) return size;
  throw requestError(
    `input ${name} binary_data_size`,
    `a whole number of at most ${left} bytes that are left in the body`,
    `${size}`.slice(0, 40),
  );
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

export function refuseSharedMemory(asked: string, parameters: Readonly<Record<string, ParameterValue>>): void {
  if (!Object.keys(parameters).some((key) => key.startsWith("shared_memory"))) return;
  throw requestError(asked, "data in the request", "a shared-memory region");
}

/** The bytes of the model's only input; its one varying size follows from their number. Every output is binary. */
function fromRaw(body: Buffer, inputs: readonly TensorMetadata[]): InferRequest {
  const [input] = inputs;
  const varying = input?.shape.filter((size) => size < 0).length ?? 0;
  if (input === undefined || inputs.length > 1 || varying > 1) {
    throw requestError(
      "raw request (Inference-Header-Content-Length 0)",
      "a model of one input",
      `${inputs.length} inputs: ${inputs.map(({ name }) => name).join(", ")}`,
    );
  }
  const fixed = input.shape.reduce((product, size) => (size < 0 ? product : product * size), 1);
  const unit = fixed * DATATYPES[input.datatype].bytes;
  const size = unit === 0 ? Number.NaN : body.length / unit;
  if (!Number.isInteger(size) || (varying === 0 && size !== 1)) {
    throw new LorasaError("LORASA_SHAPE", {
      asked: `input ${input.name} raw data`,
      expected: `a multiple of ${unit} bytes for ${input.datatype} ${formatDims(input.shape)}`,
      received: `${body.length}`,
    });
  }
  const shape = input.shape.map((axis) => (axis < 0 ? size : axis));
  const tensor = readBinaryData(input.name, input.datatype, shape, elementCount(shape), body);
  return { id: "", parameters: {}, inputs: new Map([[input.name, tensor]]), binaryDefault: true };
}

function asObject(where: string, value: unknown): Json {
  // Any object that is not an array can be read by name; every field is checked where it is read.
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw requestError(
    where,
    "an object",
    Array.isArray(value) ? "an array" : `${value === null ? null : typeof value}`,
  );
}

function asList(where: string, value: unknown): readonly unknown[] {
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

function asFlag(where: string, value: ParameterValue | undefined): boolean | undefined {
  if (value === undefined || typeof value === "boolean") return value;
  throw requestError(where, "true or false", `${value}`.slice(0, 40));
}

export function nameTwice(asked: string): LorasaError {
  return new LorasaError("LORASA_NAME", { asked, expected: "each name once", received: "it twice" });
}

function requestError(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked, expected, received });
}
