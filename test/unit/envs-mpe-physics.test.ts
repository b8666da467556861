/** Physics, observations and rewards of the particle tasks against MPE2's, from `make-mpe-fixtures.py`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { createBuffers } from "../../src/envs/buffers.ts";
import { ParticleEnv } from "../../src/envs/mpe/particle-env.ts";
import type { Scene } from "../../src/envs/mpe/scene.ts";
import { MOVES } from "../../src/envs/mpe/task.ts";
import { particleTeam } from "../../src/envs/mpe/tasks.ts";
import { splitName } from "../../src/envs/options.ts";
import { assertClose } from "../helpers/close.ts";

const FILES = ["simple-spread", "simple-spread-5", "simple-reference", "simple-tag", "simple-tag-2"];
const KINDS = ["discrete", "continuous"] as const;
/** Both compute in double; exp and log1p of two libraries may differ in the last place. */
const DOUBLE = { atol: 1e-13, rtol: 1e-12 };
/** An episode's 25 steps from a crowded start carry that on: contacts are stiff. */
const EPISODE = { atol: 1e-9, rtol: 1e-9 };
/** Both round doubles to float32: one unit in the last place apart at most. */
const FLOAT = { atol: 1e-12, rtol: 1.2e-7 };

interface Before {
  readonly positions: number[][];
  readonly velocities: number[][];
  readonly goals: number[];
}

/** One row an agent, the prey's after the team's. */
interface After {
  readonly positions: number[][];
  readonly velocities: number[][];
  readonly observations: number[][];
  readonly rewards: number[];
}

/** A choice each, or five to fifteen numbers. */
type Actions = readonly (number | number[])[];

interface Fixture {
  readonly steps: { before: Before; actions: Actions; after: After }[];
  readonly episode: { before: Before; actions: Actions[]; rewards: number[][]; end: After };
}

/** An environment whose next episode starts, and whose prey moves, as told; and a look inside. */
function guided(task: string, actions: "discrete" | "continuous") {
  const asked = splitName(task, { actions });
  const team = particleTeam(asked.task, asked.options);
  const seen = { scene: undefined as Scene | undefined, rewards: [] as number[] };
  const told = { start: undefined as Before | undefined, others: [] as Actions };
  const env = new ParticleEnv({
    ...team,
    task: {
      ...team.task,
      start(scene) {
        const { positions, velocities, goals } = told.start!;
        seen.scene = scene;
        scene.positions.set(positions.flat());
        scene.velocities.set(velocities.flat());
        scene.goals.set(goals);
      },
      script(scene) {
        for (const [i, action] of told.others.entries()) push(scene, team.spec.agents.length + i, action);
      },
      score(scene, rewards) {
        team.task.score(scene, rewards);
        seen.rewards = Array.from(rewards);
      },
    },
  });
  const buffers = createBuffers(env.spec);
  const begin = (start: Before) => {
    told.start = start;
    env.reset(buffers, 0);
  };
  const step = (all: Actions) => {
    told.others = all.slice(env.spec.agents.length);
    return env.step(Float32Array.from(all.slice(0, env.spec.agents.length).flat()), buffers);
  };
  return { env, buffers, seen, begin, step };
}

/** MPE2's force for a body that the environment does not drive. */
function push(scene: Scene, body: number, action: number | number[]): void {
  const [x, y] = typeof action === "number" ? MOVES[action]! : differences(action);
  scene.forces[2 * body] = scene.movers[body]!.strength * x;
  scene.forces[2 * body + 1] = scene.movers[body]!.strength * y;
}

function differences(action: readonly number[]): [number, number] {
  const [, left = 0, right = 0, down = 0, up = 0] = action.map((a) =>
    Math.fround(Math.min(Math.max(a, 0), 1)),
  );
  return [Math.fround(right - left), Math.fround(up - down)];
}

/** Where a guided environment stands against what MPE2 gave; the prey's own row is nobody's here. */
function compare({ env, buffers, seen }: ReturnType<typeof guided>, after: After, close: object, at: string) {
  const team = env.spec.agents.length;
  assertClose(seen.scene!.positions, after.positions.flat(), close, `${at}: positions`);
  assertClose(seen.scene!.velocities, after.velocities.flat(), close, `${at}: velocities`);
  assertClose(seen.rewards, after.rewards.slice(0, team), close, `${at}: rewards`);
  const observations = after.observations.slice(0, team).flat();
  const float = close === DOUBLE ? FLOAT : { atol: 1e-8, rtol: 1.2e-7 };
  assertClose(buffers.observations, observations, float, `${at}: observations`);
  assert.deepEqual(buffers.state, buffers.observations);
}

for (const file of FILES) {
  const text = readFileSync(new URL(`../fixtures/mpe/${file}.json`, import.meta.url), "utf8");
  // Written by the script that the head of this file names.
  const record = JSON.parse(text) as { task: string } & Record<(typeof KINDS)[number], Fixture>;
  for (const kind of KINDS) {
    const { steps, episode } = record[kind];

    test(`${record.task} with ${kind} actions: a step from any moment is MPE2's`, () => {
      const world = guided(record.task, kind);
      for (const [index, { before, actions, after }] of steps.entries()) {
        world.begin(before);
        const { reward } = world.step(actions);
        compare(world, after, DOUBLE, `case ${index}`);
        const sum = after.rewards.slice(0, world.env.spec.agents.length).reduce((a, b) => a + b);
        assertClose([reward], [sum], DOUBLE, `case ${index}: the team's reward`);
      }
    });

    test(`${record.task} with ${kind} actions: an episode from a crowded start stays with MPE2's`, () => {
      const world = guided(record.task, kind);
      world.begin(episode.before);
      for (const [t, actions] of episode.actions.entries()) {
        const { truncated } = world.step(actions);
        const own = episode.rewards[t]!.slice(0, world.env.spec.agents.length);
        assertClose(world.seen.rewards, own, EPISODE, `step ${t}: rewards`);
        assert.equal(truncated, t === episode.actions.length - 1, `step ${t}`);
      }
      compare(world, episode.end, EPISODE, "the end");
    });
  }
}

test("two bodies in one place do not push one another to where no number is", () => {
  const world = guided("mpe/simple_tag", "discrete");
  const positions = Array.from({ length: 6 }, () => [0.5, 0.5]);
  world.begin({ positions, velocities: Array.from({ length: 4 }, () => [0, 0]), goals: [] });
  world.step([0, 0, 0, 0]);
  assert.deepEqual(Array.from(world.seen.scene!.velocities), Array(8).fill(0));
});
