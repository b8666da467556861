/** Evaluation: which episodes are counted, in which order, and that each starts anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { evaluate } from "../../src/training/evaluation.ts";
import { type FakeTask, fakeVectorEnv } from "../helpers/fake-vector-env.ts";
import { randomTeam, SHARINGS } from "../helpers/team.ts";

const runtime = createRuntime();
const LENGTH = 4;

/** Every episode of every environment alike, of a length that `lengthOf` gives; the return tells the actions apart. */
function alike(lengthOf: (env: number, episode: number) => number = () => LENGTH): FakeTask {
  return {
    agents: 3,
    observationSize: 5,
    stateSize: 1,
    actionSpace: { kind: "continuous", size: 2, low: -1, high: 1 },
    observation: ({ step }, agent) => [Math.sin(step), Math.cos(agent), 1, step, -1],
    state: () => [0],
    step: ({ env, episode, step }, actions) => ({
      reward: actions.flat().reduce((sum, value, index) => sum + (index + 1) * value, 0),
      truncated: step === lengthOf(env, episode) - 1,
    }),
  };
}

for (const sharing of SHARINGS) {
  test(`every episode starts from a fresh recurrent state: ${sharing}`, () => {
    const team = randomTeam({ recurrent: true, sharing });
    const vectorEnv = fakeVectorEnv(alike(), { envs: 2, groups: 1 });
    const episodes = evaluate(team, { runtime, vectorEnv, episodes: 6, seed: 1 });
    assert.equal(episodes.length, 6);
    for (const episode of episodes) assert.deepEqual(episode, episodes[0]);
    const sampled = { runtime, vectorEnv, episodes: 6, seed: 1, sampled: true };
    const drawn = evaluate(team, sampled);
    assert.notDeepEqual(drawn[1], drawn[0]);
    assert.deepEqual(evaluate(team, sampled), drawn, "a seed draws the same actions again");
  });
}

test("every environment plays its share, so that short episodes do not count more often", () => {
  // Environment 0 plays three episodes in the time in which environment 1 plays one.
  const task = alike((env, episode) => (env === 0 ? 2 : 6) + 10 * episode);
  const vectorEnv = fakeVectorEnv(task, { envs: 2, groups: 1 });
  const seen: number[] = [];
  const episodes = evaluate(randomTeam(), {
    runtime,
    vectorEnv,
    episodes: 3,
    seed: 1,
    onEpisode: (_, done) => void seen.push(done),
  });
  assert.deepEqual(
    episodes.map(({ length }) => length),
    [2, 12, 6],
  );
  assert.deepEqual(seen, [1, 2, 3, 4]);
});
