/**
 * Adapters as ONNX Runtime's `.onnx_adapter` files: a FlatBuffer with the identifier `TORT`. The tensors are a
 * graph's inputs as they are ({@link adapterParameters}); the file does not say which backbone they fit.
 *
 * Reading does not trust the file: every offset is checked before it is followed.
 *
 * @source https://github.com/microsoft/onnxruntime, onnxruntime/lora/adapter_format/adapter_schema.fbs.
 */
import { Builder } from "flatbuffers";
import { LorasaError } from "../base/errors.ts";
import {
  DTYPES,
  type DType,
  dtypeOfOnnx,
  elementCount,
  formatDims,
  type HostTensor,
  type TensorData,
} from "../base/tensor.ts";
import { quoted } from "./safetensors-header.ts";

const IDENTIFIER = "TORT";
const FORMAT_VERSION = 1;
/** Alignment of a tensor's bytes within the file. */
const DATA_ALIGNMENT = 8;

/** Slots of the tables, in the order of the schema. */
const ADAPTER = { formatVersion: 0, adapterVersion: 1, modelVersion: 2, parameters: 3 } as const;
const PARAMETER = { name: 0, dims: 1, dataType: 2, rawData: 3 } as const;

export interface OnnxAdapterVersions {
  /** Chosen by who makes the adapter; int32. */
  readonly adapterVersion: number;
  /** Version of the model that it is for; int32. */
  readonly modelVersion: number;
}

export interface OnnxAdapter extends OnnxAdapterVersions {
  readonly parameters: Map<string, HostTensor>;
}

/** Bytes of a file; the order of the parameters is kept. */
export function encodeOnnxAdapter(
  parameters: ReadonlyMap<string, HostTensor>,
  { adapterVersion, modelVersion }: OnnxAdapterVersions,
): Uint8Array {
  const builder = new Builder(1024);
  // Zero is a default that would be left out; ONNX Runtime writes it.
  builder.forceDefaults(true);
  const tables = [...parameters].map(([name, tensor]) => writeParameter(builder, name, tensor));
  const vector = writeOffsets(builder, tables);
  builder.startObject(4);
  builder.addFieldInt32(ADAPTER.formatVersion, FORMAT_VERSION, 0);
  builder.addFieldInt32(ADAPTER.adapterVersion, adapterVersion, 0);
  builder.addFieldInt32(ADAPTER.modelVersion, modelVersion, 0);
  builder.addFieldOffset(ADAPTER.parameters, vector, 0);
  builder.finish(builder.endObject(), IDENTIFIER);
  return builder.asUint8Array();
}

function writeParameter(builder: Builder, name: string, { dtype, dims, data }: HostTensor): number {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  builder.prep(DATA_ALIGNMENT, raw.length);
  const rawData = builder.createByteVector(raw);
  builder.startVector(8, dims.length, 8);
  for (const size of [...dims].reverse()) builder.addInt64(BigInt(size));
  const sizes = builder.endVector();
  const label = builder.createString(name);
  builder.startObject(4);
  builder.addFieldOffset(PARAMETER.name, label, 0);
  builder.addFieldOffset(PARAMETER.dims, sizes, 0);
  builder.addFieldInt32(PARAMETER.dataType, DTYPES[dtype].onnx, 0);
  builder.addFieldOffset(PARAMETER.rawData, rawData, 0);
  return builder.endObject();
}

function writeOffsets(builder: Builder, offsets: readonly number[]): number {
  builder.startVector(4, offsets.length, 4);
  for (const offset of [...offsets].reverse()) builder.addOffset(offset);
  return builder.endVector();
}

/**
 * Reads a whole file; every tensor is a copy of its own.
 * @param what name of the file for messages.
 * @throws LORASA_FILE for another format or version, an offset outside the file, or sizes that disagree with the
 *   bytes; LORASA_NAME for a parameter that is named twice; LORASA_DTYPE for an element type that is not held.
 */
export function decodeOnnxAdapter(bytes: Uint8Array, what: string): OnnxAdapter {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length <= 8 || Buffer.from(bytes.subarray(4, 8)).toString("latin1") !== IDENTIFIER) {
    throw broken(what, `an .onnx_adapter file (${IDENTIFIER} at byte 4)`, "another format");
  }
  try {
    return readAdapterTable(bytes, view, what);
  } catch (cause) {
    // Every read goes through the view, which refuses an offset outside the file.
    if (cause instanceof RangeError) throw broken(what, "offsets within the file", "one outside", cause);
    throw cause;
  }
}

