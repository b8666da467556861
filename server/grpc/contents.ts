/**
 * Typed contents of a gRPC input (`fp32_contents`, `int_contents`, …) as a tensor, every element checked. Not raw
 * contents, which are binary tensor data.
 */
import type { Reader } from "protobufjs";
import { LorasaError } from "../../src/base/errors.ts";
import { formatDims } from "../../src/base/tensor.ts";
import { JSON_LIMIT_BYTES } from "../limits.ts";
import { DATATYPES, type Datatype, WIRE_ARRAYS, type WireTensor } from "../protocol/datatypes.ts";
import { eachPacked, readFields, readInt64, readUint64, WIRE, type Wire } from "./wire.ts";

type Element = number | bigint | string;

interface ContentsField {
  readonly number: number;
  readonly name: string;
  /** Wire type of one element; all but strings may also be packed. */
  readonly wire: Wire;
  /** Fewest bytes that an element takes in the message. */
  readonly least: number;
  readonly read: (reader: Reader) => Element;
}

const BOOL: ContentsField = {
  number: 1,
  name: "bool_contents",
  wire: WIRE.varint,
  least: 1,
  read: (reader) => Number(reader.bool()),
};
const INT: ContentsField = {
  number: 2,
  name: "int_contents",
  wire: WIRE.varint,
  least: 1,
  read: (reader) => reader.int32(),
};
const INT64: ContentsField = {
  number: 3,
  name: "int64_contents",
  wire: WIRE.varint,
  least: 1,
  read: readInt64,
};
const UINT: ContentsField = {
  number: 4,
  name: "uint_contents",
  wire: WIRE.varint,
  least: 1,
  read: (reader) => reader.uint32(),
};
const UINT64: ContentsField = {
  number: 5,
  name: "uint64_contents",
  wire: WIRE.varint,
  least: 1,
  read: readUint64,
};
const FP32: ContentsField = {
  number: 6,
  name: "fp32_contents",
  wire: WIRE.four,
  least: 4,
  read: (reader) => reader.float(),
};
const FP64: ContentsField = {
  number: 7,
  name: "fp64_contents",
  wire: WIRE.eight,
  least: 8,
  read: (reader) => reader.double(),
};
const BYTES: ContentsField = {
  number: 8,
  name: "bytes_contents",
  wire: WIRE.delimited,
  least: 2,
  read: (reader) => reader.string(),
};

const FIELDS: Readonly<Record<Datatype, ContentsField | undefined>> = {
  BOOL,
  INT8: INT,
  INT16: INT,
  INT32: INT,
  INT64,
  UINT8: UINT,
  UINT16: UINT,
  UINT32: UINT,
  UINT64,
  FP16: undefined,
  FP32,
  FP64,
  BYTES,
};

/** Names of the contents by field number. */
const NAMES = new Map(
  [BOOL, INT, INT64, UINT, UINT64, FP32, FP64, BYTES].map(({ number, name }) => [number, name]),
);

/**
 * Reads contents as `shape`.
 * @param count product of `shape`, already checked against the limits.
 * @param bytes an encoded `InferTensorContents`.
 * @throws LORASA_SHAPE for another number of elements, LORASA_DTYPE for another field's contents or FP16,
 *   LORASA_RANGE for an integer outside its type, LORASA_TOO_LARGE for more than element by element reading is for.
 */
export function readContents(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  count: number,
  bytes: Uint8Array,
): WireTensor {
  const field = FIELDS[datatype];
  if (field === undefined) throw dtypeError(name, `${datatype} in raw_input_contents`, "typed contents");
  if (bytes.length > JSON_LIMIT_BYTES) throw sizeError(name, bytes.length);
  // A shape alone must not make the server take memory that the message does not fill.
  const most = Math.floor(bytes.length / field.least);
  if (count > most) throw countError(name, shape, count, `at most ${most}`);
  const data = datatype === "BYTES" ? [] : new WIRE_ARRAYS[datatype](count);
  // The array and the field's reader belong to the datatype by their tables.
  const elements = data as { [at: number]: Element };
  let read = 0;
  eachElement(name, field, bytes, (element) => {
    if (read >= count) throw countError(name, shape, count, "more");
    checkRange(name, datatype, read, element);
    elements[read++] = element;
  });
  if (read < count) throw countError(name, shape, count, `${read}`);
  return { name, datatype, shape, data } as WireTensor;
}

/** Calls back with each element of the field, packed or not. */
function eachElement(
  name: string,
  field: ContentsField,
  bytes: Uint8Array,
  take: (element: Element) => void,
): void {
  readFields(bytes, (tag, reader) => {
    const number = tag >>> 3;
    const wire = tag & 7;
    if (number !== field.number) {
      const other = NAMES.get(number);
      if (other !== undefined) throw dtypeError(`${name} contents`, field.name, other);
      return false;
    }
    if (wire === field.wire) take(field.read(reader));
    else if (wire === WIRE.delimited) eachPacked(reader, (packed) => take(field.read(packed)));
    else return false;
    return true;
  });
}

function checkRange(name: string, datatype: Datatype, at: number, element: Element): void {
  const row = DATATYPES[datatype];
  if (!("min" in row) || typeof element === "string" || (element >= row.min && element <= row.max)) return;
  throw new LorasaError("LORASA_RANGE", {
    asked: `input ${name} contents[${at}]`,
    expected: `${row.min} to ${row.max}`,
    received: `${element}`,
  });
}

/** Reading elements holds the event loop as parsing JSON does. */
function sizeError(name: string, received: number): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: `input ${name} contents`,
    expected: `at most ${JSON_LIMIT_BYTES} bytes`,
    received: `${received}`,
    mend: "send it in raw_input_contents",
  });
}

function countError(name: string, shape: readonly number[], count: number, received: string): LorasaError {
  return new LorasaError("LORASA_SHAPE", {
    asked: `input ${name} contents`,
    expected: `${count} elements for shape ${formatDims(shape)}`,
    received,
  });
}

function dtypeError(input: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_DTYPE", { asked: `input ${input}`, expected, received });
}
