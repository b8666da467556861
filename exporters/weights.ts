/** A team's weights as exports need them: every agent's own, merged on the host, and as constants of a graph. */
import { adaptedLayer } from "../models/bindings.ts";
import { constantSource, ParameterLayout, type ParameterSource } from "../models/parameters.ts";
import { agentAdapter, baseNetworks, type Team, type TeamAdapterLayer } from "../models/team.ts";
import { elementCount, type FloatTensor, floatTensor } from "../src/base/tensor.ts";
import { typedTensor, type WeightType } from "./precision.ts";

/** Flat weights in the backbone's layout: a row for each agent, or one row where all agents share it. */
export interface Weights {
  readonly layout: ParameterLayout;
  /** float32 [1 or N, P]. */
  readonly flat: Float32Array;
}

/**
 * Every agent's own weights: W0 + scale·A·B where there are adapters, products summed in float64 and rounded once.
 * Shared teams keep their one row.
 */
export function mergedWeights(team: Team): Weights {
  const base = baseNetworks(team);
  if (!team.adapters) return base;
  const layout = new ParameterLayout(base.layout.specs, team.agents.length);
  const flat = new Float32Array(layout.owners * layout.size);
  for (let agent = 0; agent < layout.owners; agent++) {
    const row = base.layout.owners === 1 ? 0 : agent;
    flat.set(base.flat.subarray(row * layout.size, (row + 1) * layout.size), agent * layout.size);
    const adapters = new Map(agentAdapter(team, agent).map((layer) => [layer.name, layer]));
    for (const spec of layout.specs) {
      const adapter = adapters.get(adaptedLayer(spec)?.name ?? "");
      if (adapter) addProduct(layout.view(flat, spec.name, agent).data, adapter);
    }
  }
  return { layout, flat };
}

/**
 * Constants of one agent in a type; a parameter asked for in a smaller shape is cut to its first rows and columns.
 * @throws LORASA_RANGE while the graph is built, naming the parameter that float16 does not hold.
 */
export function agentSource({ layout, flat }: Weights, agent: number, dtype: WeightType): ParameterSource {
  const owner = layout.owners === 1 ? 0 : agent;
  return constantSource(({ name, shape }) =>
    typedTensor(cut(layout.view(flat, name, owner), shape), dtype, name),
  );
}

/**
 * Constants of all agents stacked `[N, ...shape]`, or `[1, ...shape]` where no agent differs from another.
 * @throws as {@link agentSource}.
 */
export function stackedSource({ layout, flat }: Weights, dtype: WeightType): ParameterSource {
  return constantSource(({ name, shape }) => {
    const size = elementCount(shape);
    const data = new Float32Array(layout.owners * size);
    for (let owner = 0; owner < layout.owners; owner++) {
      data.set(layout.view(flat, name, owner).data, owner * size);
    }
    const same = data.every((value, k) => value === data[k % size]);
    const tensor = same
      ? floatTensor([1, ...shape], data.slice(0, size))
      : floatTensor([layout.owners, ...shape], data);
    return typedTensor(tensor, dtype, name);
  });
}

/** Adds scale·A·B to a weight `[in, out]`, or to a vector `[out]` as one of a single row. */
function addProduct(target: Float32Array, layer: TeamAdapterLayer): void {
  const { in: rows, out: columns, rank, scale } = layer;
  const [loraA, loraB] = [layer.loraA.data, layer.loraB.data];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let r = 0; r < rank; r++) sum += loraA[i * rank + r]! * loraB[r * columns + j]!;
      target[i * columns + j] = target[i * columns + j]! + scale * sum;
    }
  }
}

function cut(tensor: FloatTensor, dims: readonly number[]): FloatTensor {
  const columns = dims.at(-1)!;
  const stride = tensor.dims.at(-1)!;
  if (columns === stride) return tensor;
  const data = Float32Array.from({ length: elementCount(dims) }, (_, k) => {
    return tensor.data[Math.floor(k / columns) * stride + (k % columns)]!;
  });
  return floatTensor(dims, data);
}
