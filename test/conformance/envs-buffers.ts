/** The spec, and what reset and step write: sizes, padding, masks. */
import assert from "node:assert/strict";
import { maskWidth, stateRows } from "../../src/envs/buffers.ts";
import type { EnvBuffers, EnvSpec } from "../../src/envs/contract.ts";
import type { EnvironmentSuite } from "./envs.ts";
import { ended, type Moment, Player } from "./envs-player.ts";

const EPISODES = 3;

export function testBuffers(suite: EnvironmentSuite): void {
  suite.test("the spec is consistent, and the same after an episode", async (make) => {
    const env = await make();
    const before = structuredClone(env.spec);
    checkSpec(env.spec);
    const player = new Player(env);
    player.reset(1);
    player.finish();
    assert.deepEqual(env.spec, before);
  });

  suite.test(
    "every number of the buffers is written at reset, step and restore, padding as zero",
    async (make) => {
      const player = new Player(await make());
      const { env, buffers } = player;
      for (let episode = 0; episode < EPISODES; episode++) {
        spoil(buffers);
        checkWritten(env.spec, player.reset(episode), "reset");
        for (let t = 0; t < env.spec.episodeLimit; t++) {
          player.choose();
          spoil(buffers);
          const result = env.step(player.actions, buffers);
          checkWritten(env.spec, player.look(), `step ${t}`);
          if (result.terminated || result.truncated) break;
        }
        const saved = env.save();
        spoil(buffers);
        env.restore(saved, buffers);
        checkWritten(env.spec, player.look(), "restore");
      }
    },
  );

  suite.test("every agent has a choice at every moment, the last one too", async (make) => {
    const player = new Player(await make());
    const { spec } = player.env;
    const width = maskWidth(spec);
    for (let episode = 0; episode < EPISODES; episode++) {
      const moments = [player.reset(episode), ...player.finish()];
      assert.ok(ended(moments.at(-1)!), "the episode ended");
      for (const [t, { actionMask }] of moments.entries()) {
        assert.equal(actionMask.length, spec.agents.length * width);
        for (const [agent, { name, actionSize }] of spec.agents.entries()) {
          if (width === 0) continue;
          const own = actionMask.slice(agent * width, agent * width + actionSize);
          assert.ok(own.includes(1), `${name} at moment ${t} of episode ${episode}`);
        }
      }
    }
  });

  suite.test("two environments, stepped in turn, do not disturb one another", async (make) => {
    const [first, second] = [new Player(await make(), 1), new Player(await make(), 2)];
    const alone = [first.reset(3), ...first.play(10)];
    const again = new Player(first.env, 1);
    second.reset(4);
    const inTurn = [again.reset(3)];
    while (inTurn.length < alone.length) {
      inTurn.push(...again.play(1));
      second.play(1);
    }
    assert.deepEqual(inTurn, alone);
  });
}

function checkSpec(spec: EnvSpec): void {
  const { agents, actionSpace } = spec;
  assert.ok(agents.length > 0);
  assert.equal(new Set(agents.map(({ name }) => name)).size, agents.length, "names are unique");
  for (const { name } of agents) assert.match(name, /^[A-Za-z0-9._-]+$/);
  const longest = (size: "observationSize" | "actionSize") => Math.max(...agents.map((agent) => agent[size]));
  assert.equal(spec.observationSize, longest("observationSize"));
  const actionSize = actionSpace.kind === "discrete" ? actionSpace.count : actionSpace.size;
  assert.equal(actionSize, longest("actionSize"));
  if (actionSpace.kind === "continuous") assert.ok(actionSpace.low < actionSpace.high);
  const sizes = agents.flatMap((agent) => [agent.observationSize, agent.actionSize]);
  for (const whole of [...sizes, spec.stateSize, spec.episodeLimit]) {
    assert.ok(Number.isInteger(whole) && whole > 0, `${whole} is a whole number from 1`);
  }
  assert.ok(spec.stepSeconds > 0 && Number.isFinite(spec.stepSeconds));
  assert.equal(new Set(spec.episodeFigures).size, spec.episodeFigures.length, "figures are unique");
}

/** So that what is not written shows. */
function spoil({ observations, state, actionMask, active }: EnvBuffers): void {
  observations.fill(Number.NaN);
  state.fill(Number.NaN);
  actionMask.fill(7);
  active.fill(7);
}

function checkWritten(spec: EnvSpec, { observations, state, actionMask, active }: Moment, at: string): void {
  assert.equal(state.length, stateRows(spec) * spec.stateSize);
  assert.ok(state.every(Number.isFinite), `${at}: state`);
  const width = maskWidth(spec);
  for (const [agent, { name, observationSize, actionSize }] of spec.agents.entries()) {
    const row = observations.slice(agent * spec.observationSize, (agent + 1) * spec.observationSize);
    assert.ok(row.every(Number.isFinite), `${at}: observation of ${name}`);
    assert.ok(
      row.slice(observationSize).every((x) => x === 0),
      `${at}: padding of ${name}'s observation`,
    );
    const mask = actionMask.slice(agent * width, (agent + 1) * width);
    assert.ok(
      mask.every((x) => x === 0 || x === 1),
      `${at}: mask of ${name}`,
    );
    assert.ok(
      mask.slice(actionSize).every((x) => x === 0),
      `${at}: padding of ${name}'s mask`,
    );
    assert.ok(active[agent] === 0 || active[agent] === 1, `${at}: whether ${name} is active`);
  }
}
