import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type GraphOptions,
  mergedGraph,
  OPSETS,
  rowsGraph,
  singleGraph,
  stackedGraph,
  teamGraph,
} from "../../exporters/graphs.ts";
import { backboneSha256 } from "../../exporters/metadata.ts";
import { tritonConfig } from "../../exporters/triton.ts";
import { mergedWeights } from "../../exporters/weights.ts";
import type { Team } from "../../models/team.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel, OnnxValueInfo } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { formsNetworks, networksGraph } from "../../src/training/acting-graph.ts";
import { assertClose } from "../helpers/close.ts";
import { assertFails } from "../helpers/fails.ts";
import { hasFactors } from "../helpers/policy-layouts.ts";
import { type RandomTeamOptions, randomTeam, SHARINGS } from "../helpers/team.ts";

type Tensors = Record<string, HostTensor>;

const GRAPHS = { stacked: stackedGraph, team: teamGraph, rows: rowsGraph, single: singleGraph } as const;

function allGraphs(team: Team, options: GraphOptions = {}): [string, OnnxModel][] {
  return [
    ["merged", mergedGraph(team, 1, options)],
    ...Object.entries(GRAPHS).map(([name, build]): [string, OnnxModel] => [name, build(team, options)]),
  ];
}

function run(model: OnnxModel, feeds: Tensors): Tensors {
  const session = createRuntime().createSession(encodeModel(model));
  const results = session.run(feeds) as Tensors;
  session.dispose();
  return results;
}

function typed(infos: readonly OnnxValueInfo[]): string[] {
  return infos.map(({ name, dtype, shape }) => `${name} ${dtype} [${shape.join(", ")}]`);
}

test("merging adds alpha/rank·A·B to a weight and alpha/rank·B to a log-std, by hand", () => {
  const team = randomTeam({ rank: 2, alpha: 3 });
  const { adapters, backbone } = team.parameters;
  const [flat, own] = [team.backbone.slice(), team.adapters!.slice()];
  // head.weight [8, 2] at (3, 0) is 0.5; row 3 of A is (1, 2) and column 0 of B is (3, −1): 0.5 + 1.5·(3 − 2) = 2.
  backbone.view(flat, "head.weight").data[6] = 0.5;
  adapters!.view(own, "head.lora_A", 1).data.set([1, 2], 6);
  adapters!.view(own, "head.lora_B", 1).data.set([3, 7, -1, 7]);
  backbone.view(flat, "head.log_std").data[0] = 1;
  adapters!.view(own, "head.log_std.lora_B", 1).data[0] = -4;
  const weights = mergedWeights({ ...team, backbone: flat, adapters: own });
  assert.equal(weights.layout.view(weights.flat, "head.weight", 1).data[6], 2);
  assert.equal(weights.layout.view(weights.flat, "head.log_std", 1).data[0], 1 + 1.5 * -4);
});

for (const sharing of SHARINGS) {
  test(`weights formed on the host are those of the training graph: ${sharing}`, () => {
    for (const options of [
      { rank: 1 },
      { rank: 8, recurrent: true },
      { exclude: ["mlp.1", "head.log_std"] },
    ]) {
      const team = randomTeam({ ...options, sharing });
      const { parameters, adapters } = team;
      const backbone = floatTensor(parameters.backbone.dims, team.backbone);
      const { flat, layout } = mergedWeights(team);
      if (!formsNetworks(team.sharing)) {
        assert.deepEqual(flat, team.backbone);
        continue;
      }
      const { networks } = run(networksGraph(parameters, team.sharing, team.agents.length), {
        backbone,
        ...(adapters && { adapters: floatTensor(parameters.adapters!.dims, adapters) }),
      });
      assert.deepEqual(networks!.dims, layout.dims);
      // Products are summed in float64 on the host; what has no adapter is copied bit for bit.
      const tolerance = { atol: adapters ? 1e-6 : 0, rtol: 0 };
      assertClose(flat, networks!.data as Float32Array, tolerance);
    }
  });
}

