/**
 * Reads `ModelInferRequest` of gRPC into the engine's request, field by field, so that every limit holds before memory
 * is taken. Which tensors a model wants is not decided here.
 */
import type { Reader } from "protobufjs";
import { LorasaError } from "../../src/base/errors.ts";
import { RANK_LIMIT, TENSOR_LIMIT } from "../limits.ts";
import { readBinaryData } from "../protocol/binary-data.ts";
import { DATATYPES, isDatatype, type WireTensor } from "../protocol/datatypes.ts";
import {
  asName,
  checkCount,
  type InferRequest,
  nameTwice,
  type ParameterValue,
  parseId,
  parseOutputs,
  parseShape,
  refuseParameters,
  refuseSharedMemory,
} from "../protocol/request.ts";
import { readContents } from "./contents.ts";
import { eachPacked, readBytes, readFields, readInt64, readSize, readUint64, tagOf, WIRE } from "./wire.ts";

/** A request and whom it asks. */
export interface AddressedRequest {
  readonly model: string;
  /** Absent: the newest. */
  readonly version?: string;
  readonly request: InferRequest;
}

type Parameters = Readonly<Record<string, ParameterValue>>;

/** Entries of a `parameters` map in the order of the message. */
type Entries = [name: string, value: ParameterValue][];

interface InputParts {
  name: string;
  datatype: string;
  readonly shape: number[];
  readonly parameters: Entries;
  contents: Buffer | undefined;
}

interface OutputParts {
  name: string;
  readonly parameters: Entries;
}

interface RequestParts {
  model: string;
  version: string;
  id: string;
  readonly parameters: Entries;
  readonly inputs: InputParts[];
  readonly outputs: OutputParts[];
  readonly raw: Buffer[];
}

/** Most entries of a `parameters` map, and of each list of tensors. */
const ENTRY_LIMIT = TENSOR_LIMIT;

/** Asks models of many answers to say which is the last; C++ clients set it in every request. Here each is the last. */
const EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response";

const NO_BYTES = Buffer.alloc(0);

const REQUEST_ID = tagOf(3, WIRE.delimited);
const OUTPUT = { name: tagOf(1, WIRE.delimited), parameters: tagOf(2, WIRE.delimited) };
const MAP_ENTRY = { key: tagOf(1, WIRE.delimited), value: tagOf(2, WIRE.delimited) };
const PARAMETER = {
  bool: tagOf(1, WIRE.varint),
  int64: tagOf(2, WIRE.varint),
  string: tagOf(3, WIRE.delimited),
  double: tagOf(4, WIRE.eight),
  uint64: tagOf(5, WIRE.varint),
};

/**
 * @param bytes an encoded `ModelInferRequest`; the tensors may be views of it.
 * @throws LORASA_REQUEST, LORASA_NAME, LORASA_SHAPE, LORASA_DTYPE, LORASA_RANGE or LORASA_TOO_LARGE.
 */
export function readInferRequest(bytes: Buffer): AddressedRequest {
  const parts = readParts(bytes);
  const parameters = toParameters(parts.parameters.filter(([name]) => name !== EMPTY_FINAL_RESPONSE));
  refuseParameters(parameters);
  const outputs = parseOutputs(parts.outputs.map(toOutput), true);
  return {
    model: asName("model_name", parts.model),
    ...(parts.version !== "" && { version: parseVersion(parts.version) }),
    request: {
      id: parseId(parts.id),
      parameters,
      inputs: readInputs(parts),
      ...(outputs && { outputs }),
      binaryDefault: true,
    },
  };
}

/** The `id` of a request that may be wrong in every other way; empty when it cannot be read. */
export function readRequestId(bytes: Buffer): string {
  let id = "";
  try {
    readFields(bytes, (tag, reader) => {
      if (tag !== REQUEST_ID) return false;
      id = parseId(reader.string());
      return true;
    });
  } catch {
    return "";
  }
  return id;
}

/** A model's version as the protocol has it: digits. */
export function parseVersion(text: string): string {
  if (/^\d{1,18}$/.test(text)) return text;
  throw requestError("model_version", "a whole number", JSON.stringify(text.slice(0, 40)));
}

function readParts(bytes: Buffer): RequestParts {
  const parts: RequestParts = {
    model: "",
    version: "",
    id: "",
    parameters: [],
    inputs: [],
    outputs: [],
    raw: [],
  };
  readFields(bytes, (tag, reader) => (tag & 7) === WIRE.delimited && readPart(parts, tag >>> 3, reader));
  return parts;
}

function readPart(parts: RequestParts, number: number, reader: Reader): boolean {
  if (number === 1) parts.model = reader.string();
  else if (number === 2) parts.version = reader.string();
  else if (number === 3) parts.id = reader.string();
  else if (number === 4) append("parameters", parts.parameters, readEntry(readBytes(reader)));
  else if (number === 5) append("inputs", parts.inputs, readInput(readBytes(reader)));
  else if (number === 6) append("outputs", parts.outputs, readOutput(readBytes(reader)));
  else if (number === 7) append("raw_input_contents", parts.raw, readBytes(reader));
  else return false;
  return true;
}

