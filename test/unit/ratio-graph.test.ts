/** The ratio of an agent's policy now to the one that drew, against a forward pass of the whole team bound in another way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { logProb } from "../../models/distributions.ts";
import { actor } from "../../models/networks.ts";
import { encodeTeam } from "../../models/policy.ts";
import type { Team } from "../../models/team.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { ratioGraph } from "../../src/training/ratio-graph.ts";
import { actorBatch, filled } from "../helpers/actor-batch.ts";
import { assertClose } from "../helpers/close.ts";
import { otherBinding } from "../helpers/other-bindings.ts";
import { runGraph, runModel, type Tensors } from "../helpers/run-graph.ts";
import { randomTeam, SHARINGS } from "../helpers/team.ts";

const AGENTS = 3;
const CHUNKS = 3;
const COMMON = ["parameters", "frozen", "mask"];

/** exp of the sum over an agent's own dimensions of now − then, [N][R]. */
function expected(team: Team, data: Tensors, chunkLength: number, sizes: readonly number[]): number[][] {
  const recurrent = team.actor.body.recurrent !== false;
  const { now } = runGraph(data, (g, x) => {
    const state = recurrent ? { hidden: x["hidden"]!, mask: x["mask"]!, steps: chunkLength } : undefined;
    const binding = otherBinding(g, team, x["parameters"]!, x["frozen"]);
    const encoded = encodeTeam(g, x["observations"]!, team.actor);
    const { output } = actor(g, binding, encoded, team.actor, state, x["action_mask"]);
    return { now: logProb(g, output, x["drawn"]!) };
  });
  const then = data["old_log_prob"]!.data as Float32Array;
  const [, rows, width] = data["old_log_prob"]!.dims as [number, number, number];
  return sizes.map((size, agent) =>
    Array.from({ length: rows }, (_, row) => {
      const from = (agent * rows + row) * width;
      const own = Array.from({ length: Math.min(size, width) }, (_, k) => now![from + k]! - then[from + k]!);
      return Math.exp(own.reduce((sum, one) => sum + one, 0));
    }),
  );
}

function ratioOf(team: Team, data: Tensors, chunkLength: number, agent: number, sizes: readonly number[]) {
  const { actor: network, sharing, parameters } = team;
  const model = ratioGraph({
    actor: network,
    sharing,
    parameters,
    actionSizes: sizes,
    chunks: CHUNKS,
    chunkLength,
    block: 1,
  });
  const cut = ({ dims, data: all }: HostTensor): HostTensor => {
    const size = all.length / AGENTS;
    return floatTensor(
      [1, ...dims.slice(1)],
      (all as Float32Array).subarray(agent * size, (agent + 1) * size),
    );
  };
  const own = model.inputs
    .filter(({ name }) => name !== "pick")
    .map(({ name }) => [name, COMMON.includes(name) ? data[name]! : cut(data[name]!)] as const);
  const pick = filled([1, AGENTS], (at) => (at === agent ? 1 : 0));
  return runModel(model, { ...Object.fromEntries(own), pick })["ratio"]!;
}

for (const [index, sharing] of SHARINGS.entries()) {
  for (const head of ["squashed-gaussian", "categorical"] as const) {
    const recurrent = (index + (head === "categorical" ? 1 : 0)) % 2 === 0;
    test(`an agent's ratio is that of the whole team's forward pass: ${sharing}, ${head}, ${recurrent ? "recurrent" : "feed-forward"}`, () => {
      // The middle agent has fewer actions than the others: padding has no part in its ratio.
      const sizes = head === "categorical" ? [3, 3, 3] : [2, 1, 2];
      const team = randomTeam({ seed: index, sharing, head, recurrent, actionSizes: sizes });
      const chunkLength = recurrent ? 4 : 1;
      const batch = actorBatch(team, { chunks: CHUNKS, chunkLength, advantagePerAgent: true });
      const all = expected(team, batch, chunkLength, sizes);
      assert.ok(Math.max(...all.flat()) > 1.1 && Math.min(...all.flat()) < 0.9, "ratios are not all alike");
      for (const [agent, ratios] of all.entries()) {
        const { dims, data } = ratioOf(team, batch, chunkLength, agent, sizes);
        assert.deepEqual(dims, [1, ratios.length, 1]);
        assertClose(data as Float32Array, ratios, { atol: 1e-5, rtol: 1e-4 }, `agent ${agent}`);
      }
    });
  }
}
