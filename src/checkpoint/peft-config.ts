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
  const parsed = loraConfig.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, ${issue?.path.join(".") || "adapter_config"}`,
      received: issue?.message ?? "a wrong value",
    });
  }
  for (const [key, value] of Object.entries(config as Record<string, unknown>)) {
    // A switch that is newer than this list changes the mathematics too: `use_…` is PEFT's word for variants.
    const effect = UNSUPPORTED[key] ?? (key.startsWith("use_") ? "is a variant of LoRA" : undefined);
    if (effect === undefined || key === "use_rslora" || isOff(value)) continue;
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, ${quoted(key)}`,
      expected: "it off: plain LoRA",
      received: `${JSON.stringify(value).slice(0, 80)}, which ${effect}`,
      mend: "merge the adapter into its backbone where it was trained",
    });
  }
  return parsed.data;
}

function isOff(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === "object" && Object.keys(value).length === 0;
}

/** Rank and scale of a layer: alpha / r, or alpha / √r when rank-stabilised. The first pattern that matches counts. */
export function resolveLayer(
  config: LoraConfig,
  layer: string,
  what: string,
): { rank: number; scale: number } {
  const rankOf = firstMatch(config.rank_pattern, layer, what) ?? config.r;
  const alphaOf = firstMatch(config.alpha_pattern, layer, what) ?? config.lora_alpha;
  return { rank: rankOf, scale: alphaOf / (config.use_rslora ? Math.sqrt(rankOf) : rankOf) };
}

/**
 * Whether PEFT would adapt the layer. A regular expression (a string) is taken as matching: PEFT saves tensors of
 * the layers that it matched, and an expression from a file is not run here, where it could take forever.
 */
export function isTargeted(config: LoraConfig, layer: string): boolean {
  const isNamed = (name: string): boolean => layer === name || layer.endsWith(`.${name}`);
  const { target_modules: targets, exclude_modules: excluded } = config;
  if (Array.isArray(excluded) && excluded.some(isNamed)) return false;
  return !Array.isArray(targets) || targets.some(isNamed);
}

/** The pattern that means this layer and no other. */
export function exactPattern(layer: string): string {
  return `^${layer.replace(/[.-]/g, "\\$&")}`;
}

/**
 * Value of the first pattern that matches. A parsed object has keys that look like numbers first, wherever the file
 * had them, so where the order decides and is lost the file is refused.
 */
function firstMatch(
  patterns: Readonly<Record<string, number>> | null | undefined,
  layer: string,
  what: string,
): number | undefined {
  const matches = Object.entries(patterns ?? {}).filter(([pattern]) => matchesPattern(pattern, layer, what));
  const [first] = matches;
  const other = matches.find(([, value]) => value !== first?.[1]);
  if (first && other && /^[0-9]+$/.test(first[0])) {
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `${what}, layer ${layer}`,
      expected: "patterns that agree",
      received: `${quoted(first[0])} and ${quoted(other[0])} with other values`,
      mend: "name the layers in full",
    });
  }
  return first?.[1];
}

/**
 * Python's `re.match(r"(.*\.)?(pattern)$", layer)` for patterns of literals, `.`, escaped punctuation, `|`, a leading
 * `^` and a trailing `$`, in time linear in the lengths. Repetition and classes are refused: expressions that
 * backtrack, from a file of somebody else, could stop a server.
 * @throws LORASA_ADAPTER for any other construct.
 */
export function matchesPattern(pattern: string, layer: string, what: string): boolean {
  return pattern.split("|").some((alternative) => {
    const body = alternative.replace(/^\^/, "").replace(/(?<!\\)\$$/, "");
    const tokens = body.match(/\\[^A-Za-z0-9]|[A-Za-z0-9_./ -]/g) ?? [];
    if (tokens.join("") !== body) throw unsupportedPattern(pattern, what);
    const start = layer.length - tokens.length;
    if (start < 0 || (alternative.startsWith("^") && start > 0)) return false;
    if (start > 0 && layer[start - 1] !== ".") return false;
    return tokens.every((token, i) => token === "." || token.at(-1) === layer[start + i]);
  });
}

function unsupportedPattern(pattern: string, what: string): LorasaError {
  return new LorasaError("LORASA_ADAPTER", {
    asked: `${what}, pattern ${quoted(pattern)}`,
    expected: "names of layers, with |, ., ^ and $ at most",
    received: "repetition, a class or a group",
    mend: "name the layers one by one",
  });
}
