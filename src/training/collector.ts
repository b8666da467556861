/**
 * Collects rollouts: while one group of environments simulates, the policy infers for the other. It fills a buffer and
 * reports finished episodes; what is learnt from them is not its concern.
 */

import type { Random } from "../base/random.ts";
import type { FloatTensor } from "../base/tensor.ts";
import type { EnvGroup, VectorEnv } from "../envs/vector-contract.ts";
import type { ResidentTensor, Runtime, Session } from "../runtime/session.ts";
import { CarriedRun } from "./carried-run.ts";
import { type Episode, endedEnvs, finishedEpisode } from "./episodes.ts";
import { chunkOffset, copyRows, type RolloutBuffer, type RolloutShape, rowOffset } from "./rollout-buffer.ts";
import { clearStates, fillNoise, zeroTensors } from "./session-tensors.ts";

export interface CollectorOptions {
  /** Where the session runs. */
  readonly runtime: Runtime;
  /** An acting graph with critic and noise, for the environments of one group. */
  readonly session: Session;
  readonly vectorEnv: VectorEnv;
  readonly shape: RolloutShape;
  readonly discrete: boolean;
}

/** One group's private tensors: ONNX Runtime does not read shared memory. */
interface Half {
  readonly group: EnvGroup;
  readonly feeds: Record<string, FloatTensor>;
  readonly fetches: Record<string, FloatTensor>;
  /** Carries the recurrent states. */
  readonly run: CarriedRun;
  /** float32 [G]: 0 where the next observation is the first of an episode. */
  readonly mask: Float32Array;
}

/** What resuming needs: recurrent states and which observations begin an episode, a group each. */
export interface CollectorState {
  readonly groups: readonly Readonly<Record<string, Float32Array>>[];
}

/** Where a rollout keeps the recurrent states of the acting graph. */
const STATES = { hidden: "actorHidden", critic_hidden: "criticHidden" } as const;
/** Inputs that lie where they are trained. */
const WEIGHTS = ["parameters", "critic_parameters"];

