/** Sizes and first values of networks and adapters: the numbers that the released settings imply. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialise } from "../../models/initialise.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { type ActorParameters, actorParameters, agentNetworks, type Sharing } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import type { ActionSpace, EnvSpec } from "../../src/envs/contract.ts";
import { actorConfig, loraConfig, type TrainConfig } from "../../src/training/config.ts";
import { preset } from "../../src/training/presets.ts";
import { assertClose } from "../helpers/close.ts";
import { assertFails } from "../helpers/fails.ts";
import { runGraph } from "../helpers/run-graph.ts";

/** The released settings of LoRASA. */
const RELEASED = preset("lorasa-halfcheetah");

function specOf(agents: number, observationSize: number, actionSpace: ActionSpace): EnvSpec {
  const actionSize = actionSpace.kind === "discrete" ? actionSpace.count : actionSpace.size;
  return {
    name: "test/Sizes",
    agents: Array.from({ length: agents }, (_, n) => ({ name: `agent_${n}`, observationSize, actionSize })),
    observationSize,
    stateSize: 1,
    statePerAgent: false,
    actionSpace,
    episodeLimit: 1,
    stepSeconds: 1,
    episodeFigures: [],
  };
}

const continuous = (size: number): ActionSpace => ({ kind: "continuous", size, low: -1, high: 1 });
const discrete = (count: number): ActionSpace => ({ kind: "discrete", count });

/**
 * Task, agents, observation with id, actions; then numbers of the backbone, of one agent's adapter at rank 8 as the
 * released code counts it, and how many more an adapter has here for its capped head.
 *
 * Where the rank reaches a layer's smaller side, the released code trains a full difference `[in, out]`; here it is a
 * product of that side's rank, with `rank²` numbers more. Heads of fewer than 8 actions are such layers, and one of
 * exactly 8 would be. The counts leave out the log-std, which is K numbers more in both; the backbone's includes it.
 */
const RELEASED_SIZES: readonly (readonly [string, number, number, ActionSpace, number, number, number])[] = [
  ["HalfCheetah 2x3", 2, 9, continuous(3), 38_936, 7_944, 9],
  ["Walker2d 3x2", 3, 10, continuous(2), 38_936, 7_888, 4],
  ["Ant 4x2", 4, 35, continuous(2), 40_586, 8_088, 4],
  ["Humanoid 9|8", 2, 378, continuous(9), 63_686, 11_288, 0],
  ["3s5z", 8, 252, discrete(14), 55_686, 10_320, 0],
  ["1c3s5z", 9, 310, discrete(15), 59_579, 10_792, 0],
  ["3s5z_vs_3s6z", 8, 268, discrete(15), 56_807, 10_456, 0],
  ["MMM2", 10, 370, discrete(18), 63_734, 11_296, 0],
];

for (const [task, agents, encoded, space, backbone, adapter, capped] of RELEASED_SIZES) {
  test(`${task}: as many numbers in the backbone and in an adapter as the released networks`, () => {
    const spec = specOf(agents, encoded - agents, space);
    const sharing = { kind: "low-rank", lora: loraConfig(RELEASED) } as const;
    const parameters = actorParameters(actorConfig(RELEASED, spec), sharing);
    const logStd = space.kind === "continuous" ? space.size : 0;
    assert.equal(parameters.backbone.size, backbone);
    assert.equal(parameters.adapters!.size, adapter + logStd + capped);
    assert.deepEqual(parameters.adapters!.dims, [agents, parameters.adapters!.size]);
    const separate = actorParameters(actorConfig(RELEASED, spec), { kind: "individual" });
    assert.deepEqual(separate.backbone.dims, [agents, backbone]);
  });

  test(`${task}: a shared trunk with a head an agent, and a network a cluster`, () => {
    const network = actorConfig(RELEASED, specOf(agents, encoded - agents, space));
    const count = (sharing: Sharing): number => total(actorParameters(network, sharing));
    const actions = space.kind === "discrete" ? space.count : space.size;
    // 64 weights and a bias for each action, and a log-std where actions are continuous.
    const head = actions * (space.kind === "discrete" ? 65 : 66);
    assert.equal(count({ kind: "multi-task" }), backbone + (agents - 1) * head);
    const clusterOf = Array.from({ length: agents }, (_, agent) => agent % 2);
    assert.equal(count({ kind: "clustered", clusterOf }), 2 * backbone);
    assert.equal(count({ kind: "clustered", clusterOf: clusterOf.map(() => 0) }), backbone);
    const logStd = space.kind === "continuous" ? actions : 0;
    const own = adapter + logStd + capped;
    const lora = loraConfig(RELEASED);
    assert.equal(count({ kind: "low-rank", lora }), backbone + agents * own);
    assert.equal(count({ kind: "low-rank", lora, clusterOf }), 2 * backbone + agents * own);
    assert.equal(count({ kind: "low-rank", lora, adapterOf: clusterOf }), backbone + 2 * own);
  });
}

