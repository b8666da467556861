/**
 * Weight bindings: how the agents of a team share the weights of one network. Networks never mention agents' weights;
 * they ask a binding for each linear map and vector.
 *
 * Letters: N agents, R rows of an agent, B tagged rows, S adapter slots, r rank.
 */
import type { DType } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import type { Initializer, ParameterSource } from "./parameters.ts";

/** A linear map that a network asks for. */
export interface LinearSpec {
  /** Such as `mlp.0`; its parameters are `<name>.weight` `[in, out]` and `<name>.bias` `[out]`. */
  readonly name: string;
  readonly inSize: number;
  readonly outSize: number;
  readonly weight: Initializer;
}

/** A vector that a network adds to or multiplies with its rows. */
export interface VectorSpec {
  readonly name: string;
  readonly size: number;
  readonly initializer: Initializer;
  /** Whether a low-rank binding gives each agent a difference of its own. */
  readonly adapted?: boolean;
}

/** Activations are `[N, R, features]`, or `[B, features]` where rows are tagged or belong to one agent. */
export interface WeightBinding {
  /** x·W + b. */
  linear(g: GraphBuilder, x: Value, spec: LinearSpec): Value;
  /** The vector, in a shape that broadcasts over activations. */
  vector(g: GraphBuilder, spec: VectorSpec): Value;
}

/** One network for all agents, or all of one agent: W `[in, out]`. */
export function sharedBinding(source: ParameterSource): WeightBinding {
  return {
    linear: (g, x, spec) =>
      g.add(g.matMul(x, weight(g, source, spec, "team")), bias(g, source, spec, "team")),
    vector: (g, spec) => vector(g, source, spec, "team"),
  };
}

/** A network for each agent: W `[N, in, out]`, every agent's rows multiplied in one batched product. */
export function individualBinding(source: ParameterSource): WeightBinding {
  return {
    linear: (g, x, spec) =>
      g.add(g.matMul(x, weight(g, source, spec, "agent")), rowVector(g, bias(g, source, spec, "agent"))),
    vector: (g, spec) => rowVector(g, vector(g, source, spec, "agent")),
  };
}

/** A shared trunk, and a head for each agent: everything that is named `head…` has a copy an agent. */
export function multiTaskBinding(source: ParameterSource, agents: number): WeightBinding {
  const heads: ParameterSource = {
    get: (g, spec) => source.get(g, { ...spec, owner: "team", copies: agents }),
  };
  const trunk = sharedBinding(source);
  const head = individualBinding(heads);
  const bindingOf = ({ name }: { readonly name: string }): WeightBinding =>
    name.startsWith("head") ? head : trunk;
  return {
    linear: (g, x, spec) => bindingOf(spec).linear(g, x, spec),
    vector: (g, spec) => bindingOf(spec).vector(g, spec),
  };
}

/**
 * The low-rank factors of one layer in a graph, and how agents or slots are laid out in them. Those of another type than
 * what they are multiplied with are cast to it, of slots only the ones that rows picked.
 */
export interface AdapterFactors {
  /** `[N, in, r]`, `[S, in, r]` or `[in, r]`. */
  readonly loraA: Value;
  /** `[N, r, out]`, `[S, r, out]` or `[r, out]`. */
  readonly loraB: Value;
}

/** Which shape an adapted layer's factors have, and what the network must do with them. */
export interface AdapterSource {
  /** `agents`: row n of the bank belongs to agent n; `slots`: each row picks its slot; `one`: one adapter for all rows. */
  readonly layout: "agents" | "slots" | "one";
  /** int64 [B]: the slot of each row, for `slots`. */
  readonly slot?: Value;
  /** Multiplies the product of the factors; 1 where it is folded into loraB. */
  readonly scale: number;
  /** The factors of a layer, or nothing where the layer has no adapter. */
  factors(g: GraphBuilder, layer: AdaptedLayer): AdapterFactors | undefined;
}

/** A layer that can have an adapter; a vector is one of `inSize` 1. */
export interface AdaptedLayer {
  readonly name: string;
  readonly inSize: number;
  readonly outSize: number;
}

/** A frozen shared network and a difference of low rank for each agent: x·W0 + b + scale·(x·A)·B. */
export function lowRankBinding(backbone: ParameterSource, adapters: AdapterSource): WeightBinding {
  const shared = sharedBinding(backbone);
  return {
    linear(g, x, spec) {
      const base = shared.linear(g, x, spec);
      const factors = adapters.factors(g, spec);
      if (!factors) return base;
      return g.scope(`${spec.name}/lora`, () =>
        g.add(base, scaled(g, applyFactors(g, x, factors, adapters), adapters)),
      );
    },
    vector(g, spec) {
      const base = shared.vector(g, spec);
      if (!spec.adapted) return base;
      const factors = adapters.factors(g, { name: spec.name, inSize: 1, outSize: spec.size });
      if (!factors) return base;
      return g.scope(`${spec.name}/lora`, () =>
        g.add(base, scaled(g, vectorDifference(g, factors, adapters), adapters)),
      );
    },
  };
}

