/**
 * The patterns of PEFT's `rank_pattern` and `alpha_pattern`: which of them means a layer. Not what they set.
 *
 * @source https://github.com/huggingface/peft, LoraModel and get_pattern_key.
 */
import { LorasaError } from "../base/errors.ts";
import { quoted } from "./safetensors-header.ts";

/** Most comparisons of a pattern's characters with layers: each layer is compared with every pattern but exact ones. */
const COMPARISON_LIMIT = 1e8;

/** The pattern that means this layer and no other. */
export function exactPattern(layer: string): string {
  return `^${layer.replace(/[.-]/g, "\\$&")}`;
}

/**
 * Value of the first pattern that matches a layer. A parsed object has keys that look like numbers first, wherever the
 * file had them, so where the order decides and is lost the file is refused.
 * @param layers how many it will be asked of.
 * @throws LORASA_ADAPTER for patterns that are not supported, that disagree, or too many for so many layers.
 */
export function firstMatch(
  patterns: Readonly<Record<string, number>> | null | undefined,
  layers: number,
  what: string,
): (layer: string) => number | undefined {
  const exact = new Map<string, Rule>();
  const others: (Rule & { readonly matches: (layer: string) => boolean })[] = [];
  let comparisons = 0;
  for (const [order, [pattern, value]] of Object.entries(patterns ?? {}).entries()) {
    const layer = exactLayer(pattern);
    if (layer !== undefined && !exact.has(layer)) {
      exact.set(layer, { pattern, value, order });
      continue;
    }
    comparisons += layers * pattern.length;
    if (comparisons > COMPARISON_LIMIT) throw tooManyPatterns(layers, what);
    others.push({ pattern, value, order, matches: compilePattern(pattern, what) });
  }
  return (layer) => {
    const own = exact.get(layer);
    const matches: Rule[] = others.filter((rule) => rule.matches(layer));
    if (own) matches.push(own);
    const [first] = matches.sort((a, b) => a.order - b.order);
    const other = matches.find(({ value }) => value !== first?.value);
    if (first && other && /^[0-9]+$/.test(first.pattern))
      throw ambiguous(layer, first.pattern, other.pattern, what);
    return first?.value;
  };
}

/**
 * Python's `re.match(r"(.*\.)?(pattern)$", layer)` for patterns of literals, `.`, escaped punctuation, `|`, a leading
 * `^` and a trailing `$`, in time linear in the lengths. Repetition and classes are refused: expressions that
 * backtrack, from a file of somebody else, could stop a server.
 * @throws LORASA_ADAPTER for any other construct.
 */
export function compilePattern(pattern: string, what: string): (layer: string) => boolean {
  const alternatives = pattern.split("|").map((alternative) => {
    const body = alternative.replace(/^\^/, "").replace(/(?<!\\)\$$/, "");
    const tokens = body.match(/\\[^A-Za-z0-9]|[A-Za-z0-9_./ -]/g) ?? [];
    if (tokens.join("") !== body) throw unsupportedPattern(pattern, what);
    return { tokens, atStart: alternative.startsWith("^") };
  });
  return (layer) =>
    alternatives.some(({ tokens, atStart }) => {
      const start = layer.length - tokens.length;
      if (start < 0 || (atStart && start > 0)) return false;
      if (start > 0 && layer[start - 1] !== ".") return false;
      return tokens.every((token, i) => token === "." || token.at(-1) === layer[start + i]);
    });
}

interface Rule {
  readonly pattern: string;
  readonly value: number;
  /** Place in the file. */
  readonly order: number;
}

/** The layer of an {@link exactPattern}; undefined for another pattern. */
function exactLayer(pattern: string): string | undefined {
  return /^\^(?:[A-Za-z0-9_]|\\[.-])+\$?$/.test(pattern)
    ? pattern.replace(/^\^|\$$/g, "").replaceAll("\\", "")
    : undefined;
}

function ambiguous(layer: string, first: string, other: string, what: string): LorasaError {
  return new LorasaError("LORASA_ADAPTER", {
    asked: `${what}, layer ${layer}`,
    expected: "patterns that agree",
    received: `${quoted(first)} and ${quoted(other)} with other values`,
    mend: "name the layers in full",
  });
}

function tooManyPatterns(layers: number, what: string): LorasaError {
  return new LorasaError("LORASA_ADAPTER", {
    asked: `${what}, patterns`,
    expected: `at most ${Math.floor(COMPARISON_LIMIT / layers)} characters for ${layers} layers`,
    received: "more",
    mend: "name the layers in full, as ^layer",
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