/** Empty entries take two bytes of a message and much more of memory, so lists are bounded while they are read. */
function append<T>(what: string, list: T[], entry: T): void {
  if (list.length === ENTRY_LIMIT) throw requestError(what, `at most ${ENTRY_LIMIT} entries`, "more");
  list.push(entry);
}

function readInput(bytes: Buffer): InputParts {
  const input: InputParts = {
    name: "",
    datatype: "",
    shape: [],
    parameters: [],
    contents: undefined,
  };
  readFields(bytes, (tag, reader) => {
    const number = tag >>> 3;
    if (number === 3) return readShape(input.shape, tag & 7, reader);
    if ((tag & 7) !== WIRE.delimited) return false;
    if (number === 1) input.name = reader.string();
    else if (number === 2) input.datatype = reader.string();
    else if (number === 4) append("parameters", input.parameters, readEntry(readBytes(reader)));
    else if (number === 5 && input.contents !== undefined) throw requestError("contents", "one", "two");
    else if (number === 5) input.contents = readBytes(reader);
    else return false;
    return true;
  });
  return input;
}

/** Packed or not. One axis beyond the limit is kept, for the check that refuses it. */
function readShape(shape: number[], wire: number, reader: Reader): boolean {
  const take = (size: number): void => {
    if (shape.length <= RANK_LIMIT) shape.push(size);
  };
  if (wire === WIRE.varint) take(readSize(reader));
  else if (wire === WIRE.delimited) eachPacked(reader, (packed) => take(readSize(packed)));
  else return false;
  return true;
}

function readOutput(bytes: Buffer): OutputParts {
  const output: OutputParts = { name: "", parameters: [] };
  readFields(bytes, (tag, reader) => {
    if (tag === OUTPUT.name) output.name = reader.string();
    else if (tag === OUTPUT.parameters) {
      append("parameters", output.parameters, readEntry(readBytes(reader)));
    } else return false;
    return true;
  });
  return output;
}

/** One entry of a `parameters` map. */
function readEntry(bytes: Buffer): Entries[number] {
  let name = "";
  let value: ParameterValue | undefined;
  readFields(bytes, (tag, reader) => {
    if (tag === MAP_ENTRY.key) name = reader.string();
    else if (tag === MAP_ENTRY.value) value = readParameter(readBytes(reader));
    else return false;
    return true;
  });
  if (value !== undefined) return [name, value];
  throw requestError(`parameter ${name.slice(0, 80)}`, "a string, number or boolean", "nothing");
}

/** A value of `InferParameter`; undefined when it holds none. 64-bit integers beyond 2^53 are texts of digits. */
function readParameter(bytes: Buffer): ParameterValue | undefined {
  let value: ParameterValue | undefined;
  readFields(bytes, (tag, reader) => {
    if (tag === PARAMETER.bool) value = reader.bool();
    else if (tag === PARAMETER.int64) value = safeNumber(readInt64(reader));
    else if (tag === PARAMETER.string) value = reader.string();
    else if (tag === PARAMETER.double) value = reader.double();
    else if (tag === PARAMETER.uint64) value = safeNumber(readUint64(reader));
    else return false;
    return true;
  });
  return value;
}

function safeNumber(value: bigint): number | string {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : `${value}`;
}

/** The last of a name wins, as protobuf has it; a name such as __proto__ is a name like any other. */
function toParameters(entries: Entries): Parameters {
  return Object.fromEntries(entries);
}

function toOutput({ name, parameters }: OutputParts): object {
  return { name, parameters: toParameters(parameters) };
}

function readInputs({ inputs, raw }: RequestParts): Map<string, WireTensor> {
  if (raw.length > 0 && raw.length !== inputs.length) {
    throw requestError("raw_input_contents", `one for each of ${inputs.length} inputs`, `${raw.length}`);
  }
  const tensors = new Map<string, WireTensor>();
  for (const [index, input] of inputs.entries()) {
    const name = asName(`inputs[${index}].name`, input.name);
    if (tensors.has(name)) throw nameTwice(`input ${name}`);
    tensors.set(name, readTensor(name, input, raw[index]));
  }
  return tensors;
}

function readTensor(name: string, input: InputParts, raw: Buffer | undefined): WireTensor {
  const { datatype, contents } = input;
  if (!isDatatype(datatype)) {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `input ${name} datatype`,
      expected: Object.keys(DATATYPES).join(", "),
      received: JSON.stringify(datatype.slice(0, 40)),
    });
  }
  const shape = parseShape(name, input.shape);
  const count = checkCount(name, datatype, shape);
  refuseSharedMemory(`input ${name}`, toParameters(input.parameters));
  if (raw === undefined) return readContents(name, datatype, shape, count, contents ?? NO_BYTES);
  // Clients that set no contents may still send the empty message.
  if (contents !== undefined && contents.length > 0) {
    throw requestError(`input ${name}`, "contents or raw_input_contents", "both");
  }
  return readBinaryData(name, datatype, shape, count, raw);
}

function requestError(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked, expected, received });
}
