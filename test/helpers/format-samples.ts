/** Tensors and an adapter, always the same, for the file formats: written by the fixture script, read by tests. */

import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { Adapter, LoraLayer } from "../../src/checkpoint/adapter.ts";

/** One tensor of each element type, a scalar, an empty one, and names that need care. */
export function sampleTensors(): Map<string, HostTensor> {
  const random = new Random(11);
  return new Map<string, HostTensor>([
    ["mlp.0.weight", floatTensor([3, 5], normal(random, 15))],
    ["10", floatTensor([2], [0.5, -0.25])],
    ["2", floatTensor([2], [1.5, 1e-30])],
    ["scalar", floatTensor([], [Math.PI])],
    ["empty", floatTensor([0, 4])],
    ['"quoted" \\ é😀', floatTensor([1], [-0])],
    ["double", { dtype: "float64", dims: [2], data: Float64Array.of(Math.E, -1e300) }],
    ["half", { dtype: "float16", dims: [3], data: Uint16Array.of(0x3c00, 0xc000, 0x7bff) }],
    ["count", { dtype: "int64", dims: [1], data: BigInt64Array.of(-(2n ** 62n)) }],
    ["index", { dtype: "int32", dims: [1, 2], data: Int32Array.of(-7, 2 ** 30) }],
    ["mask", { dtype: "bool", dims: [3], data: Uint8Array.of(1, 0, 1) }],
    ["bytes", { dtype: "uint8", dims: [5], data: Uint8Array.of(0, 1, 2, 254, 255) }],
  ]);
}

/** Rank 3 and alpha 1, so that the scale is a third; `head` capped to rank 2, the log-std vector of rank 1. */
export function sampleAdapter(backboneSha256 = "ab".repeat(32)): Adapter {
  const random = new Random(12);
  return {
    backboneSha256,
    layers: [
      layer(random, "mlp.0", 5, 6, 3),
      layer(random, "mlp.0x", 6, 6, 3),
      layer(random, "head", 6, 2, 2),
      { ...layer(random, "log_std", 1, 2, 1), loraA: floatTensor([1, 1], [1]) },
    ],
  };
}

function layer(random: Random, name: string, inSize: number, out: number, rank: number): LoraLayer {
  const loraA = floatTensor([inSize, rank], normal(random, inSize * rank));
  const loraB = floatTensor([rank, out], normal(random, rank * out));
  return { name, in: inSize, out, rank, scale: 1 / 3, loraA, loraB };
}

function normal(random: Random, count: number): number[] {
  return Array.from({ length: count }, () => random.normal());
}
