/**
 * Binary tensor data: little-endian, row-major, without padding; BYTES elements carry a 4-byte length each.
 *
 * Typed arrays are laid over the bytes as they are, so the host must be little-endian, as every platform of
 * Node is that ONNX Runtime supports.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { formatDims } from "../../src/base/tensor.ts";
import { DATATYPES, type Datatype, WIRE_ARRAYS, type WireTensor } from "./datatypes.ts";

/**
 * Reads a tensor from its bytes: a view where they are aligned, else an aligned copy.
 * @param count product of `shape`.
 * @throws LORASA_SHAPE when the byte count does not fit the shape, LORASA_DTYPE for a BOOL other than 0 and 1.
 */
export function readBinaryData(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  count: number,
  bytes: Buffer,
): WireTensor {
  if (datatype === "BYTES") return { name, datatype, shape, data: readBytes(name, count, bytes) };
  const size = DATATYPES[datatype].bytes;
  if (bytes.length !== count * size) {
    throw new LorasaError("LORASA_SHAPE", {
      asked: `input ${name} binary data`,
      expected: `${count * size} bytes for ${datatype} ${formatDims(shape)}`,
      received: `${bytes.length}`,
    });
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  // The array type belongs to the datatype by the table; the compiler cannot follow a computed key.
  const data = new WIRE_ARRAYS[datatype](
    aligned.buffer as never,
    aligned.byteOffset as never,
    count as never,
  );
  if (datatype === "BOOL") checkBooleans(name, data as Uint8Array);
  return { name, datatype, shape, data } as WireTensor;
}

/** The tensor's bytes: a view where the elements have a fixed size. */
export function writeBinaryData(tensor: WireTensor): Uint8Array {
  if (tensor.datatype !== "BYTES") {
    const { buffer, byteOffset, byteLength } = tensor.data;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  const parts = tensor.data.flatMap((text) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat(parts);
}

function readBytes(name: string, count: number, bytes: Buffer): string[] {
  const elements: string[] = [];
  let at = 0;
  while (elements.length < count && at + 4 <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    if (at + 4 + length > bytes.length) break;
    elements.push(bytes.toString("utf8", at + 4, at + 4 + length));
    at += 4 + length;
  }
  if (elements.length === count && at === bytes.length) return elements;
  throw new LorasaError("LORASA_SHAPE", {
    asked: `input ${name} binary data`,
    expected: `${count} elements, each a 4-byte length and as many bytes`,
    received: `${elements.length} whole elements in ${bytes.length} bytes`,
  });
}

function checkBooleans(name: string, data: Uint8Array): void {
  const at = data.findIndex((byte) => byte > 1);
  if (at < 0) return;
  throw new LorasaError("LORASA_DTYPE", {
    asked: `input ${name} data[${at}]`,
    expected: "a BOOL byte of 0 or 1",
    received: `${data[at]}`,
  });
}
