/** JSON tensor data, flat or nested, into typed arrays with every element checked; and typed arrays into JSON. */
import { LorasaError } from "../../src/base/errors.ts";
import { formatDims } from "../../src/base/tensor.ts";
import { DATATYPES, type Datatype, WIRE_ARRAYS, type WireTensor } from "./datatypes.ts";

/**
 * Reads `data` as `shape`: one flat array in row-major order, or arrays nested as the shape says.
 * @param count product of `shape`, already checked against the limits.
 * @throws LORASA_SHAPE for a wrong count or nesting, LORASA_DTYPE for an element of another kind or FP16,
 *   LORASA_RANGE for an integer outside its type or beyond 2^53, where JSON numbers lose digits.
 */
export function readJsonData(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  count: number,
  data: unknown,
): WireTensor {
  const elements = flatten(name, shape, count, data);
  // The pair of datatype and array is right by construction; the compiler cannot follow a computed key.
  return { name, datatype, shape, data: readElements(name, datatype, elements) } as WireTensor;
}

/** The tensor's elements as a flat JSON array: `[1,2.5]`. FP16 has no JSON form and is never written so. */
export function writeJsonData(tensor: WireTensor): string {
  if (tensor.datatype === "BYTES") return JSON.stringify(tensor.data);
  if (tensor.datatype === "BOOL") return `[${Array.from(tensor.data, (byte) => byte !== 0).join(",")}]`;
  return `[${tensor.data.join(",")}]`;
}

function flatten(name: string, shape: readonly number[], count: number, data: unknown): readonly unknown[] {
  if (!Array.isArray(data)) throw dtypeError(`input ${name} data`, "an array", data);
  if (!Array.isArray(data[0])) {
    if (data.length === count) return data;
    throw new LorasaError("LORASA_SHAPE", {
      asked: `input ${name} data`,
      expected: `${count} elements for shape ${formatDims(shape)}`,
      received: `${data.length}`,
    });
  }
  const flat: unknown[] = [];
  appendNested(name, shape, 0, data, flat);
  return flat;
}

function appendNested(
  name: string,
  shape: readonly number[],
  axis: number,
  data: unknown,
  flat: unknown[],
): void {
  const size = shape[axis];
  if (size === undefined || !Array.isArray(data) || data.length !== size) {
    throw new LorasaError("LORASA_SHAPE", {
      asked: `input ${name} data, axis ${axis}`,
      expected: `arrays nested as ${formatDims(shape)}`,
      received: Array.isArray(data) ? `an array of ${data.length}` : describe(data),
    });
  }
  if (axis < shape.length - 1) for (const part of data) appendNested(name, shape, axis + 1, part, flat);
  else for (const element of data) flat.push(element);
}

function readElements(
  name: string,
  datatype: Datatype,
  elements: readonly unknown[],
): WireTensor["data"] | string[] {
  const where = (at: number): string => `input ${name} data[${at}]`;
  if (datatype === "BYTES") {
    return elements.map((element, at) => {
      if (typeof element === "string") return element;
      throw dtypeError(where(at), "a string", element);
    });
  }
  const row = DATATYPES[datatype];
  if (row.json === "binary") {
    throw new LorasaError("LORASA_DTYPE", {
      asked: `input ${name}`,
      expected: "FP16 as binary data",
      received: "JSON data",
      mend: "send it with binary_data_size",
    });
  }
  const array = new WIRE_ARRAYS[datatype](elements.length);
  if (row.json === "bigint") readBigints(where, row.min, row.max, elements, array as BigInt64Array);
  else if (row.json === "boolean") readBooleans(where, elements, array as Uint8Array);
  else if (row.json === "integer") readIntegers(where, row.min, row.max, elements, array as Int32Array);
  else readFloats(where, elements, array as Float32Array);
  return array;
}

function readFloats(where: (at: number) => string, elements: readonly unknown[], into: Float32Array): void {
  for (let at = 0; at < elements.length; at++) {
    const element = elements[at];
    if (typeof element !== "number") throw dtypeError(where(at), "a number", element);
    into[at] = element;
  }
}

function readIntegers(
  where: (at: number) => string,
  min: number,
  max: number,
  elements: readonly unknown[],
  into: Int32Array,
): void {
  for (let at = 0; at < elements.length; at++) {
    const element = elements[at];
    if (typeof element !== "number" || !Number.isInteger(element)) {
      throw dtypeError(where(at), "a whole number", element);
    }
    if (element < min || element > max) throw rangeError(where(at), `${min} to ${max}`, element);
    into[at] = element;
  }
}

function readBigints(
  where: (at: number) => string,
  min: bigint,
  max: bigint,
  elements: readonly unknown[],
  into: BigInt64Array,
): void {
  for (let at = 0; at < elements.length; at++) {
    const element = elements[at];
    if (typeof element !== "number" || !Number.isInteger(element)) {
      throw dtypeError(where(at), "a whole number", element);
    }
    if (!Number.isSafeInteger(element)) {
      throw rangeError(where(at), "a whole number below 2^53 in JSON", element);
    }
    const value = BigInt(element);
    if (value < min || value > max) throw rangeError(where(at), `${min} to ${max}`, element);
    into[at] = value;
  }
}

function readBooleans(where: (at: number) => string, elements: readonly unknown[], into: Uint8Array): void {
  for (let at = 0; at < elements.length; at++) {
    const element = elements[at];
    if (element !== true && element !== false && element !== 0 && element !== 1) {
      throw dtypeError(where(at), "true or false", element);
    }
    into[at] = Number(element);
  }
}

function dtypeError(asked: string, expected: string, received: unknown): LorasaError {
  return new LorasaError("LORASA_DTYPE", { asked, expected, received: describe(received) });
}

function rangeError(asked: string, expected: string, received: number): LorasaError {
  return new LorasaError("LORASA_RANGE", { asked, expected, received: `${received}` });
}

/** A short word for a value of unknown kind; never its whole contents. */
function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return `${value}`;
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}
