/**
 * Parses an inference request of the Open Inference Protocol v2: JSON, JSON followed by binary tensors, or the
 * bare bytes of one input. Which tensors a model wants is not decided here.
 *
 * A client sends the same JSON before its tensors again and again: what it says is remembered by its text.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { elementCount, formatDims } from "../../src/base/tensor.ts";
import { HEAD_MEMORY_BYTES, HEAD_MEMORY_LIMIT, JSON_LIMIT_BYTES } from "../limits.ts";
import { readBinaryData } from "./binary-data.ts";
import { DATATYPES, type Datatype, type WireTensor } from "./datatypes.ts";
import { readJsonData } from "./json-data.ts";
import {
  asFlag,
  asList,
  asName,
  asObject,
  checkCount,
  type InferRequest,
  type Json,
  nameTwice,
  type ParameterValue,
  parseDatatype,
  parseHeaderLength,
  parseId,
  parseJson,
  parseOutputs,
  parseParameters,
  parseShape,
  refuseParameters,
  refuseSharedMemory,
  requestError,
  type TensorMetadata,
} from "./request.ts";

/** What the JSON of a request says of an input: its data, or how many of the bytes behind the JSON are its own. */
interface DescribedInput {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly count: number;
  readonly data: unknown;
  readonly bytes: number | undefined;
}

/** The JSON of a request. */
interface RequestHead extends Omit<InferRequest, "inputs"> {
  readonly inputs: readonly DescribedInput[];
}

const remembered = new Map<string, RequestHead>();

/**
 * @param headerLength value of `Inference-Header-Content-Length`, if sent; `0` makes the body the bytes of `inputs[0]`.
 * @param inputs the model's declared inputs, for that raw form only.
 * @param jsonLimitBytes of the JSON.
 * @throws LORASA_REQUEST, LORASA_NAME, LORASA_SHAPE, LORASA_DTYPE, LORASA_RANGE or LORASA_TOO_LARGE.
 */
export function parseInferRequest(
  body: Buffer,
  headerLength: string | undefined,
  inputs: readonly TensorMetadata[],
  jsonLimitBytes = JSON_LIMIT_BYTES,
): InferRequest {
  const length = headerLength === undefined ? body.length : parseHeaderLength(headerLength, body.length);
  if (length === 0 && headerLength !== undefined) return fromRaw(body, inputs);
  if (length > jsonLimitBytes) throw tooMuchJson(length, jsonLimitBytes);
  if (length === body.length) return readTensors(parseHead(body), body, length);
  if (length > HEAD_MEMORY_BYTES) return readTensors(parseHead(body.subarray(0, length)), body, length);
  return readTensors(recallHead(body, length), body, length);
}

/** By its text; all are forgotten when there are too many, so that what never comes again cannot pile up. */
function recallHead(body: Buffer, length: number): RequestHead {
  const text = body.toString("latin1", 0, length);
  const known = remembered.get(text);
  if (known) return known;
  const head = parseHead(body.subarray(0, length));
  if (head.id === "" && head.inputs.every(({ bytes }) => bytes !== undefined)) {
    if (remembered.size >= HEAD_MEMORY_LIMIT) remembered.clear();
    remembered.set(text, head);
  }
  return head;
}

function parseHead(text: Buffer): RequestHead {
  const request = parseJson(text);
  const parameters = parseParameters("parameters", request["parameters"]);
  refuseParameters(parameters);
  const binaryDefault = asFlag("parameters.binary_data_output", parameters["binary_data_output"]) ?? false;
  const outputs = parseOutputs(request["outputs"], binaryDefault);
  return {
    id: parseId(request["id"]),
    parameters,
    inputs: describeInputs(request["inputs"]),
    ...(outputs && { outputs }),
    binaryDefault,
  };
}

function describeInputs(value: unknown): DescribedInput[] {
  const seen = new Set<string>();
  return asList("inputs", value).map((entry, index) => {
    const input = asObject(`inputs[${index}]`, entry);
    const name = asName(`inputs[${index}].name`, input["name"]);
    if (seen.has(name)) throw nameTwice(`input ${name}`);
    seen.add(name);
    return describeInput(name, input);
  });
}

function describeInput(name: string, input: Json): DescribedInput {
  const datatype = parseDatatype(name, input["datatype"]);
  const shape = parseShape(name, input["shape"]);
  const count = checkCount(name, datatype, shape);
  const parameters = parseParameters(`input ${name} parameters`, input["parameters"]);
  refuseSharedMemory(`input ${name}`, parameters);
  const size = parameters["binary_data_size"];
  const data = input["data"];
  if (size === undefined) return { name, datatype, shape, count, data, bytes: undefined };
  if (data !== undefined) throw requestError(`input ${name}`, "data or binary_data_size", "both");
  return { name, datatype, shape, count, data, bytes: parseSize(name, size) };
}

function parseSize(name: string, size: ParameterValue): number {
  if (typeof size === "number" && Number.isSafeInteger(size) && size >= 0) return size;
  throw requestError(`input ${name} binary_data_size`, "a whole number of bytes", `${size}`.slice(0, 40));
}

/** The request with its tensors: those that are not JSON lie behind it, in order and without anything between. */
function readTensors(head: RequestHead, body: Buffer, jsonLength: number): InferRequest {
  const inputs = new Map<string, WireTensor>();
  let at = jsonLength;
  for (const { name, datatype, shape, count, data, bytes } of head.inputs) {
    if (bytes === undefined) {
      inputs.set(name, readJsonData(name, datatype, shape, count, data));
      continue;
    }
    const end = at + bytes;
    if (end > body.length) throw tooFewBytes(name, bytes, body.length - at);
    inputs.set(name, readBinaryData(name, datatype, shape, count, body.subarray(at, end)));
    at = end;
  }
  if (at === body.length) return { ...head, inputs };
  throw requestError(
    "binary data",
    `${at - jsonLength} bytes after the JSON`,
    `${body.length - jsonLength}: unexpected additional input data`,
  );
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

function tooFewBytes(name: string, size: number, left: number): LorasaError {
  return requestError(
    `input ${name} binary_data_size`,
    `a whole number of at most ${left} bytes that are left in the body`,
    `${size}`,
  );
}

function tooMuchJson(length: number, limit: number): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: "JSON of the request",
    expected: `at most ${limit} bytes`,
    received: `${length}`,
    mend: "send tensors as binary data",
  });
}