/**
 * The same network with W0 + scale·A·B formed first, `[N, in, out]`: one product a layer instead of three. Training
 * uses it, where rows are many and the weights change each step. The backbone is one for all, or one an agent.
 */
export function mergedLowRankBinding(backbone: ParameterSource, adapters: AdapterSource): WeightBinding {
  const shared = sharedBinding(backbone);
  const merged = mergedSource(backbone, adapters);
  // A backbone that is picked for each agent has a vector each, too.
  const row = (g: GraphBuilder, value: Value): Value =>
    value.shape.length > 1 ? rowVector(g, value) : value;
  return {
    linear: (g, x, spec) =>
      g.add(g.matMul(x, weight(g, merged, spec, "agent")), row(g, bias(g, backbone, spec, "team"))),
    vector: (g, spec) =>
      spec.adapted ? rowVector(g, vector(g, merged, spec, "agent")) : row(g, shared.vector(g, spec)),
  };
}

/** Every agent's own tensors, formed inside the graph from the backbone and the adapters of layout `agents`. */
export function mergedSource(backbone: ParameterSource, adapters: AdapterSource): ParameterSource {
  const merged = new Map<string, Value>();
  return {
    get(g, spec) {
      const known = merged.get(spec.name) ?? mergeOne(g, backbone, adapters, spec);
      merged.set(spec.name, known);
      return known;
    },
  };
}

/** The layer that a parameter belongs to if a low-rank binding adapts it. */
export function adaptedLayer(parameter: {
  readonly name: string;
  readonly shape: readonly number[];
}): AdaptedLayer | undefined {
  if (parameter.shape.length === 2) {
    const [inSize, outSize] = parameter.shape as readonly [number, number];
    return { name: parameter.name.replace(/\.weight$/, ""), inSize, outSize };
  }
  if (parameter.name.endsWith("log_std"))
    return { name: parameter.name, inSize: 1, outSize: parameter.shape[0]! };
  return undefined;
}

function mergeOne(
  g: GraphBuilder,
  backbone: ParameterSource,
  adapters: AdapterSource,
  spec: Parameters<ParameterSource["get"]>[1],
): Value {
  const base = backbone.get(g, { ...spec, owner: "team" });
  const layer = adaptedLayer(spec);
  // A frozen vector is the same for every agent: the leading 1 broadcasts.
  const factors = layer && adapters.factors(g, layer);
  if (!factors) return base.shape.length > spec.shape.length ? base : g.reshape(base, [1, ...spec.shape]);
  const difference = scaled(g, g.matMul(factors.loraA, factors.loraB), adapters);
  return spec.shape.length === 2 ? g.add(base, difference) : g.add(base, g.squeeze(difference, [1]));
}

function weight(g: GraphBuilder, source: ParameterSource, spec: LinearSpec, owner: "team" | "agent"): Value {
  return source.get(g, {
    name: `${spec.name}.weight`,
    owner,
    shape: [spec.inSize, spec.outSize],
    initializer: spec.weight,
  });
}

function bias(g: GraphBuilder, source: ParameterSource, spec: LinearSpec, owner: "team" | "agent"): Value {
  return source.get(g, {
    name: `${spec.name}.bias`,
    owner,
    shape: [spec.outSize],
    initializer: { kind: "constant", value: 0 },
  });
}

function vector(g: GraphBuilder, source: ParameterSource, spec: VectorSpec, owner: "team" | "agent"): Value {
  return source.get(g, { name: spec.name, owner, shape: [spec.size], initializer: spec.initializer });
}

/** `[N, size]` → `[N, 1, size]`. */
function rowVector(g: GraphBuilder, value: Value): Value {
  return g.unsqueeze(value, [1]);
}

function scaled(g: GraphBuilder, difference: Value, { scale }: AdapterSource): Value {
  return scale === 1 ? difference : g.mul(difference, scale);
}

function applyFactors(
  g: GraphBuilder,
  x: Value,
  { loraA, loraB }: AdapterFactors,
  adapters: AdapterSource,
): Value {
  const [a, b] = [loraA, loraB].map((factor) => picked(g, factor, adapters, x.dtype)) as [Value, Value];
  if (adapters.layout !== "slots") return g.matMul(g.matMul(x, a), b);
  return g.squeeze(g.matMul(g.matMul(g.unsqueeze(x, [1]), a), b), [1]);
}

/** `[N, 1, size]`, `[B, size]` or `[1, size]`, float32 as the vector is. */
function vectorDifference(g: GraphBuilder, { loraA, loraB }: AdapterFactors, adapters: AdapterSource): Value {
  const [a, b] = [loraA, loraB].map((factor) => picked(g, factor, adapters, "float32")) as [Value, Value];
  return adapters.layout === "slots" ? g.squeeze(g.matMul(a, b), [1]) : g.matMul(a, b);
}

/** A factor as it is, or the slot of each row, `[B, …]`. */
function picked(g: GraphBuilder, factor: Value, { layout, slot }: AdapterSource, dtype: DType): Value {
  return g.cast(layout === "slots" ? g.gather(factor, slot!) : factor, dtype);
}
