/** Whole training loops of every algorithm and way of sharing, without a simulator: files, resuming, owners apart. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { mergedWeights } from "../../exporters/weights.ts";
import { inspectCheckpoint } from "../../src/cli/inspect/checkpoint.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { switchStep, type TrainConfig } from "../../src/training/config.ts";
import { actingWeights } from "../../src/training/evaluation.ts";
import { loadRun, saveRun, trainerState } from "../../src/training/saved-run.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { assertClose } from "../helpers/close.ts";
import { type FakeTask, fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { threesome } from "../helpers/rollout-setup.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const runtime = createRuntime();
const folder = mkdtempSync(join(tmpdir(), "lorasa-modes-"));
after(() => rmSync(folder, { recursive: true, force: true }));

const CLUSTERS = [0, 1, 0];
const ITERATIONS = 4;

interface StartOptions {
  readonly task?: FakeTask;
  readonly criticThread?: boolean;
}

function start(
  config: TrainConfig,
  { task = threesome(false), criticThread = false }: StartOptions = {},
): Trainer {
  const vectorEnv = fakeVectorEnv(task, { envs: config.envs });
  return new Trainer({ config, runtime, vectorEnv, clusterOf: CLUSTERS, criticThread });
}

function configOf(change: Partial<TrainConfig>): TrainConfig {
  return tinyConfig({ steps: ITERATIONS * 80, switchAt: 0.5, ...change });
}

async function iterate(trainer: Trainer, times: number): Promise<void> {
  for (let iteration = 0; iteration < times; iteration++) {
    const { figures, envSteps } = await trainer.iterate();
    for (const [name, value] of Object.entries(figures))
      assert.ok(Number.isFinite(value), `${name} is ${value} at step ${envSteps}`);
  }
}

const MODES: Readonly<Record<string, { change: Partial<TrainConfig>; discrete?: boolean }>> = {
  "a2po, random order, shared": { change: { algo: "a2po", sharing: "ps", updateOrder: "random" } },
  "a2po, epoch loop, choices, minibatches": {
    change: { algo: "a2po", sharing: "ps", updateLoop: "epoch", minibatches: 2, recurrent: false },
    discrete: true,
  },
  "a2po, networks and critics apart": { change: { algo: "a2po", sharing: "nps", trace: "running-product" } },
  "happo, networks and critics apart": { change: { algo: "happo", sharing: "nps", recurrent: false } },
  "mappo, networks and critics apart": { change: { sharing: "nps" }, discrete: true },
  "networks apart, one critic": { change: { sharing: "nps", criticSharing: "shared" } },
  "networks of clusters": { change: { sharing: "seps" } },
  "heads on a trunk": { change: { sharing: "mtl", algo: "a2po" }, discrete: true },
  "adapters by type": { change: { sharing: "lorasa", adapterKey: "type", layerRanks: { "mlp.0": 1 } } },
  "adapters on clusters, a2po": { change: { sharing: "seps-lorasa", algo: "a2po", critic: "team" } },
  "adapters on clusters by type, blocks": {
    change: { sharing: "seps-lorasa", algo: "a2po", adapterKey: "type", updateBlocks: 2 },
  },
};

/** Before and after adapters start, or between. */
function stopsOf({ sharing }: Partial<TrainConfig>): readonly number[] {
  return sharing?.endsWith("lorasa") ? [1, 3] : [2];
}

for (const [name, { change, discrete = false }] of Object.entries(MODES)) {
  for (const stop of stopsOf(change)) {
    test(`a checkpoint after ${stop} of ${ITERATIONS} iterations holds the team and goes on as if it had not stopped: ${name}`, async () => {
      const config = configOf(change);
      const task = threesome(discrete);
      const whole = start(config, { task });
      await iterate(whole, stop);
      const path = join(folder, `${name}-${stop}`);
      const { team, phase, spec } = whole;
      saveRun(path, await whole.state(), {
        config,
        phase,
        spec,
        clusterOf: CLUSTERS,
        seconds: 0,
        recentEpisodes: [],
        phases: [],
      });
      const loaded = loadRun(path);
      assert.deepEqual(loaded.team.backbone, team.backbone);
      assert.deepEqual(loaded.team.adapters, team.adapters);
      assert.deepEqual(loaded.team.sharing, team.sharing);
      const acting = actingWeights(runtime, loaded.team);
      const own = actingWeights(runtime, team);
      assert.deepEqual(acting.download(), own.download());
      // Exports form the same networks on the host.
      assertClose(mergedWeights(loaded.team).flat, own.download().data as Float32Array, { atol: 1e-6 });

      const resumed = start(config, { task });
      await resumed.restore(trainerState(loaded), loaded.saved.phase);
      assert.deepEqual(await resumed.state(), await whole.state());
      await iterate(whole, ITERATIONS - stop);
      await iterate(resumed, ITERATIONS - stop);
      assert.deepEqual(await resumed.state(), await whole.state());
      await whole.close();
      await resumed.close();
    });
  }

  test(`a checkpoint can be inspected: ${name}`, () => {
    const path = join(folder, `${name}-${stopsOf(change).at(-1)}`);
    const { sharing, parameters } = loadRun(path).team;
    const { text, json } = inspectCheckpoint(path);
    assert.ok(text.includes(`, ${configOf(change).sharing}, seed`), text);
    assert.deepEqual(json["sharing"], sharing);
    const { owners, size } = parameters.backbone;
    assert.equal((json["parameters"] as Readonly<Record<string, number>>)["backbone"], owners * size);
  });
}

