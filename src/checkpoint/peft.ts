/**
 * Adapters as PEFT's directories: `adapter_config.json` and `adapter_model.safetensors`. Not what an adapter must
 * be to fit a backbone (`adapter.ts`).
 *
 * The files hold output by rank, `lora_A` [r, in] and `lora_B` [out, r]; in memory both are transposed.
 * `fan_in_fan_out` says how the backbone is stored and changes neither matrix. The revision is the identity of the
 * backbone.
 *
 * @source https://github.com/huggingface/peft, save_pretrained and LoraModel.
 */
import { existsSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { recoverDirectory, replaceDirectory } from "../base/directories.ts";
import { LorasaError } from "../base/errors.ts";
import { readFile, readJson } from "../base/files.ts";
import { type FloatTensor, floatTensor, formatDims, type HostTensor } from "../base/tensor.ts";
import { type Adapter, checkLayerShapes, type LoraLayer } from "./adapter.ts";
import { type LayerConfig, layerReader, parseLoraConfig } from "./peft-config.ts";
import { exactPattern } from "./peft-patterns.ts";
import { checkFinite, decodeSafetensors, encodeSafetensors } from "./safetensors.ts";
import { quoted } from "./safetensors-header.ts";

export const CONFIG_FILE = "adapter_config.json";
export const TENSORS_FILE = "adapter_model.safetensors";

/** Largest header of an adapter's tensors, in bytes: room for ten thousand layers. */
const MAX_HEADER_BYTES = 4 * 2 ** 20;
const TENSOR_NAME = /^base_model\.model\.([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*)\.lora_([AB])\.weight$/;
/** Longest name of a tensor that is read. */
const NAME_LIMIT_CHARACTERS = 512;
const LAYER_NAME = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

export interface AdapterFileOptions {
  /** `r`: the rank asked for, before it was capped by a layer's sizes (default: the largest of the layers). */
  readonly rank?: number;
  /** `lora_alpha` (default: what gives the scale of a layer of the largest rank). */
  readonly alpha?: number;
  /** `base_model_name_or_path` (default null). */
  readonly baseModel?: string;
}

/**
 * The two files of an adapter, by name. Layers whose rank or scale differ from `rank` and `alpha / rank` get a
 * line in `rank_pattern` and `alpha_pattern`, so that PEFT computes with the adapter's own. A scale that comes back
 * from `alpha_pattern` may differ in its last bit (of float64); `checkAdapter` restores it.
 * @throws LORASA_ADAPTER for a layer whose name or shapes cannot be written; LORASA_NOT_FINITE.
 */
export function encodeAdapter(
  adapter: Adapter,
  options: AdapterFileOptions = {},
): Record<string, Uint8Array> {
  const tensors = new Map<string, HostTensor>();
  for (const layer of adapter.layers) {
    const what = `adapter, layer ${quoted(layer.name)}`;
    if (!LAYER_NAME.test(layer.name))
      throw refused(what, "letters, digits, _ and - between dots", layer.name);
    checkLayerShapes(layer, what);
    tensors.set(`base_model.model.${layer.name}.lora_A.weight`, transpose(layer.loraA));
    tensors.set(`base_model.model.${layer.name}.lora_B.weight`, transpose(layer.loraB));
  }
  checkFinite(tensors, "adapter");
  const config = `${JSON.stringify(adapterConfig(adapter, options), null, 2)}\n`;
  return {
    [CONFIG_FILE]: Buffer.from(config),
    [TENSORS_FILE]: encodeSafetensors(tensors, { format: "pt" }),
  };
}

/** Keys in sorted order, as PEFT writes them. */
function adapterConfig(adapter: Adapter, options: AdapterFileOptions): Record<string, unknown> {
  const widest = [...adapter.layers].sort((a, b) => b.rank - a.rank)[0];
  const rank = options.rank ?? widest?.rank ?? 8;
  const alpha = options.alpha ?? (widest?.scale ?? 1) * rank;
  const others = adapter.layers.filter((layer) => layer.rank !== rank);
  const rescaled = adapter.layers.filter((layer) => alpha / layer.rank !== layer.scale);
  return {
    alpha_pattern: patterns(rescaled, (layer) => layer.scale * layer.rank),
    base_model_name_or_path: options.baseModel ?? null,
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: alpha,
    lora_bias: false,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: "LORA",
    r: rank,
    rank_pattern: patterns(others, (layer) => layer.rank),
    revision: adapter.backboneSha256,
    target_modules: adapter.layers.map(({ name }) => name).sort(),
    task_type: null,
    use_dora: false,
    use_rslora: false,
  };
}

function patterns(layers: readonly LoraLayer[], value: (layer: LoraLayer) => number): Record<string, number> {
  return Object.fromEntries(
    layers
      .map((layer): [string, number] => [exactPattern(layer.name), value(layer)])
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}

/**
 * Writes an adapter's directory whole, replacing one that is there.
 * @throws LORASA_ADAPTER as {@link encodeAdapter}; LORASA_EXISTS when the folder holds something else; LORASA_DISK.
 */
export function writeAdapter(directory: string, adapter: Adapter, options: AdapterFileOptions = {}): void {
  const files = encodeAdapter(adapter, options);
  replaceDirectory(
    directory,
    (temporary) => {
      for (const [name, bytes] of Object.entries(files)) writeFileSync(join(temporary, name), bytes);
    },
    { marker: CONFIG_FILE },
  );
}

/**
 * Reads an adapter's directory, written here or by PEFT.
 * @throws LORASA_ADAPTER for an adapter that is not plain LoRA, or in a pickle; LORASA_FILE for a broken file;
 *   LORASA_NOT_FINITE.
 */
export function readAdapter(directory: string): Adapter {
  refusePickle(directory);
  recoverDirectory(directory);
  const tensorsPath = join(directory, TENSORS_FILE);
  if (!existsSync(tensorsPath)) refusePickle(join(directory, "adapter_model.bin"));
  const config = readJson(join(directory, CONFIG_FILE), "adapter configuration");
  return parseAdapter(config, readFile(tensorsPath, "adapter tensors"), `adapter ${basename(directory)}`);
}

/** A pickle runs code when it is read, so none is. */
function refusePickle(path: string): void {
  if (!/\.(bin|pt|pth|pkl|ckpt)$/i.test(path) || !existsSync(path)) return;
  throw refused(
    path,
    TENSORS_FILE,
    "a pickle, which can run code",
    "save it again with safe_serialization=True",
  );
}

/** A zip archive or bare pickle; read as safetensors, its first bytes are a header of many megabytes. */
function isPickle(bytes: Uint8Array): boolean {
  const zip = bytes[0] === 0x50 && bytes[1] === 0x4b;
  if (bytes.length < 8 || !(zip || bytes[0] === 0x80)) return false;
  return new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true) > MAX_HEADER_BYTES;
}

/**
 * An adapter from the parsed `adapter_config.json` and the bytes of `adapter_model.safetensors`.
 * @param what name of the adapter for messages.
 * @throws LORASA_ADAPTER, LORASA_FILE, LORASA_DTYPE or LORASA_NOT_FINITE, naming the field, layer or tensor.
 */
export function parseAdapter(config: unknown, tensors: Uint8Array, what: string): Adapter {
  if (isPickle(tensors)) throw refused(what, "safetensors", "a pickle, which can run code");
  const loraConfig = parseLoraConfig(config, what);
  const decoded = decodeSafetensors(tensors, what, { finite: true, maxHeaderBytes: MAX_HEADER_BYTES });
  const pairs = pairTensors(decoded.tensors, what);
  if (pairs.size === 0) throw refused(what, "a layer at least", "none");
  const configOf = layerReader(loraConfig, pairs.size, what);
  return {
    layers: [...pairs].map(([name, pair]) => makeLayer(name, pair, configOf(name), what)),
    backboneSha256: loraConfig.revision ?? "",
  };
}

/** float32 [r, in] and [out, r] of a layer, as the file has them. */
type Pair = { A?: FloatTensor; B?: FloatTensor };

function pairTensors(tensors: ReadonlyMap<string, HostTensor>, what: string): Map<string, Pair> {
  const pairs = new Map<string, Pair>();
  for (const [name, tensor] of tensors) {
    const asked = `${what}, tensor ${quoted(name)}`;
    if (name.length > NAME_LIMIT_CHARACTERS) {
      throw refused(asked, `a name of at most ${NAME_LIMIT_CHARACTERS} characters`, `${name.length}`);
    }
    const [, layer, matrix] = TENSOR_NAME.exec(name) ?? [];
    if (layer === undefined || matrix === undefined) {
      throw refused(asked, "base_model.model.<layer>.lora_A.weight or lora_B.weight", "another name");
    }
    if (!isFloat(tensor)) {
      throw new LorasaError("LORASA_DTYPE", { asked, expected: "float32", received: tensor.dtype });
    }
    if (tensor.dims.length !== 2) throw refused(asked, "two axes", formatDims(tensor.dims));
    const pair = pairs.get(layer) ?? {};
    pair[matrix as "A" | "B"] = tensor;
    pairs.set(layer, pair);
  }
  return pairs;
}

function makeLayer(name: string, { A, B }: Pair, config: LayerConfig | undefined, what: string): LoraLayer {
  const asked = `${what}, layer ${name}`;
  if (!A || !B) throw refused(asked, "lora_A and lora_B", `no lora_${A ? "B" : "A"}`);
  if (!config) throw refused(asked, "a layer of target_modules", "one that PEFT would ignore");
  const { rank, scale } = config;
  const loraA = transpose(A);
  const loraB = transpose(B);
  const layer = { name, in: loraA.dims[0]!, out: loraB.dims[1]!, rank, scale, loraA, loraB };
  if (layer.in === 0 || layer.out === 0) throw refused(asked, "sizes of 1 and more", "0");
  checkLayerShapes(layer, asked);
  return layer;
}

function isFloat(tensor: HostTensor): tensor is FloatTensor {
  return tensor.dtype === "float32";
}

/** float32 [a, b] → [b, a]. */
function transpose({ dims: [rows = 0, columns = 0], data }: FloatTensor): FloatTensor {
  const turned = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++)
      turned[column * rows + row] = data[row * columns + column]!;
  }
  return floatTensor([columns, rows], turned);
}

function refused(asked: string, expected: string, received: string, mend?: string): LorasaError {
  const parts = { asked, expected, received };
  return new LorasaError("LORASA_ADAPTER", mend === undefined ? parts : { ...parts, mend });
}
