/** Low-rank adapters of a team: which layers have one, their parameters, and their place in a graph. */
import { LorasaError, suggestion } from "../src/base/errors.ts";
import { floatTensor } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import { type AdaptedLayer, type AdapterSource, adaptedLayer } from "./bindings.ts";
import { type Initializer, ParameterLayout, type ParameterSpec } from "./parameters.ts";

/** Rank and scale of a team's adapters. */
export interface LoraConfig {
  /** r; a layer's own rank is at most min(in, out). */
  readonly rank: number;
  /** The difference is multiplied by alpha / rank, also where a layer's rank is capped. */
  readonly alpha: number;
  /** Which factor starts at zero, so that training starts from the backbone; the other is Kaiming-uniform. */
  readonly zero: "loraA" | "loraB";
  /** Names of layers without an adapter. */
  readonly exclude: readonly string[];
  /** Ranks of layers that have another than `rank`, by name; their scale is that of all. */
  readonly ranks?: Readonly<Record<string, number>>;
}

/** A layer with its capped rank. */
export interface RankedLayer extends AdaptedLayer {
  readonly rank: number;
}

/**
 * The layers that have an adapter, in the order of the backbone's parameters.
 * @throws LORASA_CONFIG when a layer that is excluded or has a rank of its own is none of the network's, or none is left.
 */
export function rankedLayers(backbone: ParameterLayout, config: LoraConfig): RankedLayer[] {
  const layers = backbone.specs
    .map((spec) => adaptedLayer(spec))
    .filter((layer): layer is AdaptedLayer => layer !== undefined);
  const names = layers.map(({ name }) => name);
  const ranks = config.ranks ?? {};
  const named = [...config.exclude, ...Object.keys(ranks)];
  const unknown = named.find((name) => !names.includes(name));
  if (unknown !== undefined) throw wrongLayers(unknown, suggestion(unknown, names));
  const ranked = layers
    .filter(({ name }) => !config.exclude.includes(name))
    .map((layer) => ({
      ...layer,
      rank: Math.min(ranks[layer.name] ?? config.rank, layer.inSize, layer.outSize),
    }));
  if (ranked.length === 0) throw wrongLayers("every layer", "leave one at least");
  return ranked;
}

function wrongLayers(received: string, mend: string): LorasaError {
  return new LorasaError("LORASA_CONFIG", {
    asked: "layers without an adapter, or with a rank of their own",
    expected: "some of the network's",
    received,
    mend,
  });
}

/**
 * Parameters of every agent's adapter: `<layer>.lora_A` `[in, r]` and `<layer>.lora_B` `[r, out]`. A vector's A would
 * only scale its B, so it is the constant 1 and B is the plain difference.
 */
export function adapterLayout(
  layers: readonly RankedLayer[],
  agents: number,
  config: LoraConfig,
): ParameterLayout {
  const specs = layers.flatMap(({ name, inSize, outSize, rank }): ParameterSpec[] => {
    const loraB: ParameterSpec = {
      name: `${name}.lora_B`,
      owner: "agent",
      shape: [rank, outSize],
      initializer: ZERO,
    };
    if (isVector({ inSize })) return [loraB];
    const loraA: ParameterSpec = {
      name: `${name}.lora_A`,
      owner: "agent",
      shape: [inSize, rank],
      initializer: ZERO,
    };
    return config.zero === "loraA"
      ? [loraA, { ...loraB, initializer: kaiming(rank) }]
      : [{ ...loraA, initializer: kaiming(inSize) }, loraB];
  });
  return new ParameterLayout(specs, agents);
}

/** Adapters cut out of one flat float32 [N, P] graph value. */
export function flatAdapters(
  g: GraphBuilder,
  layout: ParameterLayout,
  flat: Value,
  config: LoraConfig,
): AdapterSource {
  const source = layout.source(g, flat);
  const known = new Set(layout.specs.map(({ name }) => name));
  const get = (name: string): Value => source.get(g, layout.spec(name));
  const one = g.constant("one", floatTensor([layout.owners, 1, 1], new Float32Array(layout.owners).fill(1)));
  return {
    layout: "agents",
    scale: config.alpha / config.rank,
    factors: (_, layer) => {
      if (!known.has(`${layer.name}.lora_B`)) return undefined;
      return {
        loraA: isVector(layer) ? one : get(`${layer.name}.lora_A`),
        loraB: get(`${layer.name}.lora_B`),
      };
    },
  };
}

/** Whether an adapted "layer" is a vector: one input that is always 1. */
export function isVector({ inSize }: { readonly inSize: number }): boolean {
  return inSize === 1;
}

const ZERO: Initializer = { kind: "constant", value: 0 };

/** PyTorch's Kaiming-uniform with a = √5: bound 1/√fan-in. */
function kaiming(fanIn: number): Initializer {
  return { kind: "uniform", bound: 1 / Math.sqrt(fanIn) };
}