test("graphs have the names, types and sizes of the repository's contract", () => {
  const sizes = {
    observationSizes: [5, 3],
    actionSizes: [2, 3],
    hidden: [6],
    rank: 2,
    exclude: ["gru.hidden"],
  };
  const gaussian = randomTeam({ ...sizes, recurrent: true });
  const merged = mergedGraph(gaussian, 1, { sampled: true });
  assert.deepEqual(typed(merged.inputs), [
    "obs float32 [batch, 3]",
    "hidden_in float32 [batch, 6]",
    "noise float32 [batch, 3]",
  ]);
  assert.deepEqual(typed(merged.outputs), [
    "action float32 [batch, 3]",
    "hidden_out float32 [batch, 6]",
    "mean float32 [batch, 3]",
    "log_prob float32 [batch, 1]",
    "log_std float32 [batch, 3]",
  ]);
  const team = teamGraph(gaussian);
  assert.deepEqual(typed(team.inputs).slice(0, 4), [
    "obs float32 [2, envs, 5]",
    "hidden_in float32 [2, envs, 6]",
    "mlp.0.lora_A.weight float32 [2, 7, 2]",
    "mlp.0.lora_B.weight float32 [2, 2, 6]",
  ]);
  assert.deepEqual(typed(team.inputs).slice(-2), [
    "head.log_std.lora_A.weight float32 [2, 1, 1]",
    "head.log_std.lora_B.weight float32 [2, 1, 3]",
  ]);
  assert.ok(!team.inputs.some(({ name }) => name.startsWith("gru.hidden")));
  assert.deepEqual(typed(team.outputs), [
    "action float32 [2, envs, 3]",
    "hidden_out float32 [2, envs, 6]",
    "mean float32 [2, envs, 3]",
  ]);
  const categorical = randomTeam({ ...sizes, exclude: [], head: "categorical" });
  assert.deepEqual(typed(rowsGraph(categorical).inputs).slice(0, 5), [
    "obs float32 [batch, 5]",
    "action_mask float32 [batch, 3]",
    "agent int64 [batch]",
    "slot int64 [batch]",
    "mlp.0.lora_A.weight float32 [slots, 7, 2]",
  ]);
  assert.deepEqual(typed(rowsGraph(categorical).outputs), [
    "action int64 [batch, 1]",
    "logits float32 [batch, 3]",
  ]);
  assert.deepEqual(typed(singleGraph(categorical).inputs).slice(2, 4), [
    "agent_id float32 [1, 2]",
    "mlp.0.lora_A.weight float32 [7, 2]",
  ]);
  assert.deepEqual(typed(stackedGraph(categorical).inputs), [
    "obs float32 [2, envs, 5]",
    "action_mask float32 [2, envs, 3]",
  ]);
});

test("every graph is well formed at each operator set, and 15 has no LayerNormalization", () => {
  const team = randomTeam({ recurrent: true, standardise: true });
  for (const opset of OPSETS) {
    for (const [name, model] of allGraphs(team, { opset, sampled: true })) {
      checkModel(model);
      assert.deepEqual([model.opset, model.irVersion], [opset, 8], name);
      const normalisations = model.nodes.filter(({ op }) => op === "LayerNormalization").length;
      assert.equal(normalisations > 0, opset === 17, `${name} at ${opset}`);
    }
  }
  assert.equal(stackedGraph(team).opset, 15);
});

test("other operator sets are refused", () => {
  for (const opset of [14, 18, 15.5, Number.NaN]) {
    assertFails(
      () => stackedGraph(randomTeam(), { opset }),
      "LORASA_CONFIG",
      /expected 15, 16, 17, received/,
    );
  }
});

for (const sharing of SHARINGS.filter((name) => !hasFactors(randomTeam({ sharing: name })))) {
  test(`a team of ${sharing} weights has no factored graphs, and the error says what to do`, () => {
    for (const build of [teamGraph, rowsGraph, singleGraph])
      assertFails(() => build(randomTeam({ sharing })), "LORASA_CONFIG", /--mode merged or stacked/);
  });
}

test("a merged graph of an agent holds its own head and nothing of the others", () => {
  const team = randomTeam({
    observationSizes: [5, 3],
    actionSizes: [1, 4],
    hidden: [6],
    sharing: "individual",
  });
  const shapes = (agent: number): string[] =>
    [...mergedGraph(team, agent, { sampled: true }).initializers]
      .filter(([name]) => /head\.(weight|bias|log_std)$/.test(name))
      .map(([name, { dims }]) => `${name.split("/").at(-1)} ${dims.join("x")}`)
      .sort();
  assert.deepEqual(shapes(0), ["head.bias 1", "head.log_std 1", "head.weight 6x1"]);
  assert.deepEqual(shapes(1), ["head.bias 4", "head.log_std 4", "head.weight 6x4"]);
});