function readAdapterTable(bytes: Uint8Array, view: DataView, what: string): OnnxAdapter {
  const root = view.getUint32(0, true);
  const version = readInt32(view, root, ADAPTER.formatVersion);
  if (version !== FORMAT_VERSION) throw broken(`${what}, format version`, `${FORMAT_VERSION}`, `${version}`);
  const parameters = new Map<string, HostTensor>();
  let left = bytes.length;
  const tables = readVector(view, root, ADAPTER.parameters, 4);
  for (let i = 0; i < tables.length; i++) {
    const at = tables.start + 4 * i;
    const { name, tensor } = readParameter(
      bytes,
      view,
      at + view.getUint32(at, true),
      `${what}, parameter ${i}`,
    );
    if (parameters.has(name)) {
      throw new LorasaError("LORASA_NAME", {
        asked: what,
        expected: "every parameter once",
        received: quoted(name),
      });
    }
    // Tables may point at the same bytes: a small file must not become large in memory.
    left -= tensor.data.byteLength;
    if (left < 0) throw broken(what, "parameters with bytes of their own", "bytes that several share");
    parameters.set(name, tensor);
  }
  return {
    adapterVersion: readInt32(view, root, ADAPTER.adapterVersion),
    modelVersion: readInt32(view, root, ADAPTER.modelVersion),
    parameters,
  };
}

function readParameter(
  bytes: Uint8Array,
  view: DataView,
  table: number,
  what: string,
): { name: string; tensor: HostTensor } {
  const label = readVector(view, table, PARAMETER.name, 1);
  const name = Buffer.from(bytes.subarray(label.start, label.start + label.length)).toString("utf8");
  if (name === "") throw broken(what, "a name", "none");
  const asked = `${what} ${quoted(name)}`;
  const sizes = readVector(view, table, PARAMETER.dims, 8);
  const dims = Array.from({ length: sizes.length }, (_, axis) =>
    Number(view.getBigInt64(sizes.start + 8 * axis, true)),
  );
  const dtype = dtypeOf(readInt32(view, table, PARAMETER.dataType), asked);
  const raw = readVector(view, table, PARAMETER.rawData, 1);
  if (byteCount(dtype, dims) !== raw.length) {
    throw broken(asked, `the bytes of ${dtype} ${formatDims(dims)}`, `${raw.length} bytes`);
  }
  const { buffer } = new Uint8Array(bytes.subarray(raw.start, raw.start + raw.length));
  const data: TensorData = new DTYPES[dtype].array(buffer);
  return { name, tensor: { dtype, dims, data } };
}

function dtypeOf(dataType: number, asked: string): DType {
  const dtype = dtypeOfOnnx(dataType);
  if (dtype !== undefined) return dtype;
  throw new LorasaError("LORASA_DTYPE", {
    asked,
    expected: Object.keys(DTYPES).join(", "),
    received: `ONNX element type ${dataType}`,
  });
}

/** NaN for sizes that no tensor has, which equals no length. */
function byteCount(dtype: DType, dims: readonly number[]): number {
  try {
    return elementCount([...dims, DTYPES[dtype].bytes]);
  } catch {
    return Number.NaN;
  }
}

/** Position of a table's field, or 0 when it is absent. */
function fieldAt(view: DataView, table: number, slot: number): number {
  const vtable = table - view.getInt32(table, true);
  const at = 4 + 2 * slot;
  const offset = at < view.getUint16(vtable, true) ? view.getUint16(vtable + at, true) : 0;
  return offset === 0 ? 0 : table + offset;
}

function readInt32(view: DataView, table: number, slot: number): number {
  const at = fieldAt(view, table, slot);
  return at === 0 ? 0 : view.getInt32(at, true);
}

/** Where a vector's elements start and how many there are; an absent one is empty. All of it is in the file. */
function readVector(
  view: DataView,
  table: number,
  slot: number,
  elementBytes: number,
): { readonly start: number; readonly length: number } {
  const at = fieldAt(view, table, slot);
  if (at === 0) return { start: 0, length: 0 };
  const vector = at + view.getUint32(at, true);
  const length = view.getUint32(vector, true);
  if (vector + 4 + length * elementBytes > view.byteLength) throw new RangeError("vector");
  return { start: vector + 4, length };
}

function broken(asked: string, expected: string, received: string, cause?: unknown): LorasaError {
  return new LorasaError("LORASA_FILE", {
    asked,
    expected,
    received,
    ...(cause === undefined ? {} : { cause }),
  });
}
