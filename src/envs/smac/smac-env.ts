/** One team of units in one battle: reset, step, observations, saving. Which scenario it is comes as data. */
import { LorasaError } from "../../base/errors.ts";
import { Random } from "../../base/random.ts";
import type { Env, EnvBuffers, EnvSpec, StepResult } from "../contract.ts";
import { closedError, endedError, notFiniteError, requireSavedSize } from "../refusals.ts";
import { writeAgentStates } from "./agent-state.ts";
import { createBattle } from "./battle.ts";
import { FrameStack } from "./frames.ts";
import { type Seen, writeObservations } from "./observation.ts";
import { count, createTally, maxReward, outcomeOf, rewardOf } from "./reward.ts";
import { fight } from "./rounds.ts";
import type { SmacTask } from "./tasks.ts";
import { writeTeamState } from "./team-state.ts";
import { UNITS } from "./units.ts";
import { createView, giveOrder, look } from "./view.ts";

/** Numbers that `save` puts before the last actions, the battle's own and stacked frames. */
const SAVED = { words: 0, steps: 4, ended: 5, lastActions: 6 } as const;

/**
 * A battle always starts the same; a seed decides who acts first in each game loop. An episode ends with a side's last
 * fighter: `terminated`. At the time limit it is `terminated` too, as a defeat, or `truncated` with that option.
 */
export class SmacEnv implements Env {
  readonly spec: EnvSpec;
  readonly #task: SmacTask;
  readonly #seen: Seen;
  readonly #observations: FrameStack | undefined;
  readonly #states: FrameStack | undefined;
  readonly #before = createTally();
  readonly #after = createTally();
  readonly #mostReward: number;
  #random = new Random(0);
  #steps = 0;
  #ended = true;
  #closed = false;

