/** The values of a protobuf tensor, from raw bytes or from the field of its type; not its type and shape. */
import type onnxProto from "onnx-proto";
import { DTYPES, type DType, type TensorData } from "../base/tensor.ts";

type TensorProto = onnxProto.onnx.ITensorProto;
/** Protobuf's 64-bit numbers arrive as objects of the `long` package. */
type ProtoInteger = NonNullable<TensorProto["int64Data"]>[number];

/** The field that holds a type's values where they are not raw bytes. */
const FIELDS = {
  float32: ({ floatData }) => Float32Array.from(floatData ?? []),
  float64: ({ doubleData }) => Float64Array.from(doubleData ?? []),
  int32: ({ int32Data }) => Int32Array.from(int32Data ?? []),
  int64: ({ int64Data }) => BigInt64Array.from(int64Data ?? [], (value) => BigInt(value.toString())),
  bool: ({ int32Data }) => Uint8Array.from(int32Data ?? []),
  uint8: ({ int32Data }) => Uint8Array.from(int32Data ?? []),
  // The 16 bits as they are.
  float16: ({ int32Data }) => Uint16Array.from(int32Data ?? []),
} as const satisfies Record<DType, (proto: TensorProto) => TensorData>;

/**
 * A copy of the `count` values.
 * @throws Error with the number received when there are more or fewer.
 */
export function readTensor(proto: TensorProto, dtype: DType, count: number): TensorData {
  const { bytes, array } = DTYPES[dtype];
  // Raw bytes lie at any offset of the file, and in its (little-endian) order.
  if (!Object.hasOwn(proto, "rawData")) return counted(FIELDS[dtype](proto), count);
  const raw = proto.rawData ?? new Uint8Array();
  if (raw.byteLength !== count * bytes) throw new Error(`${raw.byteLength} bytes`);
  return new array(Uint8Array.from(raw).buffer);
}

/** A protobuf whole number as a number. */
export function protoNumber(value: ProtoInteger | null | undefined): number {
  return Number(value ?? 0);
}

function counted(values: TensorData, count: number): TensorData {
  if (values.length !== count) throw new Error(`${values.length} values`);
  return values;
}
