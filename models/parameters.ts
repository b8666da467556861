/**
 * Parameters by name: what a network asks for, and where the tensors come from. How weights are shared between
 * agents is decided by a binding, not here.
 *
 * Letters: N agents, P numbers of all parameters together, G owners (1 for the team, N for the agents).
 */

import { LorasaError } from "../src/base/errors.ts";
import type { FloatTensor, HostTensor } from "../src/base/tensor.ts";
import { elementCount, floatTensor } from "../src/base/tensor.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";

/** How a parameter starts: `orthogonal` with a gain, a constant, or uniform in ±bound. */
export type Initializer =
  | { readonly kind: "orthogonal"; readonly gain: number }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "uniform"; readonly bound: number };

/** One tensor of a network. */
export interface ParameterSpec {
  /** Such as `mlp.0.weight`. */
  readonly name: string;
  /** `team`: one tensor for all; `agent`: one for each, so a leading axis N. */
  readonly owner: "team" | "agent";
  /** Shape of one tensor; weights are `[in, out]`. */
  readonly shape: readonly number[];
  readonly initializer: Initializer;
}

/** Gives the value of a parameter inside a graph: `shape`, or `[N, ...shape]` when agents own it. */
export interface ParameterSource {
  get(g: GraphBuilder, spec: ParameterSpec): Value;
}

/** The parameters that `build` asks its source for, each once, in the order of first use. */
export function recordParameters(
  agents: number,
  build: (g: GraphBuilder, source: ParameterSource) => void,
): ParameterSpec[] {
  const known = new Map<string, { spec: ParameterSpec; value: Value }>();
  build(new GraphBuilder(), {
    get(g, spec) {
      const seen = known.get(spec.name);
      if (seen) return seen.value;
      const value = g.input(`parameter ${spec.name}`, "float32", ownedShape(spec, agents));
      known.set(spec.name, { spec, value });
      return value;
    },
  });
  return [...known.values()].map(({ spec }) => spec);
}

/** Where each parameter of one kind of owner lies in a flat float32 [G, P] matrix, row-major. */
export class ParameterLayout {
  readonly specs: readonly ParameterSpec[];
  /** G. */
  readonly owners: number;
  /** P. */
  readonly size: number;
  readonly #offsets = new Map<string, number>();

  constructor(specs: readonly ParameterSpec[], owners: number) {
    this.specs = specs;
    this.owners = owners;
    let offset = 0;
    for (const spec of specs) {
      this.#offsets.set(spec.name, offset);
      offset += elementCount(spec.shape);
    }
    this.size = offset;
  }

  get dims(): readonly [number, number] {
    return [this.owners, this.size];
  }

  /** The part of row `owner` that holds a parameter: a view, not a copy. */
  view(flat: Float32Array, name: string, owner = 0): FloatTensor {
    const spec = this.spec(name);
    const start = owner * this.size + this.#offsets.get(name)!;
    return floatTensor(spec.shape, flat.subarray(start, start + elementCount(spec.shape)));
  }

  spec(name: string): ParameterSpec {
    const spec = this.specs.find((candidate) => candidate.name === name);
    if (!spec)
      throw new LorasaError("LORASA_NAME", {
        asked: `parameter ${name}`,
        expected: "one of the network",
        received: "an unknown name",
      });
    return spec;
  }

  /** A source that cuts the parameters out of one flat graph value. */
  source(g: GraphBuilder, flat: Value): ParameterSource {
    const parts = g.split(
      flat,
      this.specs.map(({ shape }) => elementCount(shape)),
      1,
    );
    const values = new Map(
      this.specs.map((spec, index) => [spec.name, g.reshape(parts[index]!, ownedShape(spec, this.owners))]),
    );
    return { get: (_, spec) => values.get(this.spec(spec.name).name)! };
  }
}

/** A source of constants: what exports are made of. Agents' tensors are stacked along a leading axis. */
export function constantSource(tensor: (spec: ParameterSpec) => HostTensor): ParameterSource {
  const made = new Map<string, Value>();
  return {
    get(g, spec) {
      const known = made.get(spec.name) ?? g.constant(spec.name, tensor(spec));
      made.set(spec.name, known);
      return known;
    },
  };
}

function ownedShape(spec: ParameterSpec, agents: number): readonly number[] {
  return spec.owner === "agent" ? [agents, ...spec.shape] : spec.shape;
}
