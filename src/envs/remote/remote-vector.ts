/**
 * Environments that simulators in other processes run: the trainer's side of a thread that serves them over HTTP
 * (`remote-worker.ts`). `docs/remote.md` is the protocol.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { LorasaError } from "../../base/errors.ts";
import { startWorker } from "../../base/worker.ts";
import type { EnvSpec } from "../contract.ts";
import type { EnvGroup, VectorEnv } from "../vector-contract.ts";
import { groupViews } from "../vector-memory.ts";
import { Link, type Ready } from "./remote-link.ts";
import { type RemoteVectorEnvOptions, remoteTask } from "./remote-options.ts";
import type { RemoteTask } from "./remote-worker.ts";

/** A blocked caller looks for notes and failures so often. */
const LOOK_MS = 200;
const BLOCK_MS = 100;
/** After a signal to stop, a step of simulators that are all there may take so long. */
const PATIENCE_MS = 5000;
/** A caller that does not block looks so often. */
const POLL_MS = 5;

export type { RemoteVectorEnvOptions };

export interface RemoteVectorEnv extends VectorEnv {
  /** Such as `http://127.0.0.1:9100`. */
  readonly address: string;
  /**
   * `reset` without blocking: resolves when every environment has a simulator and its first observations. A `reset` to
   * the same seed, or a `restore`, right after it has nothing left to do.
   * @throws LORASA_CANCELLED, LORASA_DISPOSED.
   */
  begin(seed: number): Promise<void>;
  /**
   * Undefined when `finishStep` has nothing left to wait for, or within a moment; else resolves when it has not. A
   * caller that waits here instead of in `finishStep` keeps its event loop, and so its signals, while simulators are slow or gone.
   * @throws LORASA_CANCELLED when the signal fires while an environment has no simulator or its step takes seconds, LORASA_DISPOSED.
   */
  stepped(group: number): Promise<void> | undefined;
}

/**
 * Listens for simulators and resolves once the first has told its spaces. `finishStep` and `reset` wait for simulators as long
 * as it takes. Their state cannot be saved: `save` gives empty arrays and `restore` starts new episodes.
 * @throws LORASA_CONFIG for options, LORASA_PORT, LORASA_CANCELLED when the signal fires before a simulator came.
 */
export async function createRemoteVectorEnv(options: RemoteVectorEnvOptions): Promise<RemoteVectorEnv> {
  const task = remoteTask(options);
  const worker = startWorker(import.meta.url, "./remote-worker", task);
  const { port1, port2 } = new MessageChannel();
  worker.postMessage(port2, [port2]);
  const link = new Link(worker, port1, options);
  try {
    while (link.ready === undefined) {
      link.expectSound("waiting for a simulator");
      if (options.signal?.aborted) throw cancelled("waiting for the first simulator");
      await sleep(POLL_MS);
    }
    return new RemoteEnvs(link, link.ready, task, options);
  } catch (error) {
    await link.close();
    throw error;
  }
}

class RemoteEnvs implements RemoteVectorEnv {
  readonly spec: EnvSpec;
  readonly envs: number;
  readonly groups: readonly EnvGroup[];
  readonly #link: Link;
  readonly #signal: AbortSignal | undefined;
  readonly #blockMs: number;
  readonly #words: Int32Array;
  readonly #nanoseconds: Float64Array;
  /** Commands given to each group, and whether a step of it is under way. */
  readonly #issued: Int32Array;
  readonly #underWay: boolean[];
  #nanosecondsTaken = 0;
  /** Of the last reset; its episodes' first observations are those that stand, when `#fresh`. */
  #seed: number | undefined;
  #fresh = false;

  constructor(
    link: Link,
    { spec, memory }: Ready,
    task: RemoteTask,
    { signal, blockMs = BLOCK_MS }: RemoteVectorEnvOptions,
  ) {
    this.spec = spec;
    this.envs = task.groups * task.envs;
    this.groups = memory.groups.map((group) => groupViews(spec, group));
    this.#link = link;
    this.#signal = signal;
    this.#blockMs = blockMs;
    this.#words = new Int32Array(memory.words);
    this.#nanoseconds = new Float64Array(memory.nanoseconds);
    this.#issued = new Int32Array(task.groups);
    this.#underWay = this.groups.map(() => false);
  }

