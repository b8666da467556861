/** Element types of the Open Inference Protocol: their sizes, their arrays and what JSON may hold. */

type ArrayOf<T> = new (length: number) => T;

/** How an element is written in JSON. `binary` has no JSON form; `bytes` elements vary in length. */
type JsonKind = "boolean" | "integer" | "bigint" | "float" | "binary" | "bytes";

interface DatatypeRow {
  /** Size of an element on the wire; 0 when it varies. */
  readonly bytes: number;
  readonly json: JsonKind;
  readonly min?: number | bigint;
  readonly max?: number | bigint;
}

export const DATATYPES = {
  BOOL: { bytes: 1, json: "boolean" },
  UINT8: { bytes: 1, json: "integer", min: 0, max: 255 },
  UINT16: { bytes: 2, json: "integer", min: 0, max: 65_535 },
  UINT32: { bytes: 4, json: "integer", min: 0, max: 4_294_967_295 },
  UINT64: { bytes: 8, json: "bigint", min: 0n, max: 2n ** 64n - 1n },
  INT8: { bytes: 1, json: "integer", min: -128, max: 127 },
  INT16: { bytes: 2, json: "integer", min: -32_768, max: 32_767 },
  INT32: { bytes: 4, json: "integer", min: -2_147_483_648, max: 2_147_483_647 },
  INT64: { bytes: 8, json: "bigint", min: -(2n ** 63n), max: 2n ** 63n - 1n },
  FP16: { bytes: 2, json: "binary" },
  FP32: { bytes: 4, json: "float" },
  FP64: { bytes: 8, json: "float" },
  BYTES: { bytes: 0, json: "bytes" },
} as const satisfies Record<string, DatatypeRow>;

export type Datatype = keyof typeof DATATYPES;

/** The array that holds a datatype's elements; BYTES are decoded as UTF-8 text. */
export interface WireArrays {
  BOOL: Uint8Array;
  UINT8: Uint8Array;
  UINT16: Uint16Array;
  UINT32: Uint32Array;
  UINT64: BigUint64Array;
  INT8: Int8Array;
  INT16: Int16Array;
  INT32: Int32Array;
  INT64: BigInt64Array;
  FP16: Uint16Array;
  FP32: Float32Array;
  FP64: Float64Array;
  BYTES: string[];
}

/** A tensor as it crosses the wire: row-major, `data.length` is the product of `shape`. */
export type WireTensor = {
  [D in Datatype]: {
    readonly name: string;
    readonly datatype: D;
    readonly shape: readonly number[];
    readonly data: WireArrays[D];
  };
}[Datatype];

/** Constructors by datatype, for those of fixed size. */
export const WIRE_ARRAYS = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
} as const satisfies { [D in Exclude<Datatype, "BYTES">]: ArrayOf<WireArrays[D]> };

export function isDatatype(text: unknown): text is Datatype {
  return typeof text === "string" && Object.hasOwn(DATATYPES, text);
}
