/** An adapter in memory, as the graphs take it. It never changes: a new version is another object. */
import { elementCount, type FloatTensor } from "../../src/base/tensor.ts";
import type { AdapterLayer } from "../../src/checkpoint/repository.ts";
import type { SlotPart } from "../../src/runtime/slots.ts";

/** Which version it is, and its numbers. */
export interface ResidentAdapter {
  readonly name: string;
  readonly version: number;
  readonly sha256: string;
  /** float32, every part of the {@link AdapterLayout} behind each other, the scale folded into lora_B. */
  readonly values: Float32Array;
  /** Requests that hold it. */
  holders: number;
}

/** Where each matrix lies in an adapter's values; a part has the name of its graph input. */
export interface AdapterLayout {
  readonly parts: readonly SlotPart[];
  readonly length: number;
}

/** `<layer>.lora_A.weight [in, R]` and `<layer>.lora_B.weight [R, out]` of each layer in turn. */
export function adapterLayout(layers: readonly AdapterLayer[]): AdapterLayout {
  const parts: SlotPart[] = [];
  let offset = 0;
  for (const layer of layers) {
    for (const [matrix, dims] of [
      ["A", [layer.in, layer.rank]],
      ["B", [layer.rank, layer.out]],
    ] as const) {
      const length = elementCount(dims);
      parts.push({ name: adapterInput(layer, matrix), dims, offset, length });
      offset += length;
    }
  }
  return { parts, length: offset };
}

/** The graph's input for a layer's matrix. */
export function adapterInput(layer: AdapterLayer, matrix: "A" | "B"): string {
  return `${layer.name}.lora_${matrix}.weight`;
}

/** The values of an adapter whose matrices are given by graph input. */
export function adapterValues(
  layout: AdapterLayout,
  parameters: ReadonlyMap<string, FloatTensor>,
): Float32Array {
  const values = new Float32Array(layout.length);
  for (const { name, offset } of layout.parts) values.set(parameters.get(name)!.data, offset);
  return values;
}
