/**
 * Tensors to and from the safetensors format: 8 bytes of header length, a JSON header, the data. Not
 * which tensors a file should hold.
 *
 * @source https://github.com/huggingface/safetensors, format and Python library.
 */
import { LorasaError } from "../base/errors.ts";
import {
  DTYPES,
  type DType,
  elementCount,
  firstNonFinite,
  formatDims,
  type HostTensor,
  type TensorData,
} from "../base/tensor.ts";
import { FILE_DTYPES, type HeaderEntry, parseHeader, quoted } from "./safetensors-header.ts";

/** Longest header that the format allows, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;
const LENGTH_BYTES = 8;

/** Order of the data: types with larger alignment first, as the format's own library sorts them. */
const DTYPE_ORDER: readonly DType[] = ["int64", "float64", "float32", "int32", "float16", "uint8", "bool"];

export interface DecodedTensors {
  readonly tensors: Map<string, HostTensor>;
  readonly metadata: Record<string, string>;
}

export interface DecodeOptions {
  /** Largest header accepted, in bytes (default and most 100,000,000). */
  readonly maxHeaderBytes?: number;
  /** Refuse NaN and infinities. */
  readonly finite?: boolean;
}

/**
 * Bytes of a file that depend on the tensors alone, not on the map's order: sorted by element type, then name,
 * with the header padded by spaces so that the data starts at a multiple of 8.
 * @throws LORASA_SHAPE when a tensor's data and sizes disagree; LORASA_NAME for a name that the format reserves.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  const sorted = [...tensors].sort(([a, left], [b, right]) => {
    const types = DTYPE_ORDER.indexOf(left.dtype) - DTYPE_ORDER.indexOf(right.dtype);
    return types || Buffer.compare(Buffer.from(a), Buffer.from(b));
  });
  const fields: [string, unknown][] = [];
  if (metadata !== undefined) fields.push(["__metadata__", sortedMetadata(metadata)]);
  let at = 0;
  for (const [name, tensor] of sorted) {
    checkTensor(name, tensor);
    const begin = at;
    at += tensor.data.byteLength;
    fields.push([name, { dtype: FILE_DTYPES[tensor.dtype], shape: tensor.dims, data_offsets: [begin, at] }]);
  }
  return assemble(fields, sorted, at);
}

/** Joins `"key":value` texts by hand: an object literal would move keys that look like numbers to the front. */
function assemble(
  fields: readonly [string, unknown][],
  sorted: readonly (readonly [string, HostTensor])[],
  dataBytes: number,
): Uint8Array {
  const pairs = fields.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const header = Buffer.from(`{${pairs.join(",")}}`);
  const headerBytes = Math.ceil(header.length / 8) * 8;
  const bytes = new Uint8Array(LENGTH_BYTES + headerBytes + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(header, LENGTH_BYTES);
  bytes.fill(0x20, LENGTH_BYTES + header.length, LENGTH_BYTES + headerBytes);
  let at = LENGTH_BYTES + headerBytes;
  for (const [, { data }] of sorted) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}

function sortedMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function checkTensor(name: string, { dtype, dims, data }: HostTensor): void {
  // A lone surrogate has no UTF-8 form.
  if (name === "__metadata__" || /\p{Surrogate}/u.test(name)) {
    throw new LorasaError("LORASA_NAME", {
      asked: "writing safetensors",
      expected: "names of well-formed text other than __metadata__",
      received: quoted(name),
    });
  }
  const expected = elementCount(dims);
  if (data.length !== expected || !(data instanceof DTYPES[dtype].array)) {
    throw new LorasaError("LORASA_SHAPE", {
      asked: `writing tensor ${quoted(name)}`,
      expected: `${expected} values for ${dtype} ${formatDims(dims)}`,
      received: `${data.constructor.name} of ${data.length}`,
    });
  }
}

/**
 * Reads a whole file. Every tensor is a copy of its own, so it is aligned and does not keep `bytes` alive.
 * @param what name of the file for messages.
 * @throws LORASA_FILE naming the rule that the file breaks, and the tensor; LORASA_DTYPE for an element type
 *   that lorasa does not hold; LORASA_NOT_FINITE with the tensor and index when `finite` is asked for.
 */
export function decodeSafetensors(
  bytes: Uint8Array,
  what: string,
  options: DecodeOptions = {},
): DecodedTensors {
  const dataStart = LENGTH_BYTES + headerLength(bytes, what, options.maxHeaderBytes ?? MAX_HEADER_BYTES);
  const text = headerText(bytes.subarray(LENGTH_BYTES, dataStart), what);
  const header = parseHeader(text, bytes.length - dataStart, what);
  const tensors = new Map<string, HostTensor>();
  for (const entry of header.entries) {
    tensors.set(entry.name, copyTensor(bytes, dataStart, entry));
  }
  if (options.finite) checkFinite(tensors, what);
  return { tensors, metadata: header.metadata };
}

function headerLength(bytes: Uint8Array, what: string, maxHeaderBytes: number): number {
  if (bytes.length < LENGTH_BYTES) {
    throw broken(what, "at least 8 bytes", `${bytes.length} (the file is truncated)`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  const most = BigInt(Math.min(maxHeaderBytes, MAX_HEADER_BYTES));
  if (length > most) throw broken(`${what}, header`, `at most ${most} bytes`, `${length}`);
  if (length > BigInt(bytes.length - LENGTH_BYTES)) {
    throw broken(
      `${what}, header`,
      `${length} bytes`,
      `${bytes.length - LENGTH_BYTES} (the file is truncated)`,
    );
  }
  return Number(length);
}

function headerText(header: Uint8Array, what: string): string {
  if (header[0] !== 0x7b) {
    const received = header.length === 0 ? "nothing" : `byte 0x${header[0]!.toString(16).padStart(2, "0")}`;
    throw broken(`${what}, header`, "a JSON object that starts with {", received);
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
  } catch {
    throw broken(`${what}, header`, "UTF-8 text", "bytes that are not");
  }
}

function copyTensor(bytes: Uint8Array, dataStart: number, entry: HeaderEntry): HostTensor {
  const { buffer } = new Uint8Array(bytes.subarray(dataStart + entry.begin, dataStart + entry.end));
  const data: TensorData = new DTYPES[entry.dtype].array(buffer);
  return { dtype: entry.dtype, dims: entry.dims, data };
}

/**
 * Looks for NaN and infinities.
 * @throws LORASA_NOT_FINITE with the tensor and the index of the first.
 */
export function checkFinite(tensors: ReadonlyMap<string, HostTensor>, what: string): void {
  for (const [name, tensor] of tensors) {
    const index = nonFiniteIndex(tensor);
    if (index < 0) continue;
    throw new LorasaError("LORASA_NOT_FINITE", {
      asked: `${what}, tensor ${quoted(name)}`,
      expected: "finite values",
      received: `${tensor.dtype === "float16" ? "NaN or an infinity" : tensor.data[index]} at index ${index}`,
    });
  }
}

function nonFiniteIndex({ dtype, data }: HostTensor): number {
  if (dtype === "float32" || dtype === "float64") return firstNonFinite(data as Float32Array | Float64Array);
  // All exponent bits of a float16 set: an infinity or NaN.
  if (dtype === "float16") return (data as Uint16Array).findIndex((half) => (half & 0x7c00) === 0x7c00);
  return -1;
}

function broken(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_FILE", { asked, expected, received });
}