test("stacked graphs hold what no agent has of its own once", () => {
  const model = stackedGraph(randomTeam({ hidden: [6], sharing: "low-rank" }));
  const dims = (name: string): readonly number[] | undefined =>
    [...model.initializers].find(([key]) => key.endsWith(name))?.[1].dims;
  assert.deepEqual(dims("mlp.0.weight"), [3, 8, 6]);
  assert.deepEqual(dims("mlp.0.bias"), [1, 6]);
  const shared = stackedGraph(randomTeam({ hidden: [6], sharing: "shared" }));
  assert.deepEqual([...shared.initializers].find(([key]) => key.endsWith("mlp.0.weight"))?.[1].dims, [8, 6]);
});

test("log_std has its value in every row, whatever the mean is", () => {
  const team = randomTeam();
  const observations = Float32Array.of(1, 2, 3, 4, 5, Number.NaN, Number.POSITIVE_INFINITY, 0, 0, 0);
  const { log_std, mean } = run(mergedGraph(team, 0, { sampled: true }), {
    obs: floatTensor([2, 5], observations),
    noise: floatTensor([2, 2]),
  });
  assert.ok(Number.isNaN(mean!.data[2]), "the second row's mean is NaN");
  const { layout, flat } = mergedWeights(team);
  // std = sigmoid(x)·0.5
  const wanted = [...layout.view(flat, "head.log_std", 0).data].map((x) =>
    Math.log(0.5 / (1 + Math.exp(-x))),
  );
  assertClose(log_std!.data as Float32Array, [...wanted, ...wanted]);
});

test("a choice that an agent does not have is never taken, available or not", () => {
  const options: RandomTeamOptions = { head: "categorical", observationSizes: [4, 4], actionSizes: [2, 5] };
  const team = randomTeam(options);
  const envs = 50;
  const model = stackedGraph(team);
  const observations = Float32Array.from({ length: 2 * envs * 4 }, (_, k) => Math.sin(7 * k));
  const { action, logits } = run(model, {
    obs: floatTensor([2, envs, 4], observations),
    action_mask: floatTensor([2, envs, 5], new Float32Array(2 * envs * 5).fill(1)),
  });
  const chosen = Array.from(action!.data, Number);
  assert.ok(chosen.slice(0, envs).every((choice) => choice < 2));
  assert.ok(
    chosen.slice(envs).some((choice) => choice >= 2),
    "the other agent does take them",
  );
  assert.ok(logits!.data[2]! < -1e9);
});

test("metadata says what a graph is, in text", () => {
  const team = randomTeam({
    observationSizes: [5, 3],
    actionSizes: [2, 3],
    head: "squashed-gaussian",
    low: -3,
  });
  const { metadata } = mergedGraph(team, 1, { sampled: true });
  assert.deepEqual(metadata, {
    "lorasa.format": "lorasa-policy/1",
    "lorasa.graph": "merged",
    "lorasa.mode": "merged",
    "lorasa.sampled": "true",
    "lorasa.precision": "fp32",
    "lorasa.environment": "test/Random",
    "lorasa.step_seconds": "0.05",
    "lorasa.agents": '["agent_0","agent_1"]',
    "lorasa.agent": "agent_1",
    "lorasa.sharing": "low-rank",
    "lorasa.backbone_sha256": backboneSha256(team),
    "lorasa.observation_spec": '{"size":3,"agent_id":true,"standardise":false}',
    "lorasa.action_spec": '{"kind":"squashed-gaussian","size":3,"low":-3,"high":1,"stdX":1,"stdY":0.5}',
    "lorasa.rank": "2",
    "lorasa.alpha": "3",
    "lorasa.targets": '["mlp.0","mlp.1","head","head.log_std"]',
  });
  for (const [name, { metadata: own }] of allGraphs(team)) {
    assert.equal(own["lorasa.graph"], name);
    assert.equal("lorasa.agent" in own, name === "merged");
  }
});

test("Triton's configuration lists every tensor with its whole shape", () => {
  const team = randomTeam({ head: "categorical", recurrent: true });
  assert.equal(
    tritonConfig(mergedGraph(team, 0), "team.agent_0"),
    `name: "team.agent_0"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: 0
input [ { name: "obs" data_type: TYPE_FP32 dims: [ -1, 5 ] } ]
input [ { name: "hidden_in" data_type: TYPE_FP32 dims: [ -1, 8 ] } ]
input [ { name: "action_mask" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]
output [ { name: "action" data_type: TYPE_INT64 dims: [ -1, 1 ] } ]
output [ { name: "hidden_out" data_type: TYPE_FP32 dims: [ -1, 8 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ -1, 2 ] } ]
version_policy: { latest: { num_versions: 1 } }
`,
  );
});
