/** What agents' random actions do: pairs of observations with the action between them. Not a rollout to learn a policy from. */
import type { Random } from "../base/random.ts";
import { actionWidth, maskWidth } from "../envs/buffers.ts";
import type { EnvSpec } from "../envs/contract.ts";
import type { EnvGroup, VectorEnv } from "../envs/vector-contract.ts";

/** Rows of all agents, in random order. */
export interface Transitions {
  readonly agents: number;
  readonly rows: number;
  /** [rows]: whose it is. */
  readonly agent: Int32Array;
  /** float32 [rows, O]. */
  readonly before: Float32Array;
  readonly after: Float32Array;
  readonly observationSize: number;
  /** float32 [rows, K]: in [−1, 1], or one-hot. */
  readonly action: Float32Array;
  readonly actionSize: number;
}

/** Enough for the codes to tell agents apart, and few enough to learn from in seconds. */
const MAX_ROWS = 16_384;

/** Steps every environment so often with actions that are drawn alike among those that are available. */
export function randomTransitions(vectorEnv: VectorEnv, steps: number, random: Random): Transitions {
  const { spec } = vectorEnv;
  const rows: { agent: number; before: Float32Array; action: Float32Array; after: Float32Array }[] = [];
  vectorEnv.reset(random.nextUint32());
  const chance = Math.min(1, MAX_ROWS / (steps * vectorEnv.envs * spec.agents.length));
  for (let t = 0; t < steps; t++) {
    for (const [index, group] of vectorEnv.groups.entries()) {
      drawActions(spec, group, random);
      const before = group.observations.slice();
      const active = group.active.slice();
      const actions = group.actions.slice();
      vectorEnv.startStep(index);
      vectorEnv.finishStep(index);
      for (let place = 0; place < active.length; place++) {
        if (active[place] === 0 || random.uniformIn(0, 1) >= chance) continue;
        const env = place % group.envs;
        const ended = group.terminated[env] === 1 || group.truncated[env] === 1;
        rows.push({
          agent: Math.floor(place / group.envs),
          before: vectorAt(before, place, spec.observationSize),
          action: policyUnits(spec, vectorAt(actions, place, actionWidth(spec))),
          after: vectorAt(ended ? group.finalObservations : group.observations, place, spec.observationSize),
        });
      }
    }
  }
  const order = [...random.permutation(rows.length)].map((index) => rows[index]!);
  return {
    agents: spec.agents.length,
    rows: rows.length,
    agent: Int32Array.from(order, ({ agent }) => agent),
    before: joined(order.map(({ before }) => before)),
    after: joined(order.map(({ after }) => after)),
    observationSize: spec.observationSize,
    action: joined(order.map(({ action }) => action)),
    actionSize: spec.actionSpace.kind === "continuous" ? spec.actionSpace.size : spec.actionSpace.count,
  };
}

function drawActions(spec: EnvSpec, group: EnvGroup, random: Random): void {
  const { actions, actionMask } = group;
  const { actionSpace } = spec;
  if (actionSpace.kind === "continuous") {
    for (let k = 0; k < actions.length; k++) actions[k] = random.uniformIn(actionSpace.low, actionSpace.high);
    return;
  }
  const width = maskWidth(spec);
  for (let place = 0; place < actions.length; place++) {
    const available = Array.from({ length: width }, (_, k) => k).filter(
      (k) => actionMask[place * width + k] === 1,
    );
    actions[place] = available[random.integer(available.length)]!;
  }
}

function policyUnits({ actionSpace }: EnvSpec, action: Float32Array): Float32Array {
  if (actionSpace.kind === "discrete")
    return Float32Array.from({ length: actionSpace.count }, (_, k) => (k === action[0] ? 1 : 0));
  const { low, high } = actionSpace;
  return action.map((one) => (2 * (one - low)) / (high - low) - 1);
}

function vectorAt(data: Float32Array, place: number, width: number): Float32Array {
  return data.slice(place * width, (place + 1) * width);
}

function joined(vectors: readonly Float32Array[]): Float32Array {
  const width = vectors[0]?.length ?? 0;
  const all = new Float32Array(vectors.length * width);
  for (const [row, vector] of vectors.entries()) all.set(vector, row * width);
  return all;
}
