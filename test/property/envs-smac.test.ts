/** Whatever agents do, a battle repeats from its seed and its saved moments, nobody overlaps, and all views of it agree. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Random } from "../../src/base/random.ts";
import { createBuffers } from "../../src/envs/buffers.ts";
import type { Env, EnvBuffers } from "../../src/envs/contract.ts";
import { createBattle } from "../../src/envs/smac/battle.ts";
import { smacFamily } from "../../src/envs/smac/family.ts";
import { fight } from "../../src/envs/smac/rounds.ts";
import { SCENARIOS } from "../../src/envs/smac/scenarios.ts";
import { smacTask } from "../../src/envs/smac/tasks.ts";
import { isOpen } from "../../src/envs/smac/terrain.ts";
import { createView, giveOrder, look } from "../../src/envs/smac/view.ts";
import { TEAMS } from "../helpers/smac-teams.ts";

const tasks = fc.constantFrom(
  "smac/3m",
  "smac/2s3z",
  "smac/MMM2",
  "smac/1c3s5z",
  "smac/corridor",
  "smac/bane_vs_bane",
  "smac/2c_vs_64zg",
  "smac/6h_vs_8z",
);
const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 });

test("from a seed, and from a saved moment in another environment, play is the same bit for bit", async () => {
  const steps = fc.integer({ min: 0, max: 40 });
  await fc.assert(
    fc.asyncProperty(
      tasks,
      seeds,
      steps,
      fc.constantFrom("team", "agent"),
      async (name, seed, before, state) => {
        const first = await smacFamily.make(name, { state, stackedFrames: 1 + (seed % 2) });
        const second = await smacFamily.make(name, { state, stackedFrames: 1 + (seed % 2) });
        const [mine, others] = [createBuffers(first.spec), createBuffers(second.spec)];
        first.reset(mine, seed);
        second.reset(others, seed);
        assert.deepEqual(play(first, mine, before, 1), play(second, others, before, 1));
        const saved = first.save();
        const future = play(first, mine, 20, 2);
        play(second, others, 7, 3);
        second.restore(saved, others);
        assert.deepEqual(second.save(), saved);
        assert.deepEqual(play(second, others, 20, 2), future);
        assert.equal(first.save().length, saved.length);
      },
    ),
    { numRuns: 25 },
  );
});

test("no two ground units come to overlap, none leaves the ground, and nobody's numbers leave their range", () => {
  fc.assert(
    fc.property(tasks, seeds, (name, seed) => {
      const b = createBattle(SCENARIOS[name.slice("smac/".length)]!);
      const view = createView(b);
      const random = new Random(seed);
      for (let step = 0; step < 40; step++) {
        look(b, view);
        for (let agent = 0; agent < b.allies; agent++) {
          const row = view.mask.subarray(agent * view.actions, (agent + 1) * view.actions);
          const choices = [...row.keys()].filter((action) => row[action] === 1);
          // Rather forward than back, so that crowds form.
          giveOrder(b, view, agent, choices.at(-1 - (random.integer(4) % choices.length))!);
        }
        fight(b, random);
        for (let u = 0; u < b.units; u++) {
          assert.ok(b.health[u]! >= 0 && b.health[u]! <= b.maxHealth[u]!, `health ${b.health[u]}`);
          assert.ok(b.shield[u]! >= 0 && b.shield[u]! <= b.maxShield[u]!, `shield ${b.shield[u]}`);
          assert.ok(b.energy[u]! >= 0 && b.energy[u]! <= b.maxEnergy[u]!, `energy ${b.energy[u]}`);
          if (b.health[u] === 0 || b.flying[u] === 1) continue;
          assert.equal(
            isOpen(b.climbs[u] === 1 ? b.terrain.climbable : b.terrain.ground, b.x[u]!, b.y[u]!),
            1,
          );
          for (let v = 0; v < u; v++) {
            if (b.health[v] === 0 || b.flying[v] === 1) continue;
            const apart = Math.hypot(b.x[u]! - b.x[v]!, b.y[u]! - b.y[v]!) - b.radius[u]! - b.radius[v]!;
            assert.ok(apart > -1e-6, `${b.names[u]} and ${b.names[v]} overlap by ${-apart}`);
          }
        }
      }
    }),
    { numRuns: 40 },
  );
});

test("observations, team states, agent states and masks agree on who is where and what can be attacked", async () => {
  await fc.assert(
    fc.asyncProperty(tasks, seeds, fc.integer({ min: 5, max: 45 }), async (name, seed, steps) => {
      const team = await smacFamily.make(name, {});
      const agent = await smacFamily.make(name, { state: "agent" });
      const [seen, own] = [createBuffers(team.spec), createBuffers(agent.spec)];
      team.reset(seen, seed);
      agent.reset(own, seed);
      assert.deepEqual(play(team, seen, steps, 1), play(agent, own, steps, 1));
      assert.deepEqual(own.observations, seen.observations);
      const { observation, state } = smacTask(name, {});
      const rows = smacTask(name, { state: "agent" }).state;
      const agents = team.spec.agents.length;
      const actions = team.spec.agents[0]!.actionSize;
      for (let a = 0; a < agents; a++) {
        if (seen.active[a] === 0) continue;
        const ownX = seen.state[a * state.ally + 2]!;
        for (let enemy = 0; enemy < actions - 6; enemy++) {
          const global = agents * state.ally + enemy * state.enemy;
          const local = a * observation.size + (agents - 1) * observation.ally + enemy * observation.enemy;
          const wide = a * rows.size + (agents - 1) * rows.ally + enemy * rows.enemy;
          const alive = seen.state[global]! > 0;
          assert.equal(own.state[wide + 5]! > 0, alive);
          if (alive) near(own.state[wide + 2]! * 9, (seen.state[global + 1]! - ownX) * 32);
          const visible = alive && own.state[wide + 4] === 1;
          assert.equal(seen.observations[local + 4]! > 0, visible);
          if (!visible) continue;
          assert.equal(seen.observations[local], seen.actionMask[a * actions + 6 + enemy]);
          near(seen.observations[local + 2]! * 9, (seen.state[global + 1]! - ownX) * 32);
          near(
            seen.observations[local + 1]!,
            Math.hypot(seen.observations[local + 2]!, seen.observations[local + 3]!),
          );
        }
      }
    }),
    { numRuns: 30 },
  );
});

/** Rewards and what is seen of random play; a new episode after each end. */
function play(env: Env, buffers: EnvBuffers, steps: number, seed: number): number[] {
  const [name = ""] = env.spec.name.split("?");
  const act = TEAMS.random(smacTask(name, {}), buffers, new Random(seed));
  const actions = new Float32Array(env.spec.agents.length);
  const seen: number[] = [];
  for (let t = 0; t < steps; t++) {
    act(actions);
    const { reward, terminated, truncated, info } = env.step(actions, buffers);
    seen.push(reward, ...buffers.active, ...buffers.actionMask, ...buffers.observations.subarray(0, 200));
    if (!terminated && !truncated) continue;
    seen.push(info!["won"]!, info!["deadAllies"]!, info!["deadEnemies"]!);
    env.reset(buffers);
  }
  return seen;
}

function near(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 1e-4, `${actual} is not ${expected}`);
}
