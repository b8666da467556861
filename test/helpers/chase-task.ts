/** A task to learn from at once, for tests of training: no simulator. */
import type { FakeTask } from "./fake-vector-env.ts";

/** Two agents paid for actions near a number that moves with what they see; episodes of 7 to 10 steps. */
export function chase(discrete: boolean): FakeTask {
  const target = ({ env, episode, step }: { env: number; episode: number; step: number }): number =>
    Math.sin(env + 3 * episode + 0.5 * step);
  return {
    agents: 2,
    observationSize: 3,
    stateSize: 4,
    actionSpace: discrete
      ? { kind: "discrete", count: 3 }
      : { kind: "continuous", size: 2, low: -1, high: 1 },
    observation: (moment, agent) => [target(moment), moment.memory, agent],
    state: (moment) => [target(moment), moment.memory, 1, -1],
    actionMask: ({ step }, agent) => [1, 1, (step + agent) % 2],
    active: ({ step }, agent) => agent === 0 || step < 5,
    step: (moment, actions) => ({
      reward: -((actions[0]![0]! - target(moment)) ** 2) + actions[1]![0]!,
      memory: 0.9 * moment.memory + 0.1 * actions[1]![0]!,
      terminated: moment.step === 6 && moment.env % 2 === 0,
      truncated: moment.step === 9,
    }),
  };
}