function total({ backbone, adapters }: ActorParameters): number {
  return backbone.owners * backbone.size + (adapters ? adapters.owners * adapters.size : 0);
}

test("a layer has the rank that is asked of it, capped by its smaller side, at the scale of all", () => {
  const ranks = { "mlp.0": 2, "mlp.1": 16, head: 8, "gru.input": 1 };
  const lora = { ...loraConfig(RELEASED), ranks };
  const network = actorConfig(RELEASED, specOf(2, 7, continuous(3)));
  const { layers, adapters } = actorParameters(network, { kind: "low-rank", lora });
  assert.deepEqual(
    layers.map(({ name, rank }) => [name, rank]),
    [
      ["mlp.0", 2],
      ["mlp.1", 16],
      ["mlp.2", 8],
      ["gru.input", 1],
      ["gru.hidden", 8],
      ["post.0", 8],
      ["head", 3],
      ["head.log_std", 1],
    ],
  );
  assert.deepEqual(adapters!.spec("mlp.1.lora_A").shape, [64, 16]);
  assertFails(
    () => actorParameters(network, { kind: "low-rank", lora: { ...lora, ranks: { "mlp.3": 2 } } }),
    "LORASA_CONFIG",
    /rank of their own: .*mlp\.3.*did you mean mlp\./,
  );
});

/** HalfCheetah 2x3 with other settings of the adapters. */
function cheetah(change: Partial<TrainConfig> = {}) {
  const config = { ...RELEASED, ...change };
  const spec = specOf(2, 7, continuous(3));
  return actorParameters(actorConfig(config, spec), { kind: "low-rank", lora: loraConfig(config) });
}

test("seven matrices have an adapter and the log-std a difference; ranks are capped by the smaller side", () => {
  const ranks = (rank: number): [string, number][] =>
    cheetah({ rank }).layers.map((layer) => [layer.name, layer.rank]);
  assert.deepEqual(ranks(8), [
    ["mlp.0", 8],
    ["mlp.1", 8],
    ["mlp.2", 8],
    ["gru.input", 8],
    ["gru.hidden", 8],
    ["post.0", 8],
    ["head", 3],
    ["head.log_std", 1],
  ]);
  assert.deepEqual(
    ranks(500).map(([, rank]) => rank),
    [9, 64, 64, 64, 64, 64, 3, 1],
  );
  const some = cheetah({ excludeLayers: ["gru.hidden", "head.log_std"] });
  assert.deepEqual(
    some.layers.map(({ name }) => name),
    ["mlp.0", "mlp.1", "mlp.2", "gru.input", "post.0", "head"],
  );
  assert.ok(some.adapters!.specs.every(({ name }) => !/gru.hidden|log_std/.test(name)));
});

test("matrices start orthonormal along their shorter side, times the gain of what follows", () => {
  const layout = cheetah().backbone;
  const flat = initialise(layout, new Random(4));
  const gains: Readonly<Record<string, number>> = {
    "mlp.0": Math.SQRT2,
    "mlp.1": Math.SQRT2,
    "mlp.2": Math.SQRT2,
    "post.0": Math.SQRT2,
    "gru.input": 1,
    "gru.hidden": 1,
    head: 0.01,
  };
  for (const { name, shape } of layout.specs) {
    const { data } = layout.view(flat, name);
    const gain = gains[name.replace(/\.weight$/, "")];
    if (shape.length === 2) checkOrthogonal(data, shape as readonly [number, number], gain!, name);
    else if (name.endsWith("norm.weight") || name === "head.log_std")
      assertClose(data, Array(data.length).fill(1));
    else assertClose(data, Array(data.length).fill(0));
  }
  const tanh = cheetah({ activation: "tanh" }).backbone;
  const first = tanh.view(initialise(tanh, new Random(4)), "mlp.0.weight");
  checkOrthogonal(first.data, [9, 64], 5 / 3, "tanh");
});

