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
  /** Shape of one tensor (of one copy); weights are `[in, out]`. */
  readonly shape: readonly number[];
  readonly initializer: Initializer;
  /** So many tensors of that shape side by side in one owner's row, one an agent: the heads of a shared trunk. */
  readonly copies?: number;
}

/** Gives the value of a parameter inside a graph: `shape`, or `[N, ...shape]` when agents own it or it has copies. */
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
      offset += parameterSize(spec);
    }
    this.size = offset;
  }

  get dims(): readonly [number, number] {
    return [this.owners, this.size];
  }

  /** Parts that may learn without the others: owners; where parameters have copies, what is common and each copy. */
  get parts(): number {
    const copies = this.specs.flatMap((spec) => spec.copies ?? []);
    return copies.length === 0 ? this.owners : 1 + Math.max(...copies);
  }

  /** Where a parameter's numbers begin in an owner's row. */
  offset(name: string): number {
    return this.#offsets.get(this.spec(name).name)!;
  }

  /** The part of row `owner` that holds one copy of a parameter: a view of the numbers, not a copy of them. */
  view(flat: Float32Array, name: string, owner = 0, copy = 0): FloatTensor {
    const { shape } = this.spec(name);
    const size = elementCount(shape);
    const start = owner * this.size + this.#offsets.get(name)! + copy * size;
    return floatTensor(shape, flat.subarray(start, start + size));
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
    const parts = g.split(flat, this.specs.map(parameterSize), 1);
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

/** Numbers of a parameter in one owner's row. */
export function parameterSize({ shape, copies = 1 }: ParameterSpec): number {
  return copies * elementCount(shape);
}

function ownedShape({ owner, shape, copies }: ParameterSpec, agents: number): readonly number[] {
  if (copies !== undefined) return [copies, ...shape];
  return owner === "agent" ? [agents, ...shape] : shape;
}