  constructor(task: SmacTask) {
    const { scenario, spec, options, observation, state } = task;
    const battle = createBattle(scenario);
    this.spec = spec;
    this.#task = task;
    this.#seen = {
      battle,
      view: createView(battle),
      typeBit: Int8Array.from(
        battle.names,
        (name, u) => (u < battle.allies ? scenario.bits?.allies : scenario.bits?.enemies)?.indexOf(name) ?? 0,
      ),
      cooldownLoops: Float64Array.from(battle.names, (name) => UNITS[name].cooldownLoops),
      elapsed: 0,
    };
    this.#mostReward = maxReward(battle);
    const frames = options.stackedFrames;
    const stateRows = state.perAgent ? battle.allies : 1;
    this.#observations = frames > 1 ? new FrameStack(battle.allies, observation.size, frames) : undefined;
    this.#states = frames > 1 ? new FrameStack(stateRows, state.size, frames) : undefined;
  }

  reset(buffers: EnvBuffers, seed?: number): void {
    this.#refuseClosed("reset");
    if (seed !== undefined) this.#random = new Random(seed);
    const { battle, view } = this.#seen;
    battle.moments.set(battle.start);
    view.lastActions.fill(-1);
    this.#steps = 0;
    this.#ended = false;
    this.#observations?.seen.fill(0);
    this.#states?.seen.fill(0);
    this.#show(buffers, true);
  }

  /** @throws LORASA_RANGE for an action that is not available, before any is carried out. */
  step(actions: Float32Array, buffers: EnvBuffers): StepResult {
    this.#refuseClosed("step");
    this.#refuseEnded();
    const { battle, view } = this.#seen;
    this.#refuseUnavailable(actions);
    for (let agent = 0; agent < battle.allies; agent++) giveOrder(battle, view, agent, actions[agent]!);
    count(battle, this.#before);
    fight(battle, this.#random);
    count(battle, this.#after);
    this.#steps++;
    const outcome = outcomeOf(this.#after, battle);
    const overdue = this.#steps >= this.spec.episodeLimit;
    this.#ended = overdue || outcome !== "undecided";
    this.#show(buffers, true);
    const { reward: kind, timeLimit } = this.#task.options;
    const sides = { before: this.#before, after: this.#after, outcome, most: this.#mostReward };
    const reward = rewardOf(kind, sides);
    if (!this.#ended) return { reward, terminated: false, truncated: false };
    const truncated = outcome === "undecided" && timeLimit === "truncates";
    return { reward, terminated: !truncated, truncated, info: this.#figures(outcome === "won") };
  }

  save(): Float64Array {
    this.#refuseClosed("save");
    const { battle, view } = this.#seen;
    const saved = new Float64Array(this.#savedSize());
    saved.set(this.#random.state().words, SAVED.words);
    saved[SAVED.steps] = this.#steps;
    saved[SAVED.ended] = this.#ended ? 1 : 0;
    saved.set(view.lastActions, SAVED.lastActions);
    let at = SAVED.lastActions + battle.allies;
    for (const part of this.#parts()) {
      saved.set(part, at);
      at += part.length;
    }
    return saved;
  }

  /** @throws LORASA_SHAPE for a state of another task, LORASA_NOT_FINITE for one that is damaged. */
  restore(saved: Float64Array, buffers: EnvBuffers): void {
    this.#refuseClosed("restore");
    this.#refuseDamaged(saved);
    const { battle, view } = this.#seen;
    const [a = 0, b = 0, c = 0, d = 0] = saved.subarray(SAVED.words, SAVED.words + 4);
    this.#random = Random.restore({ words: [a, b, c, d], spare: null });
    this.#steps = saved[SAVED.steps]!;
    this.#ended = saved[SAVED.ended] === 1;
    let at = SAVED.lastActions + battle.allies;
    view.lastActions.set(saved.subarray(SAVED.lastActions, at));
    for (const part of this.#parts()) {
      part.set(saved.subarray(at, at + part.length));
      at += part.length;
    }
    // Stacked frames were saved with this moment's among them.
    this.#show(buffers, false);
  }

  close(): void {
    this.#closed = true;
  }

  /** Writes what is to be seen; `fresh` says that it is not among the stacked frames yet. */
  #show(buffers: EnvBuffers, fresh: boolean): void {
    const seen = this.#seen;
    const { battle, view } = seen;
    seen.elapsed = this.#steps / this.spec.episodeLimit;
    look(battle, view);
    buffers.actionMask.set(view.mask);
    for (let agent = 0; agent < battle.allies; agent++)
      buffers.active[agent] = battle.health[agent]! > 0 ? 1 : 0;
    const { observation, state } = this.#task;
    const writeState = state.perAgent ? writeAgentStates : writeTeamState;
    if (this.#observations === undefined || this.#states === undefined) {
      writeObservations(seen, observation, buffers.observations);
      writeState(seen, state, buffers.state);
      return;
    }
    if (fresh) {
      writeObservations(seen, observation, this.#observations.frame);
      writeState(seen, state, this.#states.frame);
      this.#observations.push();
      this.#states.push();
    }
    buffers.observations.set(this.#observations.seen);
    buffers.state.set(this.#states.seen);
  }

  #figures(won: boolean): Record<string, number> {
    const { battle } = this.#seen;
    return {
      won: won ? 1 : 0,
      deadAllies: battle.allies - this.#after.allies,
      deadEnemies: battle.units - battle.allies - this.#after.enemies,
    };
  }

  /** What is saved besides counters: the battle, and frames if they are stacked. */
  #parts(): (Float64Array | Float32Array)[] {
    const parts: (Float64Array | Float32Array)[] = [this.#seen.battle.moments];
    if (this.#observations !== undefined) parts.push(this.#observations.seen);
    if (this.#states !== undefined) parts.push(this.#states.seen);
    return parts;
  }

  #savedSize(): number {
    const before = SAVED.lastActions + this.#seen.battle.allies;
    return this.#parts().reduce((sum, { length }) => sum + length, before);
  }

  #refuseUnavailable(actions: Float32Array): void {
    const { battle, view } = this.#seen;
    for (let agent = 0; agent < battle.allies; agent++) {
      const action = actions[agent]!;
      // Beyond the choices, or between two, there is nothing: undefined.
      const inRow = action >= 0 && action < view.actions;
      if (inRow && view.mask[agent * view.actions + action] === 1) continue;
      throw unavailable(this.spec, agent, action, view.mask);
    }
  }

  #refuseDamaged(saved: Float64Array): void {
    requireSavedSize(this.spec.name, saved, this.#savedSize());
    if (saved.every(Number.isFinite)) return;
    throw notFiniteError(`saved state of ${this.spec.name}`, "NaN or an infinity");
  }

  #refuseEnded(): void {
    if (!this.#ended) return;
    throw endedError(this.spec.name);
  }

  #refuseClosed(asked: string): void {
    if (!this.#closed) return;
    throw closedError(asked, this.spec.name);
  }
}

function unavailable(spec: EnvSpec, agent: number, action: number, mask: Uint8Array): LorasaError {
  const asked = `action of ${spec.agents[agent]!.name}`;
  if (!Number.isFinite(action)) {
    return new LorasaError("LORASA_NOT_FINITE", {
      asked,
      expected: "a finite number",
      received: String(action),
    });
  }
  const choices = spec.agents[agent]!.actionSize;
  const row = mask.subarray(agent * choices, (agent + 1) * choices);
  const available = Array.from(row.keys()).filter((choice) => row[choice] === 1);
  return new LorasaError("LORASA_RANGE", {
    asked,
    expected: `one of the available actions ${available.join(", ")}`,
    received: String(action),
    mend: "choose by the action mask",
  });
}