test("every owner draws its own matrices, and a seed draws the same ones again", () => {
  const config = actorConfig(RELEASED, specOf(2, 7, continuous(3)));
  const layout = actorParameters(config, { kind: "individual" }).backbone;
  const flat = initialise(layout, new Random(1));
  assert.notDeepEqual(layout.view(flat, "mlp.0.weight", 0).data, layout.view(flat, "mlp.0.weight", 1).data);
  assert.deepEqual(initialise(layout, new Random(1)), flat);
  assert.notDeepEqual(initialise(layout, new Random(2)), flat);
});

for (const zero of ["loraA", "loraB"] as const) {
  test(`with ${zero} at zero the other factor is uniform within 1/√fan-in, and merged weights are the backbone's bits`, () => {
    const config = { ...RELEASED, loraZero: zero };
    const { backbone, adapters, layers } = cheetah({ loraZero: zero });
    const frozen = initialise(backbone, new Random(1));
    const flat = initialise(adapters!, new Random(2));
    for (const { name, inSize, rank } of layers) {
      const vector = name === "head.log_std";
      for (const agent of [0, 1]) {
        const loraA = vector ? undefined : adapters!.view(flat, `${name}.lora_A`, agent).data;
        const loraB = adapters!.view(flat, `${name}.lora_B`, agent).data;
        if (vector) checkUniform(loraB, 0, name);
        else if (zero === "loraA") {
          checkUniform(loraA!, 0, name);
          checkUniform(loraB, 1 / Math.sqrt(rank), name);
        } else {
          checkUniform(loraA!, 1 / Math.sqrt(inSize), name);
          checkUniform(loraB, 0, name);
        }
      }
    }
    const feeds = { frozen: floatTensor(backbone.dims, frozen), adapters: floatTensor(adapters!.dims, flat) };
    const sharing = { kind: "low-rank", lora: loraConfig(config) } as const;
    const { merged } = runGraph(feeds, (g, x) => ({
      merged: agentNetworks(g, cheetah({ loraZero: zero }), sharing, 2, x["frozen"]!, x["adapters"]!),
    }));
    assert.deepEqual(Float32Array.from(merged!), Float32Array.of(...frozen, ...frozen));
  });
}

test("a parameter that does not exist is refused by name", () => {
  const layout: ParameterLayout = cheetah().backbone;
  assertFails(
    () => layout.view(new Float32Array(layout.size), "mlp.9.weight"),
    "LORASA_NAME",
    /mlp\.9\.weight/,
  );
});

function checkOrthogonal(
  data: Float32Array,
  [rows, columns]: readonly [number, number],
  gain: number,
  name: string,
): void {
  const short = Math.min(rows, columns);
  const at = (vector: number, k: number): number =>
    rows < columns ? data[vector * columns + k]! : data[k * columns + vector]!;
  const long = Math.max(rows, columns);
  for (let a = 0; a < short; a++) {
    for (let b = 0; b <= a; b++) {
      let product = 0;
      for (let k = 0; k < long; k++) product += at(a, k) * at(b, k);
      const expected = a === b ? gain ** 2 : 0;
      assert.ok(Math.abs(product - expected) < 2e-6 * gain ** 2, `${name}: ${a}·${b} is ${product}`);
    }
  }
}

/** Inside ±bound, and near it where there are many. */
function checkUniform(data: Float32Array, bound: number, name: string): void {
  const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  assert.ok(largest <= bound, `${name}: ${largest} is beyond ${bound}`);
  if (data.length > 100) assert.ok(largest >= 0.95 * bound, `${name}: ${largest} is far from ${bound}`);
}
