/** Updates of one agent after another: what each is fed of those before, in which order, and how often. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { AdvantageEstimator } from "../../src/training/advantage-estimator.ts";
import type { TrainConfig } from "../../src/training/config.ts";
import { valueNormOf } from "../../src/training/critic-trainer.ts";
import type { LearnerState } from "../../src/training/learner.ts";
import { assertClose } from "../helpers/close.ts";
import type { FakeTask } from "../helpers/fake-vector-env.ts";
import { type RolloutSetup, rolloutSetup, threesome } from "../helpers/rollout-setup.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

/** The orders that are drawn: one for each round. */
const ROUNDS = [
  [1, 2, 0],
  [2, 1, 0],
  [0, 2, 1],
] as const;
const [ORDER] = ROUNDS;

function configOf(change: Partial<TrainConfig>): TrainConfig {
  return tinyConfig({
    algo: "a2po",
    sharing: "nps",
    recurrent: false,
    updateOrder: "random",
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
    await setup.update();
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
    await setup.update();
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

/** Ways of sharing, loops and blocks in which different agents have moved when a turn begins. */
const MOVED: Readonly<Record<string, Partial<TrainConfig>>> = {
  "apart, an agent's epochs": {},
  "apart, epoch by epoch": { updateLoop: "epoch" },
  "shared, an agent's epochs": { sharing: "ps" },
  "shared, epoch by epoch": { sharing: "ps", updateLoop: "epoch" },
  "a shared trunk": { sharing: "mtl" },
  "a cluster's network": { sharing: "seps" },
  "blocks, epoch by epoch": { updateBlocks: 2, updateLoop: "epoch" },
  "cumulative blocks": { sharing: "ps", cumulativeBlocks: true },
  "two cumulative blocks, epoch by epoch": { updateBlocks: 2, cumulativeBlocks: true, updateLoop: "epoch" },
};

for (const [name, change] of Object.entries(MOVED)) {
  test(`A2PO: returns are corrected for all who have moved, and the loss for all others: ${name}`, async () => {
    const config = configOf(change);
    const setup = await rolloutSetup(config, threesome(false), { clusterOf: [0, 1, 0] });
    const own = new AdvantageEstimator(config, setup.buffer);
    own.begin(valueNormOf(setup.critic));
    const { actor, calls, buffer, ratioOf } = setup;
    const update = actor.update.bind(actor);
    /** At the beginning of each turn. */
    const ratios: Float32Array[][] = [];
    actor.update = (...call) => {
      ratios.push([0, 1, 2].map(ratioOf));
      return update(...call);
    };
    await setup.update();
    const { rows } = buffer;
    let read = 0;
    for (const [turn, { agents, others, active }] of calls.actor.entries()) {
      own.estimate(turn === 0 ? undefined : Float32Array.from(product(ratios[turn]!, rows)));
      for (const [place, agent] of agents.entries()) {
        const part = (data: Float32Array, at: number): Float32Array => data.slice(at * rows, (at + 1) * rows);
        if (part(active, place).every((one) => one === 0)) continue;
        // Of one who has not moved the ratio is 1 but for rounding.
        const beside = ratios[turn]!.filter((_, one) => one !== agent);
        assertClose(part(others, place), product(beside, rows), { atol: 1e-3, rtol: 1e-3 }, `turn ${turn}`);
        const { head, returns } = calls.critic[read++]!;
        assert.equal(head, agent);
        assertClose(returns, part(own.returns, agent), { atol: 1e-3, rtol: 1e-3 }, `returns in turn ${turn}`);
      }
    }
    assert.equal(read, calls.critic.length);
    const furthest = ratios.at(-1)!.map((ratio) => Math.max(...ratio.map((one) => Math.abs(one - 1))));
    assert.ok(Math.max(...furthest) > 0.02, `moved by ${furthest}`);
    await setup.close();
  });
}

test("A2PO, epoch loop: all agents in each epoch, each round in an order of its own", async () => {
  await updated({ updateLoop: "epoch", twoStage: true }, ({ calls }) => {
    const agents = ROUNDS.flat();
    assert.deepEqual(
      calls.actor.map((call) => [call.agents, call.epochs]),
      agents.map((agent) => [[agent], 1]),
    );
    // The critic's own pass is in the first round alone.
    assert.deepEqual(
      calls.critic.map(({ head, epochs }) => [head, epochs]),
      agents.map((agent, turn) => [agent, turn < 3 ? 2 : 1]),
    );
  });
});

test("A2PO, clip ranges by ratio: all alike while nobody has moved, then the widest for the last turn", async () => {
  await updated({ adaptiveClip: "ratio", updateLoop: "epoch" }, ({ calls, config }) => {
    const ranges = calls.actor.map(({ clipRange }) => clipRange);
    assertClose(ranges.slice(0, 3), [config.clipRange, config.clipRange, config.clipRange]);
    for (const round of [ranges.slice(3, 6), ranges.slice(6)]) {
      assertClose([round[2]!], [config.clipRange]);
      assert.ok(round[0]! < round[1]! && round[1]! < round[2]!, `${round}`);
    }
  });
});

test("ratios are formed anew of whom a turn moved, and only while somebody reads them", async () => {
  const formed = async (change: Partial<TrainConfig>): Promise<readonly number[]> => {
    let ratios: readonly number[] = [];
    await updated(change, ({ calls }) => {
      ratios = calls.ratios;
    });
    return ratios;
  };
  assert.deepEqual(await formed({ sharing: "nps" }), [1, 2]);
  assert.deepEqual(await formed({ sharing: "ps" }), [0, 1, 2, 0, 1, 2]);
  assert.deepEqual(await formed({ sharing: "mtl" }), [0, 1, 2, 0, 1, 2]);
});

test("agents of a cluster or a type share what moves them", async () => {
  const clusters = await rolloutSetup(configOf({ sharing: "seps" }), threesome(false), {
    clusterOf: [0, 1, 0],
  });
  await clusters.update();
  // Order 1, 2, 0: agent 2's turn moves agent 0, whose cluster it shares.
  assert.deepEqual(clusters.calls.ratios, [1, 0, 2]);
  await clusters.close();
  const types = await rolloutSetup(configOf({ sharing: "lorasa", adapterKey: "type" }), threesome(false), {
    phase: "adapters",
  });
  await types.update();
  assert.deepEqual(types.calls.ratios, [1, 2, 1, 2]);
  await types.close();
});

test("a head is moved in its own agent's turn alone, the trunk in all", async () => {
  const setup = await rolloutSetup(configOf({ sharing: "mtl" }), threesome(false));
  const { actor } = setup;
  const layout = actor.parameters.backbone;
  const headsOf = ({ parameters, firstMoment }: LearnerState): number[][] =>
    [0, 1, 2].map((copy) => [
      ...layout.view(parameters, "head.weight", 0, copy).data,
      ...layout.view(firstMoment, "head.weight", 0, copy).data,
    ]);
  const trunkOf = ({ parameters }: LearnerState): number[] => [
    ...layout.view(parameters, "mlp.0.weight").data,
  ];
  const states: LearnerState[] = [];
  const update = actor.update.bind(actor);
  actor.update = (...call) => {
    states.push(actor.state());
    return update(...call);
  };
  await setup.update();
  states.push(actor.state());
  for (const [turn, agent] of ORDER.entries()) {
    const [before, after] = [states[turn]!, states[turn + 1]!];
    assert.notDeepEqual(trunkOf(after), trunkOf(before));
    for (const head of [0, 1, 2]) {
      const same = headsOf(after)[head]!.every((one, k) => one === headsOf(before)[head]![k]);
      assert.equal(same, head !== agent, `head ${head} in the turn of ${agent}`);
    }
  }
  // Three turns of three epochs for the trunk, one for each head.
  assert.deepEqual(actor.state().updates, [9, 3, 3, 3]);
  await setup.close();
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
    const before = product([1, 2].map(ratioOf), buffer.rows);
    assertClose(calls.actor[1]!.others, [...before, ...before], { atol: 1e-6 });
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
    const { batch, padded, pick } = setup.batches.actor([2], [ones]);
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
    await setup.update();
    const size = setup.buffer.state.length / (statePerAgent ? 3 : 1);
    for (const { head, state } of setup.calls.critic) {
      const from = statePerAgent ? head! * size : 0;
      assert.deepEqual(state, setup.buffer.state.slice(from, from + size), `head ${head}`);
    }
    await setup.close();
  }
});
