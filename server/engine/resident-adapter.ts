/** An adapter in memory, as the graphs take it. It never changes: a new version is another object. */
import { halfTensor } from "../../src/base/half.ts";
import { DTYPES, elementCount, type FloatTensor } from "../../src/base/tensor.ts";
import { ADAPTER_DTYPES, type AdapterLayer, type Precision } from "../../src/checkpoint/repository.ts";
import type { SlotPart, SlotValues } from "../../src/runtime/slots.ts";

/** Which version it is, and its numbers. */
export interface ResidentAdapter {
  readonly name: string;
  readonly version: number;
  readonly sha256: string;
  /** In the type of the graphs' inputs: every part of the {@link AdapterLayout} in turn, the scale folded into lora_B. */
  readonly values: SlotValues;
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

/**
 * The values of an adapter whose matrices are given by graph input.
 * @param what names the adapter in messages.
 * @throws LORASA_RANGE for a number that float16 does not hold, where the precision has it.
 */
export function adapterValues(
  { parts, length }: AdapterLayout,
  parameters: ReadonlyMap<string, FloatTensor>,
  precision: Precision,
  what: string,
): SlotValues {
  const dtype = ADAPTER_DTYPES[precision];
  const values = new DTYPES[dtype].array(length);
  for (const { name, offset } of parts) {
    const tensor = parameters.get(name)!;
    values.set(dtype === "float16" ? halfTensor(tensor, `${what}, ${name}`).data : tensor.data, offset);
  }
  return values;
}