export class Collector {
  readonly #options: CollectorOptions;
  readonly #halves: readonly Half[];
  #inferenceMs = 0;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#halves = options.vectorEnv.groups.map((group) => createHalf(options, group));
  }

  /** Weights float32 [1 or N, P] and [1, P] to act with from now on; read where they are. */
  setParameters(actor: ResidentTensor, critic: ResidentTensor): void {
    for (const { run, feeds, fetches } of this.#halves)
      run.bind({ ...feeds, parameters: actor, critic_parameters: critic }, fetches);
  }

  /** Fills the buffer with one rollout from where the environments stand; the noise comes from `random`. */
  async collect(buffer: RolloutBuffer, random: Random): Promise<Episode[]> {
    const { vectorEnv, shape } = this.#options;
    const episodes: Episode[] = [];
    for (let t = 0; t < shape.steps; t++) {
      for (const [index, half] of this.#halves.entries()) {
        const slow = t > 0 && vectorEnv.stepped?.(index);
        if (slow) await slow;
        if (t > 0) this.#finish(buffer, index, t - 1, episodes);
        if (t % shape.chunkLength === 0) this.#storeStates(buffer, half, t);
        this.#act(half, random);
        this.#store(buffer, half, t);
        half.group.actions.set(half.fetches["action"]!.data);
        vectorEnv.startStep(index);
      }
    }
    for (const [index, half] of this.#halves.entries()) {
      await vectorEnv.stepped?.(index);
      this.#finish(buffer, index, shape.steps - 1, episodes);
      this.#bootstrap(buffer, half);
    }
    return episodes;
  }

  /** Milliseconds spent inferring since the last call. */
  takeInferenceMs(): number {
    const spent = this.#inferenceMs;
    this.#inferenceMs = 0;
    return spent;
  }

  /** Forgets recurrent states: every environment was reset. */
  reset(): void {
    for (const { mask, run } of this.#halves) {
      mask.fill(0);
      clearStates(run, Array.from(mask.keys()));
    }
  }

  state(): CollectorState {
    return {
      groups: this.#halves.map(({ mask, run }) => ({
        mask: mask.slice(),
        ...Object.fromEntries(run.carried.map((name) => [name, run.download(name).data])),
      })),
    };
  }

  restore({ groups }: CollectorState): void {
    for (const [index, { mask, run }] of this.#halves.entries()) {
      const saved = groups[index]!;
      mask.set(saved["mask"]!);
      for (const name of run.carried) run.write(name, saved[name]!);
    }
  }

  dispose(): void {
    for (const { run } of this.#halves) run.dispose();
  }

  #act({ group, feeds, run }: Half, random: Random): void {
    const start = performance.now();
    feeds["observations"]!.data.set(group.observations);
    feeds["state"]!.data.set(group.state);
    fillNoise(feeds["noise"]!.data, this.#options.discrete, random);
    feeds["action_mask"]?.data.set(group.actionMask);
    run.run();
    this.#inferenceMs += performance.now() - start;
  }

  /** The recurrent states that a chunk begins with. */
  #storeStates(buffer: RolloutBuffer, { group, run }: Half, t: number): void {
    const { shape } = this.#options;
    for (const [name, kept] of Object.entries(STATES)) {
      if (shape[kept] === 0) continue;
      const { data } = run.download(name);
      const to = { data: buffer[kept], rows: buffer.chunks, at: chunkOffset(shape, t) + group.firstEnv };
      copyRows({ data, rows: group.envs, at: 0 }, to, group.envs, shape[kept]);
    }
  }

  /** Everything else known at step t before the environment answers. */
  #store(buffer: RolloutBuffer, { group, feeds, fetches, mask }: Half, t: number): void {
    const { shape } = this.#options;
    const { envs, firstEnv } = group;
    const row = rowOffset(shape, t) + firstEnv;
    const put = (data: Float32Array, into: Float32Array, width: number): void =>
      copyRows({ data, rows: envs, at: 0 }, { data: into, rows: buffer.rows, at: row }, envs, width);
    put(feeds["observations"]!.data, buffer.observations, shape.observationSize);
    put(feeds["state"]!.data, buffer.state, shape.stateSize);
    put(fetches["drawn"]!.data, buffer.drawn, shape.drawnSize);
    put(fetches["log_prob"]!.data, buffer.logProb, shape.drawnSize);
    put(fetches["value"]!.data, buffer.values, 1);
    put(group.active, buffer.active, 1);
    if (shape.maskSize > 0) put(feeds["action_mask"]!.data, buffer.actionMask, shape.maskSize);
    buffer.mask.set(mask, row);
    mask.fill(1);
  }

  /** Takes what the environment answered to step t. */
  #finish(buffer: RolloutBuffer, index: number, t: number, episodes: Episode[]): void {
    const half = this.#halves[index]!;
    const { group, mask, run } = half;
    this.#options.vectorEnv.finishStep(index);
    const row = rowOffset(this.#options.shape, t) + group.firstEnv;
    buffer.rewards.set(group.rewards, row);
    buffer.terminated.set(group.terminated, row);
    buffer.truncated.set(group.truncated, row);
    if (this.#options.shape.finalValues && group.truncated.includes(1))
      this.#storeFinalValues(buffer, half, row);
    const ended = endedEnvs(group);
    for (const e of ended) {
      mask[e] = 0;
      // An episode that a vanished simulator left unfinished has no length: its return says nothing.
      if (group.episodeLength[e] === 0) continue;
      episodes.push(finishedEpisode(this.#options.vectorEnv.spec, group, e));
    }
    clearStates(run, ended);
  }

  /** Values of the observations where episodes were cut off, with the recurrent state that led there. */
  #storeFinalValues(buffer: RolloutBuffer, { group, feeds, fetches, run }: Half, row: number): void {
    feeds["observations"]!.data.set(group.finalObservations);
    feeds["state"]!.data.set(group.finalState);
    run.peek();
    const from = { data: fetches["value"]!.data, rows: group.envs, at: 0 };
    copyRows(from, { data: buffer.finalValues, rows: buffer.rows, at: row }, group.envs, 1);
  }

  #bootstrap(buffer: RolloutBuffer, { group, feeds, fetches, run }: Half): void {
    feeds["observations"]!.data.set(group.observations);
    feeds["state"]!.data.set(group.state);
    feeds["action_mask"]?.data.set(group.actionMask);
    run.peek();
    const from = { data: fetches["value"]!.data, rows: group.envs, at: 0 };
    const to = { data: buffer.bootstrapValues, rows: buffer.shape.envs, at: group.firstEnv };
    copyRows(from, to, group.envs, 1);
  }
}

function createHalf({ runtime, session }: CollectorOptions, group: EnvGroup): Half {
  const run = new CarriedRun(runtime, session);
  const feeds = zeroTensors(run.inputs.filter(({ name }) => !WEIGHTS.includes(name)));
  return { group, feeds, fetches: zeroTensors(run.outputs), run, mask: new Float32Array(group.envs) };
}
