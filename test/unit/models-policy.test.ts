/**
 * One network under several weight bindings, and what it makes of observations: the bindings agree, zero adapters
 * change nothing over a sequence with resets, and agents are interchangeable.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { flatAdapters } from "../../models/adapters.ts";
import {
  individualBinding,
  lowRankBinding,
  mergedLowRankBinding,
  sharedBinding,
} from "../../models/bindings.ts";
import { actor } from "../../models/networks.ts";
import { agentId, encode, encodedSize, rowId, teamId } from "../../models/observation.ts";
import { ParameterLayout } from "../../models/parameters.ts";
import { agentNetworks, encodeTeam } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";
import { assertClose } from "../helpers/close.ts";
import { runGraph } from "../helpers/run-graph.ts";
import { type RandomTeamOptions, randomTeam, withZeroFactor } from "../helpers/team.ts";

const STEPS = 6;
const SEQUENCES = 3;

/** Observations, states and resets of a recurrent team over a few steps, and its parameters. */
function feedsOf(team: Team, seed: number): Record<string, HostTensor> {
  const random = new Random(seed);
  const { agents, size } = team.actor.encoder;
  const rows = STEPS * SEQUENCES;
  const width = team.actor.body.hidden.at(-1)!;
  const normal = (dims: readonly number[]): HostTensor =>
    floatTensor(
      dims,
      Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.normal()),
    );
  return {
    observations: normal([agents, rows, size]),
    hidden: normal([agents, SEQUENCES, width]),
    mask: floatTensor(
      [1, rows, 1],
      Array.from({ length: rows }, (_, row) => (row % 4 === 3 ? 0 : 1)),
    ),
    frozen: floatTensor(team.parameters.backbone.dims, team.backbone),
    ...(team.adapters && { adapters: floatTensor(team.parameters.adapters!.dims, team.adapters) }),
  };
}

/** Means or logits, deviations and last states of a team bound in the way named. */
function outputs(
  g: GraphBuilder,
  x: Readonly<Record<string, Value>>,
  team: Team,
  how: "shared" | "factored" | "merged" | "individual of merged",
): Record<string, Value> {
  const { parameters, sharing, actor: config } = team;
  const backbone = parameters.backbone.source(g, x["frozen"]!);
  const binding = () => {
    if (how === "shared" || sharing.kind !== "low-rank") return sharedBinding(backbone);
    if (how === "individual of merged") {
      const merged = networksOf(g, team, x);
      // The backbone's layout with an owner for each agent, as rollouts read it.
      const layout = actorLayout(team);
      return individualBinding(layout.source(g, merged));
    }
    const adapters = flatAdapters(g, parameters.adapters!, x["adapters"]!, sharing.lora);
    return how === "factored" ? lowRankBinding(backbone, adapters) : mergedLowRankBinding(backbone, adapters);
  };
  const recurrent = { hidden: x["hidden"]!, mask: x["mask"]!, steps: STEPS };
  const encoded = encodeTeam(g, x["observations"]!, config);
  const { output, hidden } = g.scope(how, () => actor(g, binding(), encoded, config, recurrent));
  if (output.kind === "categorical") return { [`${how}/logits`]: output.logits, [`${how}/hidden`]: hidden! };
  return {
    [`${how}/mean`]: output.mean,
    [`${how}/std`]: g.add(output.std, 0),
    [`${how}/hidden`]: hidden!,
  };
}

function networksOf(g: GraphBuilder, team: Team, x: Readonly<Record<string, Value>>): Value {
  const { agents } = team.actor.encoder;
  return agentNetworks(g, team.parameters, team.sharing, agents, x["frozen"]!, x["adapters"]);
}

function actorLayout(team: Team): ParameterLayout {
  const { agents } = team.actor.encoder;
  return new ParameterLayout(
    team.parameters.backbone.specs.map((spec) => ({ ...spec, owner: "agent" })),
    agents,
  );
}

const TEAMS: Readonly<Record<string, RandomTeamOptions>> = {
  gaussian: {},
  "squashed Gaussian, standardised": { head: "squashed-gaussian", standardise: true, activation: "relu" },
  categorical: { head: "categorical", actionSizes: [4, 4, 4] },
  "some layers without an adapter": { exclude: ["mlp.0", "gru.hidden", "head.log_std"] },
};

