/**
 * PEFT's `adapter_config.json`: what of it decides the mathematics of a LoRA adapter. Not the tensors.
 *
 * Keys that lorasa does not know are ignored, as PEFT ignores them; keys that would change what the adapter
 * computes in a way that lorasa does not do are refused.
 *
 * @source https://github.com/huggingface/peft, LoraConfig and LoraModel.
 */
import { z } from "zod";
import { LorasaError } from "../base/errors.ts";
import { firstMatch } from "./peft-patterns.ts";
import { quoted } from "./safetensors-header.ts";

const rank = z.int().positive();
const alpha = z.number().positive();
const names = z.union([z.string(), z.array(z.string())]).nullish();

const loraConfig = z.object({
  peft_type: z.literal("LORA"),
  r: rank.default(8),
  lora_alpha: alpha.default(8),
  use_rslora: z.boolean().default(false),
  bias: z.literal("none").default("none"),
  target_modules: names,
  exclude_modules: names,
  rank_pattern: z.record(z.string(), rank).nullish(),
  alpha_pattern: z.record(z.string(), alpha).nullish(),
  // The ways to start that change the backbone's own weights ("pissa", "olora", …) are not in the list.
  init_lora_weights: z.union([z.boolean(), z.enum(["gaussian", "eva", "orthogonal"])]).default(true),
  revision: z.string().nullish(),
});

export type LoraConfig = z.infer<typeof loraConfig>;

/** Keys that must be absent, null, false or empty, with what they would do. */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  use_dora: "scales every output by a trained magnitude (DoRA)",
  lora_bias: "adds a bias to lora_B",
  modules_to_save: "replaces whole layers",
  target_parameters: "adapts parameters that are not linear layers",
  layer_replication: "repeats layers of the backbone",
  layers_to_transform: "adapts some layers only",
  layers_pattern: "adapts some layers only",
  trainable_token_indices: "replaces rows of an embedding",
  alora_invocation_tokens: "switches the adapter on by tokens",
  ensure_weight_tying: "ties embeddings",
  arrow_config: "routes between adapters",
  kasa_config: "puts a diagonal between lora_A and lora_B",
  monteclora_config: "samples around the adapter",
  megatron_config: "splits layers over devices",
};

/**
 * Checks a parsed `adapter_config.json`.
 * @throws LORASA_ADAPTER naming the field that is wrong or not supported.
 */
export function parseLoraConfig(config: unknown, what: string): LoraConfig {
  checkLengths(config, what);
  const parsed = loraConfig.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const field = issue?.path.map((part) => quoted(`${String(part)}`).slice(1, -1)).join(".");
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, ${field || "adapter_config"}`,
      received: issue?.message ?? "a wrong value",
    });
  }
  for (const [key, value] of Object.entries(config as Record<string, unknown>)) {
    const effect = effectOf(key);
    if (effect === undefined || key === "use_rslora" || isOff(value)) continue;
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, ${quoted(key)}`,
      expected: "it off: plain LoRA",
      received: `${shown(value)}, which ${effect}`,
      mend: "merge the adapter into its backbone where it was trained",
    });
  }
  return parsed.data;
}

/** Most names of a list and most patterns: twice the layers that an adapter's file has room for. */
const ENTRY_LIMIT = 20_000;

/** Before each entry is checked, which takes far longer than reading it. */
function checkLengths(config: unknown, what: string): void {
  if (typeof config !== "object" || config === null) return;
  for (const field of ["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"]) {
    const value = (config as Record<string, unknown>)[field];
    const length = typeof value === "object" && value !== null ? Object.keys(value).length : 0;
    if (length <= ENTRY_LIMIT) continue;
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, ${field}`,
      expected: `at most ${ENTRY_LIMIT} entries`,
      received: `${length}`,
    });
  }
}

/** A switch that is newer than the list changes the mathematics too: `use_…` is PEFT's word for variants. */
function effectOf(key: string): string | undefined {
  if (Object.hasOwn(UNSUPPORTED, key)) return UNSUPPORTED[key];
  return key.startsWith("use_") ? "is a variant of LoRA" : undefined;
}

/** Never a value's whole contents: writing one that is nested deeply would take the whole stack. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return typeof value === "string" ? quoted(value) : `${String(value)}`;
}

function isOff(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** What a configuration says of one layer. */
export interface LayerConfig {
  readonly rank: number;
  readonly scale: number;
}

/**
 * Reads what a configuration says of each layer; undefined for one that PEFT would not adapt. Scales are alpha / r, or
 * alpha / √r when rank-stabilised. The first pattern that matches counts.
 *
 * A regular expression as `target_modules` is taken as matching: PEFT saves tensors of the layers that it matched, and
 * an expression from a file is not run here, where it could take forever.
 * @param layers how many it will be asked of.
 * @throws LORASA_ADAPTER for patterns that are not supported, or too many for so many layers.
 */
export function layerReader(
  config: LoraConfig,
  layers: number,
  what: string,
): (layer: string) => LayerConfig | undefined {
  const targets = nameMatcher(config.target_modules);
  const excluded = nameMatcher(config.exclude_modules);
  const rankOf = firstMatch(config.rank_pattern, layers, what);
  const alphaOf = firstMatch(config.alpha_pattern, layers, what);
  return (layer) => {
    if (excluded?.(layer) || !(targets?.(layer) ?? true)) return undefined;
    const rank = rankOf(layer) ?? config.r;
    const alpha = alphaOf(layer) ?? config.lora_alpha;
    return { rank, scale: alpha / (config.use_rslora ? Math.sqrt(rank) : rank) };
  };
}

/** Whether a layer is of one of the names, or ends with a dot and one; undefined where the names are no list. */
function nameMatcher(list: LoraConfig["target_modules"]): ((layer: string) => boolean) | undefined {
  if (!Array.isArray(list)) return undefined;
  const known = new Set(list);
  return (layer) => {
    if (known.has(layer)) return true;
    for (let dot = layer.indexOf("."); dot >= 0; dot = layer.indexOf(".", dot + 1)) {
      if (known.has(layer.slice(dot + 1))) return true;
    }
    return false;
  };
}
