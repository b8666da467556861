/** Environments of a vector environment in worker threads; what a thread does is `vector-worker.ts`. */
import { once } from "node:events";
import type { Worker } from "node:worker_threads";
import { LorasaError } from "../base/errors.ts";
import { startWorker } from "../base/worker.ts";
import type { EnvSpec } from "./contract.ts";
import type { EnvGroup } from "./vector-contract.ts";
import { allocateControl, Control } from "./vector-control.ts";
import type { Host, HostOptions } from "./vector-host.ts";
import { allocateGroups, groupViews } from "./vector-memory.ts";
import { COMMANDS, type Command } from "./vector-slice.ts";
import type { WorkerReply, WorkerStart, WorkerTask } from "./vector-worker.ts";

/** How long a caller waits between looks at whether the threads still move. */
const LOOK_MS = 500;

/** How long a thread may take to end by itself. */
const END_MS = 5_000;

/** Every thread holds a share of every group, so that all cores work on the group that the caller waits for. */
export async function threadHost(asked: HostOptions): Promise<Host> {
  const { name, options, groups, envs, threads } = asked;
  const workers = Array.from({ length: threads }, (_, thread) => {
    const first = Math.floor((thread * envs) / threads);
    const count = Math.floor(((thread + 1) * envs) / threads) - first;
    const task: WorkerTask = { name, options, thread, groups, first, count };
    return startWorker(import.meta.url, "./vector-worker", task);
  });
  try {
    const replies = await Promise.all(workers.map(ready));
    return new ThreadHost(workers, replies[0]!, asked);
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.terminate()));
    throw error instanceof LorasaError ? error : lostError((error as Error).message);
  }
}

class ThreadHost implements Host {
  readonly spec: EnvSpec;
  readonly groups: readonly EnvGroup[];
  readonly saved: Float64Array;
  readonly savedSize: number;
  readonly #workers: readonly Worker[];
  readonly #control: Control;
  readonly #stallMs: number;
  readonly #lookMs: number;
  #nanosecondsTaken = 0;
  #lost: string | undefined;

  constructor(workers: readonly Worker[], ready: ReadyReply, { groups, envs, stallMs }: HostOptions) {
    this.spec = ready.spec;
    this.savedSize = ready.savedSize;
    this.#workers = workers;
    this.#stallMs = stallMs;
    this.#lookMs = Math.min(LOOK_MS, stallMs);
    const memory = allocateGroups(ready.spec, groups, envs);
    const saved = new SharedArrayBuffer(8 * groups * envs * ready.savedSize);
    const control = allocateControl(groups, workers.length);
    this.groups = memory.map((group) => groupViews(ready.spec, group));
    this.saved = new Float64Array(saved);
    this.#control = new Control(control, groups);
    const start: WorkerStart = { control, groups: memory, saved };
    for (const [thread, worker] of workers.entries()) {
      worker.on("exit", (code) => this.#lose(thread, `ended with exit code ${code}`));
      worker.on("error", (error) => this.#lose(thread, error.message));
      worker.postMessage(start);
      // Waiting threads do not keep a program alive that forgot to close them.
      worker.unref();
    }
  }

  begin(group: number, command: Command, seed: number): void {
    if (this.#lost !== undefined) throw lostError(this.#lost);
    const control = this.#control;
    const { words } = control;
    words[control.command(group)] = COMMANDS[command];
    words[control.seed] = seed;
    Atomics.store(words, control.remaining(group), this.#workers.length);
    Atomics.add(words, control.issued(group), 1);
    Atomics.add(words, control.wake, 1);
    Atomics.notify(words, control.wake);
  }

  complete(group: number): void {
    const { words } = this.#control;
    const word = this.#control.remaining(group);
    let stillMs = 0;
    let seen = this.#progress();
    for (let left = Atomics.load(words, word); left > 0; left = Atomics.load(words, word)) {
      if (this.#lost !== undefined) throw lostError(this.#lost);
      if (Atomics.wait(words, word, left, this.#lookMs) !== "timed-out") continue;
      const now = this.#progress();
      stillMs = now === seen ? stillMs + this.#lookMs : 0;
      seen = now;
      if (stillMs >= this.#stallMs) this.#lost = `no step was made in ${stillMs / 1000} s`;
    }
    // All are taken, so that none is left for a later command; the first is thrown.
    const failure = this.#workers.map((_, thread) => this.#control.takeFailure(thread)).find(Boolean);
    if (failure !== undefined) throw new LorasaError(failure.code, { asked: failure.message });
  }

  takeNanoseconds(): number {
    const total = this.#control.nanoseconds.reduce((sum, each) => sum + each, 0);
    const taken = total - this.#nanosecondsTaken;
    this.#nanosecondsTaken = total;
    return taken;
  }

  async close(): Promise<void> {
    const { words, stop, wake } = this.#control;
    this.#lost ??= "closed";
    Atomics.store(words, stop, 1);
    Atomics.add(words, wake, 1);
    Atomics.notify(words, wake);
    await Promise.all(this.#workers.map((worker) => ended(worker)));
  }

  /** A sum that stands still only when no thread steps. */
  #progress(): number {
    let sum = 0;
    for (let thread = 0; thread < this.#workers.length; thread++) {
      sum += Atomics.load(this.#control.words, this.#control.progress(thread));
    }
    return sum;
  }

  #lose(thread: number, why: string): void {
    this.#lost ??= `simulating thread ${thread} ${why}`;
  }
}

type ReadyReply = Extract<WorkerReply, { kind: "ready" }>;

/** The thread's first word; its failure or death is thrown. */
async function ready(worker: Worker): Promise<ReadyReply> {
  const aborter = new AbortController();
  const { signal } = aborter;
  const died = once(worker, "exit", { signal }).then(([code]) => {
    throw lostError(`a simulating thread ended with exit code ${code} before it was ready`);
  });
  try {
    const [reply] = (await Promise.race([once(worker, "message", { signal }), died])) as [WorkerReply];
    if (reply.kind === "ready") return reply;
    throw new LorasaError(reply.code, { asked: reply.message });
  } finally {
    died.catch(() => {});
    aborter.abort();
  }
}

/** Waits for a thread to end by itself, then ends it. */
async function ended(worker: Worker): Promise<void> {
  if (worker.threadId < 0) return;
  worker.ref();
  const timer = setTimeout(() => void worker.terminate(), END_MS);
  await once(worker, "exit");
  clearTimeout(timer);
}

function lostError(received: string): LorasaError {
  return new LorasaError("LORASA_SIMULATOR", {
    asked: "simulating threads",
    received,
    mend: "close the environments and make them again, from a checkpoint if there is one",
  });
}
