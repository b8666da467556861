/** Updates of one agent after another: what each is fed of those before, in which order, and how often. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AdvantageEstimator } from "../../src/training/advantage-estimator.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { valueNormOf } from "../../src/training/critic-trainer.ts";
import { assertClose } from "../helpers/close.ts";
import type { FakeTask } from "../helpers/fake-vector-env.ts";
import { type RolloutSetup, rolloutSetup, threesome } from "../helpers/rollout-setup.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const ORDER = [1, 2, 0];

function configOf(change: Partial<TrainConfig>): TrainConfig {
  return tinyConfig({
    algo: "a2po",
    sharing: "nps",
    recurrent: false,
    // The second iteration begins with agent 1.
    updateOrder: "cyclic",
    learningRate: 0.02,
    othersClipRange: 0,
    twoStage: false,
    epochs: 3,
    criticEpochs: 4,
    ...change,
  });
}

async function updated(
  change: Partial<TrainConfig>,
  check: (setup: RolloutSetup) => void | Promise<void>,
): Promise<void> {
  const setup = await rolloutSetup(configOf(change), threesome(false));
  try {
    await setup.update(1);
    await check(setup);
  } finally {
    await setup.close();
  }
}

function product(factors: readonly Float32Array[], rows: number): number[] {
  return Array.from({ length: rows }, (_, row) => factors.reduce((all, factor) => all * factor[row]!, 1));
}

const BEFORE: Readonly<Record<string, Partial<TrainConfig>>> = {
  "recurrent, shared": { sharing: "ps", recurrent: true },
  "recurrent, apart": { sharing: "nps", recurrent: true },
  "feed-forward, shared trunk": { sharing: "mtl" },
};

for (const [name, change] of Object.entries(BEFORE)) {
  for (const discrete of [false, true]) {
    test(`before any update every stored action is as likely as when it was drawn: ${name}, ${discrete ? "choices" : "continuous"}`, async () => {
      const setup = await rolloutSetup(configOf(change), threesome(discrete));
      for (const agent of [0, 1, 2]) {
        const ones = new Float32Array(setup.buffer.rows).fill(1);
        assertClose(setup.ratioOf(agent), ones, { atol: 2e-4, rtol: 0 }, `agent ${agent}`);
      }
      await setup.update();
      assert.ok(
        setup.ratioOf(1).some((ratio) => Math.abs(ratio - 1) > 1e-3),
        "and not after it",
      );
      await setup.close();
    });
  }
}

test("HAPPO: the factor of each agent is the ratio of all before, the critic learns once, the advantage stays", async () => {
  await updated({ algo: "happo" }, ({ calls, ratioOf, buffer, config }) => {
    assert.deepEqual(
      calls.actor.map(({ agents }) => agents),
      ORDER.map((agent) => [agent]),
    );
    for (const [place, { others, clipRange, epochs, advantage }] of calls.actor.entries()) {
      const expected = product(ORDER.slice(0, place).map(ratioOf), buffer.rows);
      assertClose(others, expected, { atol: 1e-6 }, `place ${place}`);
      assert.deepEqual([clipRange, epochs], [config.clipRange, 3]);
      // A value an agent: each has its own advantages, all estimated once.
      assert.equal(advantage.length, buffer.rows);
    }
    assert.ok(calls.actor[1]!.others.some((one) => Math.abs(one - 1) > 1e-3));
    assert.deepEqual(
      calls.critic.map(({ head, epochs }) => [head, epochs]),
      [[undefined, 4]],
    );
  });
});

test("A2PO, agent loop: ratios of all before, unclipped where no range is asked for, widening clip ranges", async () => {
  await updated({}, ({ calls, ratioOf, buffer, config }) => {
    assert.deepEqual(
      calls.actor.map(({ agents }) => agents),
      ORDER.map((agent) => [agent]),
    );
    for (const [place, { others, epochs, clipRange }] of calls.actor.entries()) {
      const expected = product(ORDER.slice(0, place).map(ratioOf), buffer.rows);
      assertClose(others, expected, { atol: 1e-6 }, `place ${place}`);
      assert.equal(epochs, 3);
      assertClose([clipRange], [config.clipRange * (0.5 + (place + 1) / 6)]);
    }
    assert.deepEqual(
      calls.critic.map(({ head, epochs }) => [head, epochs]),
      ORDER.map((agent) => [agent, 4]),
    );
  });
});

test("A2PO: the ratio of those before is clipped as one, and not that of each", async () => {
  const range = 0.02;
  await updated({ othersClipRange: range }, ({ calls, ratioOf, buffer }) => {
    const last = product(ORDER.slice(0, 2).map(ratioOf), buffer.rows);
    const clipped = last.map((one) => Math.min(Math.max(one, 1 - range), 1 + range));
    assert.notDeepEqual(clipped, last, "some are clipped");
    assertClose(calls.actor[2]!.others, clipped, { atol: 1e-6 });
  });
});

for (const trace of ["off", "formula", "running-product"] as const) {
  test(`A2PO: advantages and returns are corrected for those before, ${trace}`, async () => {
    const setup = await rolloutSetup(configOf({ trace }), threesome(false));
    const own = new AdvantageEstimator(setup.config, setup.buffer);
    own.begin(valueNormOf(setup.critic));
    await setup.update(1);
    const { calls, buffer, ratioOf } = setup;
    const plain: Float32Array[] = [];
    for (const [place, agent] of ORDER.entries()) {
      const before = product(ORDER.slice(0, place).map(ratioOf), buffer.rows);
      own.estimate(place === 0 ? undefined : Float32Array.from(before));
      const part = (data: Float32Array): Float32Array =>
        data.slice(agent * buffer.rows, (agent + 1) * buffer.rows);
      assertClose(calls.critic[place]!.returns, part(own.returns), { atol: 1e-5 }, `returns at ${place}`);
      own.normalise();
      assertClose(calls.actor[place]!.advantage, part(own.advantages), { atol: 1e-4 }, `place ${place}`);
      own.estimate();
      own.normalise();
      plain.push(part(own.advantages));
    }
    const moved = plain.map((one, place) =>
      one.some((value, k) => Math.abs(value - calls.actor[place]!.advantage[k]!) > 1e-3),
    );
    assert.deepEqual(moved, trace === "off" ? [false, false, false] : [false, true, true]);
    await setup.close();
  });
}

test("A2PO in two stages: the critic learns the corrected returns once more", async () => {
  await updated({ twoStage: true }, ({ calls }) =>
    assert.deepEqual(
      calls.critic.map(({ epochs }) => epochs),
      [5, 5, 5],
    ),
  );
});

test("A2PO, epoch loop: all agents in each epoch, returns anew at each turn", async () => {
  await updated({ updateLoop: "epoch", twoStage: true }, ({ calls }) => {
    const agents = [...ORDER, ...ORDER, ...ORDER];
    assert.deepEqual(
      calls.actor.map((call) => [call.agents, call.epochs]),
      agents.map((agent) => [[agent], 1]),
    );
    // The critic's own pass is in the first round alone.
    assert.deepEqual(
      calls.critic.map(({ head, epochs }) => [head, epochs]),
      agents.map((agent, turn) => [agent, turn < 3 ? 2 : 1]),
    );
    const returnsOf = (agent: number): Float32Array[] =>
      calls.critic.filter(({ head }) => head === agent).map(({ returns }) => returns);
    for (const agent of ORDER) {
      const [first, second, third] = returnsOf(agent) as [Float32Array, Float32Array, Float32Array];
      assert.notDeepEqual(second, first, `agent ${agent}`);
      assert.notDeepEqual(third, second, `agent ${agent}`);
    }
  });
});

test("A2PO, clip ranges by ratio: the first has all of it, later ones less as those before moved", async () => {
  await updated({ adaptiveClip: "ratio" }, ({ calls, ratioOf, config }) => {
    let moved = 0;
    for (const [place, { clipRange }] of calls.actor.entries()) {
      assertClose([clipRange], [config.clipRange / (1 + moved)], { rtol: 1e-5 }, `place ${place}`);
      const ratio = ratioOf(ORDER[place]!);
      moved += ratio.reduce((sum, one) => sum + Math.abs(1 - one), 0) / ratio.length;
    }
    assert.ok(moved > 0);
  });
});

test("ratios of those before are formed anew where a turn moved them, and only there", async () => {
  const formed = async (change: Partial<TrainConfig>): Promise<readonly number[]> => {
    let ratios: readonly number[] = [];
    await updated(change, ({ calls }) => {
      ratios = calls.ratios;
    });
    return ratios;
  };
  assert.deepEqual(await formed({ sharing: "nps" }), [1, 2, 0]);
  assert.deepEqual(await formed({ sharing: "ps" }), [1, 1, 2, 1, 2, 0]);
  assert.deepEqual(await formed({ sharing: "mtl" }), [1, 1, 2, 1, 2, 0]);
});

test("agents of a cluster or a type share what moves them", async () => {
  const clusters = await rolloutSetup(configOf({ sharing: "seps" }), threesome(false), {
    clusterOf: [0, 1, 0],
  });
  await clusters.update(1);
  // Order 1, 2, 0: agent 0's turn moves agent 2, whose cluster it shares.
  assert.deepEqual(clusters.calls.ratios, [1, 2, 2, 0]);
  await clusters.close();
  const types = await rolloutSetup(configOf({ sharing: "lorasa", adapterKey: "type" }), threesome(false), {
    phase: "adapters",
  });
  await types.update(1);
  assert.deepEqual(types.calls.ratios, [1, 1, 2, 0]);
  await types.close();
});

test("blocks: agents of a turn learn together, the last block may be smaller", async () => {
  await updated({ updateBlocks: 2 }, ({ calls, ratioOf, buffer }) => {
    assert.deepEqual(
      calls.actor.map(({ agents }) => agents),
      [
        [1, 2],
        [0, 0],
      ],
    );
    assert.deepEqual(
      calls.critic.map(({ head }) => head),
      [1, 2, 0],
    );
    assertClose(calls.actor[1]!.others, product([1, 2].map(ratioOf), buffer.rows), { atol: 1e-6 });
    const activeOf = (agent: number): number[] => [
      ...buffer.active.subarray(agent * buffer.rows, (agent + 1) * buffer.rows),
    ];
    const nobody = new Array<number>(buffer.rows).fill(0);
    assert.deepEqual(
      calls.actor.map(({ active }) => [...active]),
      [
        [...activeOf(1), ...activeOf(2)],
        [...activeOf(0), ...nobody],
      ],
    );
  });
});

for (const sharing of ["ps", "nps"] as const) {
  test(`an agent that was never active teaches nothing, momentum included: ${sharing}`, async () => {
    const task: FakeTask = { ...threesome(false), active: (_, agent) => agent < 2 };
    const setup = await rolloutSetup(configOf({ sharing }), task);
    await setup.update();
    const before = await setup.actor.state();
    assert.ok(before.firstMoment.some((one) => one !== 0));
    const ones = new Float32Array(setup.buffer.rows).fill(1);
    const { batch, padded, pick } = setup.batches.actor([2], ones);
    setup.actor.update(batch, { learningRate: 0.1, clipRange: 0.2, feeds: { pick } }, padded);
    assert.deepEqual(setup.actor.state(), before);
    await setup.close();
  });
}

test("the critic of an agent reads that agent's states, or the only one", async () => {
  for (const statePerAgent of [false, true]) {
    const task = threesome(false);
    const own: FakeTask = {
      ...task,
      statePerAgent,
      state: (moment, agent) => task.state(moment, agent).map((value) => value + agent),
    };
    const setup = await rolloutSetup(configOf({}), own);
    await setup.update(1);
    const size = setup.buffer.state.length / (statePerAgent ? 3 : 1);
    for (const { head, state } of setup.calls.critic) {
      const from = statePerAgent ? head! * size : 0;
      assert.deepEqual(state, setup.buffer.state.slice(from, from + size), `head ${head}`);
    }
    await setup.close();
  }
});

for (const updateBlocks of [0, 3]) {
  test(`cumulative blocks: each turn learns with all before, whose ratio is counted once (${updateBlocks} blocks)`, async () => {
    const change = { updateBlocks, cumulativeBlocks: true, sharing: "ps", trace: "formula" } as const;
    const setup = await rolloutSetup(configOf(change), threesome(false));
    const own = new AdvantageEstimator(setup.config, setup.buffer);
    own.begin(valueNormOf(setup.critic));
    // What each has moved when the second turn begins.
    const { actor, calls, buffer } = setup;
    const update = actor.update.bind(actor);
    let moved: Float32Array | undefined;
    actor.update = (...call) => {
      moved ??= calls.actor.length === 1 ? setup.ratioOf(1) : undefined;
      return update(...call);
    };
    await setup.update(1);
    assert.deepEqual(
      calls.actor.map(({ agents }) => [...new Set(agents)]),
      [[1], [1, 2], [1, 2, 0]],
    );
    for (const { others } of calls.actor) assert.ok(others.every((one) => one === 1));
    own.estimate(moved!);
    const returns = own.returns.slice(buffer.rows, 2 * buffer.rows);
    const second = calls.critic.filter(({ head }) => head === 1)[1]!;
    assertClose(second.returns, returns, { atol: 1e-5 });
    await setup.close();
  });
}
