/** A critic's step of one value head: what it learns is what it would learn if the others' errors were none. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialise } from "../../models/initialise.ts";
import type { CriticConfig } from "../../models/networks.ts";
import { criticParameters } from "../../models/policy.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { criticStep } from "../../src/training/critic-step.ts";
import { filled } from "../helpers/actor-batch.ts";
import { assertClose } from "../helpers/close.ts";
import { runModel, type Tensors } from "../helpers/run-graph.ts";

const HEADS = 3;
const ROWS = 5;
const STATE = 4;
const STATISTICS = ["running_mean", "running_mean_square", "debias"];
const TRAINED = ["parameters", "first_moment", "second_moment"];

function criticOf(separate: boolean, ownStates: boolean): CriticConfig {
  return {
    encoder: { agents: HEADS, size: STATE, agentId: true, standardise: false },
    ownStates,
    separate,
    body: { featureNorm: true, hidden: [6], activation: "tanh", recurrent: false },
  };
}

interface Setup {
  readonly critic: CriticConfig;
  readonly feeds: Tensors;
}

function setupOf(separate: boolean, ownStates: boolean): Setup {
  const critic = criticOf(separate, ownStates);
  const layout = criticParameters(critic);
  const random = new Random(9);
  const normal = (dims: readonly number[]): HostTensor => filled(dims, () => random.normal());
  return {
    critic,
    feeds: {
      parameters: floatTensor(layout.dims, initialise(layout, random)),
      first_moment: filled(layout.dims, () => 0.1 * random.normal()),
      second_moment: filled(layout.dims, () => random.uniform()),
      second_correction: filled([layout.owners, 1], () => 1.5),
      state: normal([ownStates ? HEADS : 1, ROWS, STATE]),
      old_values: normal([HEADS, ROWS, 1]),
      returns: filled([HEADS, ROWS, 1], (at) => 3 * Math.floor(at / ROWS) + random.normal()),
      clip_range: floatTensor([], [0.3]),
      ...Object.fromEntries(
        STATISTICS.map((name) => [name, filled([layout.owners], (owner) => 2e-4 * (1 + owner))]),
      ),
    },
  };
}

/** One step of the heads that the feeds hold; owners of `learning` have a step size. */
function step({ critic, feeds }: Setup, learning: readonly number[], picked: boolean): Tensors {
  const layout = criticParameters(critic);
  const model = criticStep({
    critic,
    layout,
    chunks: ROWS,
    chunkLength: 1,
    huberDelta: 1,
    maxGradientNorm: 10,
    picked,
  });
  const step_size = filled([layout.owners, 1], (owner) => (learning.includes(owner) ? 0.05 : 0));
  return runModel(model, { ...feeds, step_size });
}

/** The same critic asked for one head alone, in a team that has only it. */
function pickedFeeds({ critic, feeds }: Setup, head: number): Tensors {
  const cut = ({ dims, data }: HostTensor): HostTensor => {
    const size = data.length / HEADS;
    return floatTensor([1, ...dims.slice(1)], (data as Float32Array).slice(head * size, (head + 1) * size));
  };
  const { state, old_values, returns } = feeds;
  return {
    ...feeds,
    state: critic.ownStates ? cut(state!) : state!,
    old_values: cut(old_values!),
    returns: cut(returns!),
    pick: filled([1, HEADS], (at) => (at === head ? 1 : 0)),
  };
}

function rowsOf({ dims, data }: HostTensor): number[][] {
  const size = data.length / dims[0]!;
  return Array.from({ length: dims[0]! }, (_, row) =>
    Array.from(data.subarray(row * size, (row + 1) * size) as Float32Array),
  );
}

for (const ownStates of [false, true]) {
  const what = ownStates ? "states apart" : "one state";
  for (const head of [0, 2]) {
    test(`a separate critic's step moves only it and its normaliser: ${what}, head ${head}`, () => {
      const setup = setupOf(true, ownStates);
      const whole = step(setup, [0, 1, 2], false);
      const part = step({ ...setup, feeds: pickedFeeds(setup, head) }, [head], true);
      for (const name of [...TRAINED, ...STATISTICS]) {
        const [ours, all] = [rowsOf(part[`${name}_out`]!), rowsOf(whole[`${name}_out`]!)];
        const before = rowsOf(setup.feeds[name]!);
        for (let owner = 0; owner < HEADS; owner++) {
          if (owner === head) assertClose(ours[owner]!, all[owner]!, { atol: 1e-6, rtol: 1e-5 }, name);
          else assert.deepEqual(ours[owner], before[owner], `${name} of ${owner}`);
          if (owner === head) assert.notDeepEqual(ours[owner], before[owner], name);
        }
      }
    });

    test(`a head of one critic learns from its own rows and id alone: ${what}, head ${head}`, () => {
      const setup = setupOf(false, ownStates);
      // Heads that differ from the picked one in nothing but the id would give the same loss three times.
      const { old_values, returns, state } = pickedFeeds(setup, head);
      const part = step({ ...setup, feeds: pickedFeeds(setup, head) }, [0], true);
      const alike = (value: HostTensor): HostTensor =>
        floatTensor(
          [HEADS, ...value.dims.slice(1)],
          [0, 1, 2].flatMap(() => Array.from(value.data as Float32Array)),
        );
      const separate = setupOf(true, ownStates);
      const feeds = { ...separate.feeds, old_values: alike(old_values!), returns: alike(returns!) };
      const same = {
        ...feeds,
        state: ownStates ? alike(state!) : state!,
        parameters: alike(setup.feeds["parameters"]!),
        first_moment: alike(setup.feeds["first_moment"]!),
        second_moment: alike(setup.feeds["second_moment"]!),
        ...Object.fromEntries(STATISTICS.map((name) => [name, filled([HEADS], () => 2e-4)])),
      };
      const whole = step({ critic: separate.critic, feeds: same }, [0, 1, 2], false);
      for (const name of TRAINED)
        assertClose(
          rowsOf(part[`${name}_out`]!)[0]!,
          rowsOf(whole[`${name}_out`]!)[head]!,
          { atol: 1e-6, rtol: 1e-5 },
          name,
        );
    });
  }
}