  get address(): string {
    return this.#link.address;
  }

  async begin(seed: number): Promise<void> {
    this.#issueReset(seed);
    for (const group of this.groups.keys())
      await this.#later(group, `starting episodes of ${this.spec.name}`);
    this.#fresh = true;
  }

  reset(seed: number): void {
    this.#link.expectSound("reset");
    if (this.#fresh && seed === this.#seed) return;
    this.#issueReset(seed);
    for (const group of this.groups.keys()) this.#block(group, "reset");
    this.#fresh = true;
  }

  startStep(group: number): void {
    this.#expect(group, false, "startStep");
    this.#fresh = false;
    this.#issued[group]! += 1;
    this.#underWay[group] = true;
    this.#link.send({ kind: "step", group });
  }

  stepped(group: number): Promise<void> | undefined {
    this.#expect(group, true, "stepped");
    if (this.#wait(group, this.#blockMs)) return undefined;
    return this.#later(group, `a step of ${this.spec.name}`);
  }

  finishStep(group: number): void {
    this.#expect(group, true, "finishStep");
    this.#block(group, "finishStep");
    this.#underWay[group] = false;
  }

  takeSimulationNanoseconds(): number {
    const taken = this.#nanoseconds[0]! - this.#nanosecondsTaken;
    this.#nanosecondsTaken += taken;
    return taken;
  }

  /** Empty: what simulators hold stays with them. */
  save(): Float64Array[] {
    this.#link.expectSound("save");
    return Array.from({ length: this.envs }, () => new Float64Array(0));
  }

  /** Starts new episodes, unless they have just been started. */
  restore(saved: readonly Float64Array[]): void {
    if (saved.length !== this.envs || saved.some(({ length }) => length > 0)) {
      throw new LorasaError("LORASA_SHAPE", {
        asked: `saved environments of ${this.spec.name}`,
        expected: `${this.envs} empty ones`,
        received: `${saved.length} of ${[...new Set(saved.map(({ length }) => length))].join(" or ")} numbers`,
        mend: "resume with the task and the number of environments that they were saved from",
      });
    }
    const seed = this.#seed ?? 0;
    this.reset(this.#fresh ? seed : seed + 1);
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  #issueReset(seed: number): void {
    for (const group of this.groups.keys()) this.#expect(group, false, "reset");
    this.#fresh = false;
    this.#seed = seed;
    for (const group of this.groups.keys()) {
      this.#issued[group]! += 1;
      this.#link.send({ kind: "reset", group, seed });
    }
  }

  /** Waits with the caller's event loop running. */
  async #later(group: number, asked: string): Promise<void> {
    const begun = performance.now();
    while (!this.#done(group)) {
      this.#link.expectSound(asked);
      const { connected = 0, environments = this.envs } = this.#link.status ?? {};
      // With every simulator there a step soon ends by itself; one that died is not yet known to be gone.
      const patient = connected === environments && performance.now() - begun < PATIENCE_MS;
      if (this.#signal?.aborted && !patient) throw cancelled(asked);
      await sleep(POLL_MS);
    }
  }

  #block(group: number, asked: string): void {
    while (!this.#wait(group, LOOK_MS)) {
      this.#link.drain();
      this.#link.expectSound(asked);
    }
  }

  /** Blocks until the group's commands are done, for so long at most. */
  #wait(group: number, ms: number): boolean {
    const end = performance.now() + ms;
    while (!this.#done(group)) {
      const left = end - performance.now();
      if (left <= 0 || Atomics.load(this.#words, this.groups.length) !== 0) return false;
      Atomics.wait(this.#words, group, this.#issued[group]! - 1, left);
    }
    return true;
  }

  #done(group: number): boolean {
    return Atomics.load(this.#words, group) === this.#issued[group];
  }

  #expect(group: number, underWay: boolean, asked: string): void {
    this.#link.expectSound(asked);
    if (this.#underWay[group] === underWay) return;
    const expected = underWay ? "startStep before" : "finishStep before";
    throw new LorasaError("LORASA_SIMULATOR", { asked, expected, received: `group ${group}` });
  }
}

function cancelled(asked: string): LorasaError {
  return new LorasaError("LORASA_CANCELLED", { asked, received: "a signal to stop" });
}
