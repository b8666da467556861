/** One agent's adapter in memory, and whether it fits a backbone. Not its files (`peft.ts`, `onnx-adapter.ts`). */
import { LorasaError } from "../base/errors.ts";
import { type FloatTensor, floatTensor, formatDims, sameDims } from "../base/tensor.ts";
import type { AdapterLayer } from "./repository.ts";
import { quoted } from "./safetensors-header.ts";

/** One adapted linear map, input by rank: `y = x·W0 + scale·(x·loraA)·loraB`. The scale is not folded in. */
export interface LoraLayer extends AdapterLayer {
  /** float32 [in, rank] */
  readonly loraA: FloatTensor;
  /** float32 [rank, out] */
  readonly loraB: FloatTensor;
}

export interface Adapter {
  readonly layers: readonly LoraLayer[];
  /** Identity of the backbone that it was trained on; empty when its file does not say. */
  readonly backboneSha256: string;
}

/** Relative difference of scales that is rounding: alpha / rank is divided again by every reader. */
const SCALE_TOLERANCE = 1e-9;

/**
 * Compares an adapter with the layers that a backbone takes and gives it back with its layers in their order.
 * @throws LORASA_ADAPTER naming the first difference: another backbone, a layer that is missing or too many,
 *   sizes, rank, scale.
 */
export function checkAdapter(
  adapter: Adapter,
  expectedLayers: readonly AdapterLayer[],
  backboneSha256: string,
): Adapter {
  if (adapter.backboneSha256 !== backboneSha256) {
    throw unfit("backbone", `revision ${backboneSha256}`, shownRevision(adapter.backboneSha256), {
      mend: "an adapter works only on the backbone that it was trained on",
    });
  }
  const byName = new Map(adapter.layers.map((layer) => [layer.name, layer]));
  const layers = expectedLayers.map((expected) => checkLayer(expected, byName.get(expected.name)));
  const known = new Set(expectedLayers.map(({ name }) => name));
  const extra = adapter.layers.find(({ name }) => !known.has(name));
  if (extra) throw unfit(`layer ${extra.name}`, "no such layer in this backbone", "one");
  return { ...adapter, layers };
}

/** Of a file, which may hold any text there. */
function shownRevision(revision: string): string {
  if (revision === "") return "none";
  return /^[0-9a-f]{64}$/.test(revision) ? revision : quoted(revision);
}

function checkLayer(expected: AdapterLayer, layer: LoraLayer | undefined): LoraLayer {
  const what = `layer ${expected.name}`;
  if (!layer) throw unfit(what, "a layer of that name", "none");
  for (const field of ["in", "out", "rank"] as const) {
    if (layer[field] !== expected[field]) throw unfit(`${what}, ${field}`, expected[field], layer[field]);
  }
  if (!(Math.abs(layer.scale - expected.scale) <= SCALE_TOLERANCE * expected.scale)) {
    throw unfit(`${what}, scale`, expected.scale, layer.scale);
  }
  checkLayerShapes(layer, what);
  return { ...layer, scale: expected.scale };
}

/** @throws LORASA_ADAPTER when a matrix has other sizes than its layer says. */
export function checkLayerShapes({ in: inSize, out, rank, loraA, loraB }: LoraLayer, what: string): void {
  for (const [matrix, { dims }, expected] of [
    ["lora_A", loraA, [inSize, rank]],
    ["lora_B", loraB, [rank, out]],
  ] as const) {
    if (!sameDims(dims, expected)) throw unfit(`${what}, ${matrix}`, formatDims(expected), formatDims(dims));
  }
}

/**
 * The tensors as graphs take them, in Olive's names and orientation: `<layer>.lora_A.weight` float32 [in, rank]
 * and `<layer>.lora_B.weight` float32 [rank, out], the scale folded into lora_B.
 */
export function adapterParameters(adapter: Adapter): Map<string, FloatTensor> {
  const parameters = new Map<string, FloatTensor>();
  for (const { name, scale, loraA, loraB } of adapter.layers) {
    parameters.set(`${name}.lora_A.weight`, loraA);
    parameters.set(
      `${name}.lora_B.weight`,
      floatTensor(
        loraB.dims,
        loraB.data.map((value) => value * scale),
      ),
    );
  }
  return parameters;
}

function unfit(
  asked: string,
  expected: string | number,
  received: string | number,
  { mend }: { readonly mend?: string } = {},
): LorasaError {
  const parts = { asked: `adapter, ${asked}`, expected: `${expected}`, received: `${received}` };
  return new LorasaError("LORASA_ADAPTER", mend === undefined ? parts : { ...parts, mend });
}