for (const [name, { change, discrete = false }] of Object.entries(MODES)) {
  if (!name.includes("adapters")) continue;
  test(`what is under adapters stays bit for bit: ${name}`, async () => {
    const trainer = start(configOf(change), { task: threesome(discrete) });
    while (trainer.envSteps < switchStep(trainer.config)) await trainer.iterate();
    const { backbone } = trainer.team;
    await iterate(trainer, 1);
    const { adapters } = trainer.team;
    await iterate(trainer, 1);
    assert.equal(trainer.phase, "adapters");
    assert.deepEqual(trainer.team.backbone, backbone);
    assert.notDeepEqual(trainer.team.adapters, adapters);
    await trainer.close();
  });
}

test("a2po's critic in a thread of its own changes no number, blocks of value heads included", {
  timeout: 60_000,
}, async () => {
  for (const change of [{ updateBlocks: 2 }, { sharing: "nps", updateLoop: "epoch" }] as const) {
    const config = configOf({ algo: "a2po", sharing: "ps", ...change });
    const states = [];
    for (const criticThread of [false, true]) {
      const trainer = start(config, { criticThread });
      await iterate(trainer, 2);
      states.push(await trainer.state());
      await trainer.close();
    }
    assert.deepEqual(states[1], states[0]);
  }
});

/** One agent, whose actions are remembered. */
const ALONE: FakeTask = {
  ...threesome(false),
  agents: 1,
  types: ["scout"],
  active: () => true,
  step: ({ step, memory }, actions) => ({
    reward: actions[0]![0]! - actions[0]![1]! ** 2 + memory,
    memory: 0.8 * memory + 0.2 * actions[0]![1]!,
    terminated: step === 7,
  }),
};

for (const critic of ["team", "agent"] as const) {
  for (const algo of ["a2po", "happo"] as const) {
    test(`one agent by itself learns with ${algo} what it learns with mappo: critic ${critic}`, async () => {
      const common = { sharing: "ps", critic, twoStage: false, steps: 240, minibatches: 2 } as const;
      const states = [];
      for (const own of ["mappo", algo] as const) {
        const trainer = start(configOf({ ...common, algo: own }), { task: ALONE });
        await iterate(trainer, 3);
        states.push(await trainer.state());
        await trainer.close();
      }
      const [mappo, other] = states as [(typeof states)[0], (typeof states)[0]];
      // The same sums in other kernels: three iterations are roundings apart.
      assertClose(other.actor.parameters, mappo.actor.parameters, { atol: 1e-6, rtol: 1e-5 }, "actor");
      assertClose(other.critic.parameters, mappo.critic.parameters, { atol: 1e-6, rtol: 1e-5 }, "critic");
    });
  }
}

for (const sharing of ["ps", "nps", "seps", "mtl"] as const) {
  test(`all agents in one block learn with a2po what they learn with mappo: ${sharing}`, async () => {
    const common = { sharing, critic: "team", twoStage: false, minibatches: 2 } as const;
    const states = [];
    for (const own of [{}, { algo: "a2po", updateBlocks: 1 }] as const) {
      const trainer = start(configOf({ ...common, ...own }));
      await iterate(trainer, 2);
      states.push((await trainer.state()).actor.parameters);
      await trainer.close();
    }
    // The same sums in another order of agents.
    assertClose(states[1]!, states[0]!, { atol: 5e-5, rtol: 1e-3 });
  });
}

/** The last agent never lives. */
function withoutLast(discrete: boolean): FakeTask {
  return { ...threesome(discrete), active: (_, agent) => agent < 2 };
}

const APART: Readonly<Record<string, Partial<TrainConfig>>> = {
  "networks apart, mappo": { sharing: "nps" },
  "networks apart, a2po": { sharing: "nps", algo: "a2po" },
  "networks apart, happo": { sharing: "nps", algo: "happo" },
  "adapters, mappo": { sharing: "lorasa", switchAt: 1e-9 },
  "adapters, a2po in blocks": { sharing: "lorasa", switchAt: 1e-9, algo: "a2po", updateBlocks: 2 },
};

for (const [name, change] of Object.entries(APART)) {
  test(`who was never active in a rollout stays as it was, momentum and all: ${name}`, async () => {
    const config = configOf(change);
    // One iteration with everybody first: there is momentum that could move it.
    const living = start(config);
    await iterate(living, 1);
    const before = await living.state();
    const { phase } = living;
    await living.close();
    const trainer = start(config, { task: withoutLast(false) });
    await trainer.restore(before, phase);
    // Environments were saved where the last agent was alive; their next episodes are without it.
    await iterate(trainer, 1);
    const middle = await trainer.state();
    await iterate(trainer, 1);
    const end = await trainer.state();
    const size = end.actor.parameters.length / 3;
    for (const key of ["parameters", "firstMoment", "secondMoment"] as const) {
      const row = (all: Float32Array, owner: number) => all.slice(owner * size, (owner + 1) * size);
      assert.deepEqual(row(end.actor[key], 2), row(middle.actor[key], 2), key);
      assert.notDeepEqual(row(end.actor[key], 0), row(middle.actor[key], 0), key);
    }
    assert.equal(end.actor.updates[2], middle.actor.updates[2]);
    assert.ok(end.actor.updates[0]! > middle.actor.updates[0]!);
    await trainer.close();
  });
}

test("adapters by type are refused where agents have none, in one line", () => {
  const { types: _, ...untyped } = threesome(false);
  assert.throws(() => start(configOf({ adapterKey: "type" }), { task: untyped }), {
    code: "LORASA_CONFIG",
    message: /adapterKey type: expected a task whose agents have types, received agent_0 without one/,
  });
});
