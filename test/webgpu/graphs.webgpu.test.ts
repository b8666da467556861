/** Which nodes WebGPU leaves to the CPU: they are named, and there are none in the graphs that train, act and are shipped. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  mergedGraph,
  OPSETS,
  rowsGraph,
  singleGraph,
  stackedGraph,
  teamGraph,
} from "../../exporters/graphs.ts";
import type { CriticConfig } from "../../models/networks.ts";
import { criticParameters } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { actingGraph, formsNetworks, networksGraph } from "../../src/training/acting-graph.ts";
import { actorStep } from "../../src/training/actor-step.ts";
import { criticStep } from "../../src/training/critic-step.ts";
import { ratioGraph } from "../../src/training/ratio-graph.ts";
import { randomTeam, SHARINGS } from "../helpers/team.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
const HEADS = ["gaussian", "squashed-gaussian", "categorical"] as const;
/** With agents of one size and of several. */
const SIZES = {
  equal: { observationSizes: [5, 5, 5], actionSizes: [3, 3, 3] },
  unequal: { observationSizes: [5, 3, 4], actionSizes: [2, 3, 1] },
} as const;

function cpuNodes(model: OnnxModel): readonly string[] {
  const session = createRuntime("webgpu").createSession(encodeModel(model), { shareWeights: true });
  session.dispose();
  return session.cpuNodes;
}

test("nodes that WebGPU has no kernel for are named, and the answer is right all the same", { skip }, () => {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", ["rows", 3]);
  const index = g.scope("own", () => g.cast(g.input("index", "int64", ["rows", 1]), "float32"));
  g.output("y", g.add(g.relu(x), index));
  const bytes = encodeModel(finishGraph(g, "cast"));
  const feeds: Record<string, HostTensor> = {
    x: floatTensor([2, 3], [-1, 2, 3, 4, -5, 6]),
    index: { dtype: "int64", dims: [2, 1], data: BigInt64Array.of(10n, 20n) },
  };
  const session = createRuntime("webgpu").createSession(bytes);
  assert.deepEqual(session.cpuNodes, ["Cast own/Cast"]);
  assert.deepEqual(session.run(feeds), { y: floatTensor([2, 3], [10, 12, 13, 24, 20, 26]) });
  session.dispose();
  const host = createRuntime().createSession(bytes);
  assert.deepEqual(host.cpuNodes, [], "on the CPU there is nothing to say");
  host.dispose();
});

test("an operator that WebGPU lacks is named with its node", { skip }, () => {
  const value = (name: string) => ({ name, dtype: "float32" as const, shape: ["n"] });
  const node = (name: string, op: string, input: string, output: string) => ({
    name,
    op,
    inputs: [input],
    outputs: [output],
    attributes: {},
  });
  const model: OnnxModel = {
    irVersion: 8,
    opset: 15,
    name: "hardmax",
    inputs: [value("x")],
    outputs: [value("y")],
    initializers: new Map(),
    nodes: [
      node("first", "Exp", "x", "e"),
      node("second", "Det", "e", "h"),
      node("third", "Neg", "h", "y"),
    ].map((each) =>
      each.op === "Det" ? { ...each, op: "Hardmax", attributes: { axis: { int: 0 } } } : each,
    ),
    metadata: {},
  };
  assert.deepEqual(cpuNodes(model), ["Hardmax second"]);
});

for (const opset of OPSETS) {
  for (const [what, sizes] of Object.entries(SIZES)) {
    test(`no node of an exported graph is left to the CPU: opset ${opset}, ${what} agents`, { skip }, () => {
      for (const head of HEADS) {
        for (const recurrent of [false, true]) {
          const team = randomTeam({ ...sizes, head, recurrent, standardise: recurrent });
          for (const sampled of [false, true]) {
            for (const [mode, model] of Object.entries(exported(team, { opset, sampled }))) {
              assert.deepEqual(
                cpuNodes(model),
                [],
                `${mode}, ${head}, recurrent ${recurrent}, sampled ${sampled}`,
              );
            }
          }
        }
      }
    });
  }
}

function exported(team: Team, options: { opset: number; sampled: boolean }): Record<string, OnnxModel> {
  return {
    merged: mergedGraph(team, 1, options),
    stacked: stackedGraph(team, options),
    team: teamGraph(team, options),
    rows: rowsGraph(team, options),
    single: singleGraph(team, options),
  };
}

for (const head of HEADS) {
  for (const sharing of SHARINGS) {
    test(`no node of a training graph is left to the CPU: ${head}, ${sharing}`, { skip }, () => {
      for (const recurrent of [false, true]) {
        for (const sizes of Object.values(SIZES)) {
          const team = randomTeam({ ...sizes, head, sharing, recurrent });
          const graphs = {
            step: stepOf(team),
            "a block's step": stepOf(team, 2),
            ratio: ratioOf(team),
            acting: actingOf(team, true),
            evaluating: actingOf(team, false),
          };
          for (const [what, model] of Object.entries(graphs)) {
            assert.deepEqual(cpuNodes(model), [], `${what}, recurrent ${recurrent}, ${sizes.actionSizes}`);
          }
        }
      }
    });
  }
}

test("no node of a critic's step or of the graph that forms networks is left to the CPU", { skip }, () => {
  for (const recurrent of [false, { layersAfter: 1 }] as const) {
    for (const separate of [false, true]) {
      for (const picked of [false, true]) {
        const critic = { ...criticOf(recurrent), separate };
        const model = criticStep({
          critic,
          layout: criticParameters(critic),
          chunks: 4,
          chunkLength: recurrent ? 3 : 1,
          huberDelta: 1,
          maxGradientNorm: 10,
          picked,
        });
        assert.deepEqual(cpuNodes(model), [], `separate ${separate}, picked ${picked}`);
      }
    }
  }
  for (const name of SHARINGS) {
    const { parameters, sharing } = randomTeam({ recurrent: true, sharing: name });
    if (!formsNetworks(sharing)) continue;
    assert.deepEqual(cpuNodes(networksGraph(parameters, sharing, 3)), [], name);
  }
});

function stepOf(team: Team, block?: number): OnnxModel {
  return actorStep({
    actor: team.actor,
    sharing: team.sharing,
    parameters: team.parameters,
    chunks: 4,
    chunkLength: team.actor.body.recurrent ? 3 : 1,
    advantagePerAgent: true,
    ratio: "product",
    entropyCoefficient: 0.01,
    maxGradientNorm: 10,
    ...(block !== undefined && { block, partial: true, others: "inside" as const }),
  });
}

function ratioOf(team: Team): OnnxModel {
  return ratioGraph({
    actor: team.actor,
    sharing: team.sharing,
    parameters: team.parameters,
    actionSizes: team.agents.map(({ actionSize }) => actionSize),
    chunks: 4,
    chunkLength: team.actor.body.recurrent ? 3 : 1,
    block: 1,
  });
}

function actingOf(team: Team, sampled: boolean): OnnxModel {
  const critic = criticOf(team.actor.body.recurrent);
  return actingGraph({
    actor: team.actor,
    backbone: team.parameters.backbone,
    perAgent: team.sharing.kind !== "shared",
    envs: 4,
    ...(sampled && { critic: { config: critic, layout: criticParameters(critic) } }),
    sampled,
  });
}

function criticOf(recurrent: CriticConfig["body"]["recurrent"]): CriticConfig {
  return {
    encoder: { agents: 3, size: 5, agentId: true, standardise: true },
    ownStates: false,
    separate: false,
    body: { featureNorm: true, hidden: [8, 8], activation: "tanh", recurrent },
  };
}