for (const [name, options] of Object.entries(TEAMS)) {
  const team = randomTeam({ ...options, recurrent: true, seed: 5 });

  test(`merged, factored and individual weights give the same outputs: ${name}`, () => {
    const results = runGraph(feedsOf(team, 1), (g, x) => ({
      ...outputs(g, x, team, "shared"),
      ...outputs(g, x, team, "factored"),
      ...outputs(g, x, team, "merged"),
      ...outputs(g, x, team, "individual of merged"),
    }));
    for (const [key, values] of Object.entries(results)) {
      if (!key.startsWith("factored/")) continue;
      const other = (how: string): number[] => results[key.replace("factored", how)]!;
      assertClose(other("merged"), values, { atol: 1e-5 }, `merged ${key}`);
      const individual = other("individual of merged");
      assertClose(individual, repeated(values, individual.length), { atol: 1e-5 }, `individual ${key}`);
      if (key.endsWith("mean") || key.endsWith("logits"))
        assert.ok(
          other("shared").some((value, at) => Math.abs(value - values[at]!) > 0.01),
          "the adapters change something",
        );
    }
  });

  for (const factor of ["lora_A", "lora_B"] as const) {
    test(`zero ${factor} reproduces the shared policy over a sequence with resets: ${name}`, () => {
      const zero = withZeroFactor(team, factor);
      const results = runGraph(feedsOf(zero, 2), (g, x) => ({
        ...outputs(g, x, zero, "shared"),
        ...outputs(g, x, zero, "factored"),
        ...outputs(g, x, zero, "merged"),
      }));
      for (const [key, values] of Object.entries(results)) {
        if (!key.startsWith("shared/")) continue;
        for (const how of ["factored", "merged"]) {
          const other = results[key.replace("shared", how)]!;
          assertClose(other, repeated(values, other.length), { atol: 1e-5, rtol: 0 }, `${how} ${key}`);
        }
      }
    });
  }
}

test("merged weights are W0 + α/r·A·B, rank capped or not, and the log-std gets α/r times its difference", () => {
  const team = randomTeam({ recurrent: true, seed: 3, rank: 4, alpha: 6, exclude: ["mlp.1"] });
  const { backbone, adapters, layers } = team.parameters;
  const { merged } = runGraph(feedsOf(team, 1), (g, x) => {
    return { merged: networksOf(g, team, x) };
  });
  const flat = Float32Array.from(merged!);
  for (const { name, shape } of backbone.specs) {
    const base = backbone.view(team.backbone, name).data;
    const layer = layers.find((candidate) => name.replace(/\.weight$/, "") === candidate.name);
    for (let agent = 0; agent < 3; agent++) {
      const difference = (at: number): number => {
        if (!layer) return 0;
        const loraB = adapters!.view(team.adapters!, `${layer.name}.lora_B`, agent).data;
        if (shape.length === 1) return 1.5 * loraB[at]!;
        const loraA = adapters!.view(team.adapters!, `${layer.name}.lora_A`, agent).data;
        const [row, column] = [Math.floor(at / layer.outSize), at % layer.outSize];
        let sum = 0;
        for (let k = 0; k < layer.rank; k++)
          sum += loraA[row * layer.rank + k]! * loraB[k * layer.outSize + column]!;
        return 1.5 * sum;
      };
      const expected = Array.from(base, (value, at) => value + difference(at));
      const own = flat.subarray(agent * backbone.size, (agent + 1) * backbone.size);
      assertClose(backbone.view(own, name).data, expected, { atol: 1e-6 }, `${name} of agent ${agent}`);
    }
  }
});

/** A deviation that all agents share is one vector instead of one an agent. */
function repeated(values: readonly number[], length: number): number[] {
  return Array.from({ length }, (_, at) => values[at % values.length]!);
}

test("a reset forgets: rows after it do not depend on the state before", () => {
  const team = randomTeam({ recurrent: true, seed: 8 });
  const feeds = feedsOf(team, 3);
  const run = (hidden: HostTensor): number[] =>
    runGraph({ ...feeds, hidden }, (g, x) => outputs(g, x, team, "factored"))["factored/mean"]!;
  const first = run(feeds["hidden"]!);
  const { dims, data } = feeds["hidden"]!;
  const other = run(
    floatTensor(
      dims,
      Array.from(data as Float32Array, (value) => value + 1),
    ),
  );
  const size = team.actor.head.size;
  const forgot = [false, false, false];
  for (let row = 0; row < STEPS * SEQUENCES; row++) {
    forgot[row % SEQUENCES] ||= row % 4 === 3;
    const at = row * size;
    const same = first.slice(at, at + size).every((value, k) => value === other[at + k]);
    assert.equal(
      same,
      forgot[row % SEQUENCES],
      `step ${Math.floor(row / SEQUENCES)} of sequence ${row % SEQUENCES}`,
    );
  }
});

