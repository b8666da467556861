/** Steps of a block of agents: what they learn is what they would learn beside others that learn nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { type ActorStepConfig, actorStep } from "../../src/training/actor-step.ts";
import { actorBatch, filled } from "../helpers/actor-batch.ts";
import { assertClose } from "../helpers/close.ts";
import { runModel, type Tensors } from "../helpers/run-graph.ts";
import { randomTeam, SHARINGS, type SharingName } from "../helpers/team.ts";

const AGENTS = 3;
const CHUNKS = 3;
const CHUNK_LENGTH = 4;
/** Inputs that are the same for all agents. */
const COMMON = ["parameters", "frozen", "clip_range", "mask"];
const STATE = ["parameters", "first_moment", "second_moment"] as const;

/** For each agent the parts of what is trained that it learns in. */
const PARTS: Readonly<Record<SharingName, readonly (readonly number[])[]>> = {
  shared: [[0], [0], [0]],
  individual: [[0], [1], [2]],
  clustered: [[0], [1], [0]],
  "multi-task": [
    [0, 1],
    [0, 2],
    [0, 3],
  ],
  "low-rank": [[0], [1], [2]],
  "low-rank on clusters": [[0], [1], [2]],
  "low-rank by type": [[0], [1], [1]],
  "low-rank on clusters by type": [[0], [1], [1]],
  "low-rank with ranks by layer": [[0], [1], [2]],
};

interface Setup {
  readonly team: Team;
  readonly recurrent: boolean;
  readonly batch: Tensors;
  readonly optimizer: Tensors;
}

function setupOf(sharing: SharingName, recurrent: boolean, seed: number): Setup {
  const team = randomTeam({ seed, sharing, recurrent, head: "categorical", actionSizes: [3, 3, 3] });
  const random = new Random(seed);
  const { dims, parts } = team.parameters.adapters ?? team.parameters.backbone;
  const others = "inside" as const;
  const chunkLength = recurrent ? CHUNK_LENGTH : 1;
  return {
    team,
    recurrent,
    batch: actorBatch(team, { chunks: CHUNKS, chunkLength, advantagePerAgent: true, others }),
    optimizer: {
      first_moment: filled(dims, () => 0.1 * random.normal()),
      second_moment: filled(dims, () => random.uniform()),
      second_correction: filled([parts, 1], () => 1.5),
    },
  };
}

/** One step; of all agents, or of a block. Parts of `learning` have a step size. */
function step(
  { team, recurrent, batch, optimizer }: Setup,
  feeds: Tensors,
  learning: readonly number[],
  block?: number,
): Record<string, HostTensor> {
  const { actor, sharing, parameters } = team;
  const config: ActorStepConfig = {
    actor,
    sharing,
    parameters,
    chunks: CHUNKS,
    chunkLength: recurrent ? CHUNK_LENGTH : 1,
    advantagePerAgent: true,
    ratio: "product",
    entropyCoefficient: 0.1,
    maxGradientNorm: 0.5,
    others: "inside",
    partial: true,
    ...(block !== undefined && { block }),
  };
  const { parts } = parameters.adapters ?? parameters.backbone;
  const step_size = filled([parts, 1], (part) => (learning.includes(part) ? 0.05 : 0));
  return runModel(actorStep(config), { ...batch, ...optimizer, ...feeds, step_size });
}

/** The members' parts of a batch, one after another. */
function partsOf(batch: Tensors, members: readonly number[]): Tensors {
  const cut = ({ dims, data }: HostTensor): HostTensor => {
    const size = data.length / AGENTS;
    const rows = members.flatMap((agent) => [
      ...(data as Float32Array).subarray(agent * size, (agent + 1) * size),
    ]);
    return floatTensor([members.length, ...dims.slice(1)], rows);
  };
  const own = Object.entries(batch).map(([name, value]) => [
    name,
    COMMON.includes(name) ? value : cut(value),
  ]);
  const pick = filled([members.length, AGENTS], (at) =>
    members[Math.floor(at / AGENTS)] === at % AGENTS ? 1 : 0,
  );
  return { ...Object.fromEntries(own), pick };
}

function numbers({ data }: HostTensor): number[] {
  return Array.from(data as ArrayLike<number>, Number);
}

/** The batch with everybody inactive but the members. */
function alone(batch: Tensors, members: readonly number[]): Tensors {
  const { dims, data } = batch["active"]!;
  const size = data.length / AGENTS;
  const active = numbers({ dims, data, dtype: "float32" } as HostTensor).map((one, at) =>
    members.includes(Math.floor(at / size)) ? one : 0,
  );
  return { active: floatTensor(dims, active) };
}

for (const [index, sharing] of SHARINGS.entries()) {
  // Of one cluster and of two, of one type and of two.
  for (const members of [[2], [1, 0], [2, 0], [2, 1]]) {
    test(`agents ${members} learn by themselves what they learn beside inactive ones: ${sharing}`, () => {
      const setup = setupOf(sharing, index % 2 === 0, 30 + index);
      const learning = members.flatMap((agent) => PARTS[sharing][agent]!);
      const whole = step(setup, alone(setup.batch, members), learning);
      const { batch, ...rest } = setup;
      const part = step({ ...rest, batch: partsOf(batch, members) }, {}, learning, members.length);
      for (const name of STATE) {
        const [ours, expected] = [numbers(part[`${name}_out`]!), numbers(whole[`${name}_out`]!)];
        assertClose(ours, expected, { atol: 1e-6, rtol: 1e-5 }, name);
        const before = numbers(setup.optimizer[name] ?? batch[name]!);
        const [owners, size] = part[`${name}_out`]!.dims as [number, number];
        for (let owner = 0; owner < owners; owner++) {
          const row = (all: readonly number[]): number[] => all.slice(owner * size, (owner + 1) * size);
          const moved = row(ours).some((value, k) => value !== row(before)[k]);
          assert.equal(moved, learning.includes(owner), `${name} of owner ${owner}`);
        }
      }
    });
  }

  test(`what fills a block that is not full has no part in its step: ${sharing}`, () => {
    const setup = setupOf(sharing, index % 2 === 1, 60 + index);
    const learning = PARTS[sharing][1]!;
    const { batch, ...rest } = setup;
    const single = step({ ...rest, batch: partsOf(batch, [1]) }, {}, learning, 1);
    const padded = (fill: number): Record<string, HostTensor> => {
      const { active, observations, advantage, ...other } = partsOf(batch, [1, 1]);
      const half = (value: HostTensor, to: number): HostTensor =>
        floatTensor(
          value.dims,
          numbers(value).map((one, at) => (at < value.data.length / 2 ? one : to)),
        );
      const feeds = {
        ...other,
        active: half(active!, 0),
        observations: half(observations!, fill),
        advantage: half(advantage!, fill),
      };
      return step({ ...rest, batch: feeds }, {}, learning, 2);
    };
    const [zeros, others] = [padded(0), padded(7)];
    for (const name of STATE) {
      assert.deepEqual(others[`${name}_out`], zeros[`${name}_out`], name);
      assertClose(
        numbers(zeros[`${name}_out`]!),
        numbers(single[`${name}_out`]!),
        { atol: 1e-6, rtol: 1e-5 },
        name,
      );
    }
  });
}
