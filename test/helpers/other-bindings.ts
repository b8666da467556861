/**
 * The weight bindings of training once more, put together in other ways: rows are cut out by agent instead of multiplied
 * with an identity, and low-rank differences are factored instead of merged.
 */
import { flatAdapters } from "../../models/adapters.ts";
import {
  type AdapterSource,
  individualBinding,
  lowRankBinding,
  sharedBinding,
  type WeightBinding,
} from "../../models/bindings.ts";
import { ParameterLayout, parameterSize } from "../../models/parameters.ts";
import type { RowOfAgent } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";

/**
 * The binding of a team of three.
 * @param flat what is trained. @param frozen the backbone under adapters.
 */
export function otherBinding(
  g: GraphBuilder,
  team: Team,
  flat: Value,
  frozen: Value | undefined,
): WeightBinding {
  const { parameters, sharing } = team;
  const { backbone } = parameters;
  if (sharing.kind === "shared") return sharedBinding(backbone.source(g, flat));
  if (sharing.kind === "individual") return individualBinding(backbone.source(g, flat));
  if (sharing.kind === "clustered") return ofAgents(g, backbone, rowsBy(g, flat, sharing.clusterOf));
  if (sharing.kind === "multi-task") return ofAgents(g, backbone, trunkAndHeads(g, backbone, flat));
  const { lora, clusterOf, adapterOf = [0, 1, 2] } = sharing;
  const layout = new ParameterLayout(parameters.adapters!.specs, adapterOf.length);
  const adapters = flatAdapters(g, layout, rowsBy(g, flat, adapterOf), lora);
  return clusterOf
    ? onClusters(ofAgents(g, backbone, rowsBy(g, frozen!, clusterOf)), adapters)
    : lowRankBinding(backbone.source(g, frozen!), adapters);
}

function rowsBy(g: GraphBuilder, flat: Value, rowOf: RowOfAgent): Value {
  const count = flat.shape[0] as number;
  const rows = count === 1 ? [flat] : g.split(flat, Array<number>(count).fill(1), 0);
  return g.concat(
    rowOf.map((row) => rows[row]!),
    0,
  );
}

/** Each agent's own network: the trunk's numbers, and its copy of each of the head's. */
function trunkAndHeads(g: GraphBuilder, backbone: ParameterLayout, flat: Value): Value {
  const parts = g.split(flat, backbone.specs.map(parameterSize), 1);
  const copies = backbone.specs.map(({ copies }, index) => {
    const size = parameterSize(backbone.specs[index]!) / (copies ?? 1);
    return copies ? g.split(parts[index]!, Array<number>(copies).fill(size), 1) : undefined;
  });
  const rows = [0, 1, 2].map((agent) =>
    g.concat(
      parts.map((part, index) => copies[index]?.[agent] ?? part),
      1,
    ),
  );
  return g.concat(rows, 0);
}

function ofAgents(g: GraphBuilder, { specs }: ParameterLayout, rows: Value): WeightBinding {
  const own = specs.map(({ copies, ...spec }) => ({ ...spec, owner: "agent" as const }));
  return individualBinding(new ParameterLayout(own, 3).source(g, rows));
}

/** The factored form of adapters on several backbones. */
function onClusters(base: WeightBinding, adapters: AdapterSource): WeightBinding {
  return {
    linear(g, x, spec) {
      const { loraA, loraB } = adapters.factors(g, spec)!;
      const difference = g.matMul(g.matMul(x, loraA), loraB);
      return g.add(base.linear(g, x, spec), g.mul(difference, adapters.scale));
    },
    vector(g, spec) {
      const own = base.vector(g, spec);
      const factors = spec.adapted && adapters.factors(g, { name: spec.name, inSize: 1, outSize: spec.size });
      return factors ? g.add(own, g.mul(factors.loraB, adapters.scale)) : own;
    },
  };
}