test("agents and their adapters exchanged exchange the outputs", () => {
  const team = randomTeam({ recurrent: true, seed: 6, agentId: false });
  const order = [2, 0, 1];
  const permuted = (tensor: HostTensor): HostTensor => {
    const size = tensor.data.length / order.length;
    const data = tensor.data as Float32Array;
    return floatTensor(
      tensor.dims,
      order.flatMap((agent) => [...data.subarray(agent * size, (agent + 1) * size)]),
    );
  };
  const feeds = feedsOf(team, 4);
  const exchanged = {
    ...feeds,
    observations: permuted(feeds["observations"]!),
    hidden: permuted(feeds["hidden"]!),
    adapters: permuted(feeds["adapters"]!),
  };
  const plain = runGraph(feeds, (g, x) => outputs(g, x, team, "merged"));
  const other = runGraph(exchanged, (g, x) => outputs(g, x, team, "merged"));
  for (const [key, values] of Object.entries(plain)) {
    const expected = permuted(floatTensor([order.length, values.length / order.length], values));
    assertClose(other[key]!, Array.from(expected.data as Float32Array), { atol: 1e-6 }, key);
  }
});

test("observations are padded, tagged with the agent's place, and standardised with it", () => {
  const config = { agents: 2, size: 3, agentId: true, standardise: true };
  assert.equal(encodedSize(config), 5);
  assert.equal(encodedSize({ ...config, agentId: false }), 3);
  const feeds = {
    team: floatTensor([2, 1, 3], [1, 2, 3, 1, 2, 3]),
    short: floatTensor([1, 2], [1, 2]),
    rows: floatTensor([3, 3], [1, 2, 3, 1, 2, 3, 0, 0, 0]),
    agent: { dtype: "int64", dims: [3], data: BigInt64Array.of(1n, 0n, 1n) } as const,
  };
  const plain = { ...config, standardise: false };
  const results = runGraph(feeds, (g, x) => ({
    "team out": encode(g, x["team"]!, plain, teamId(g, plain)),
    "short out": encode(g, x["short"]!, plain, agentId(g, plain, 1)),
    "rows out": encode(g, x["rows"]!, plain, rowId(g, plain, x["agent"]!)),
    standardised: encode(g, x["team"]!, config, teamId(g, config)),
    untagged: encode(g, x["team"]!, { ...config, agentId: false }, undefined),
  }));
  assert.deepEqual(results["team out"], [1, 2, 3, 1, 0, 1, 2, 3, 0, 1]);
  assert.deepEqual(results["short out"], [1, 2, 0, 0, 1]);
  assert.deepEqual(results["rows out"], [1, 2, 3, 0, 1, 1, 2, 3, 1, 0, 0, 0, 0, 0, 1]);
  // 1, 2, 3, 1, 0: mean 7/5, population variance 26/25.
  const spread = Math.sqrt(26) / 5;
  const standardised = [1, 2, 3, 1, 0].map((value) => (value - 1.4) / spread);
  assertClose(results["standardised"]!.slice(0, 5), standardised);
  assertClose(results["untagged"]!.slice(0, 3), [-Math.sqrt(1.5), 0, Math.sqrt(1.5)]);
});

test("a vector of equal numbers standardises to finite ones", () => {
  const config = { agents: 1, size: 3, agentId: false, standardise: true };
  const rows = [0, 0, 0, 0.1, 0.1, 0.1, 1e4, 1e4, 1e4, -7.3, -7.3, -7.3];
  const { x } = runGraph({ rows: floatTensor([1, 4, 3], rows) }, (g, feeds) => ({
    x: encode(g, feeds["rows"]!, config, undefined),
  }));
  assert.ok(
    x!.every((value) => Math.abs(value) < 1),
    `${x}`,
  );
  assert.deepEqual(x!.slice(0, 3), [0, 0, 0]);
});
