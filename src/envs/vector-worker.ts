/** A simulating thread: makes its environments, then waits for commands in shared memory until it is stopped. */
import { parentPort, workerData } from "node:worker_threads";
import { LorasaError } from "../base/errors.ts";
import type { Env, EnvOptions, EnvSpec } from "./contract.ts";
import { makeEnv } from "./registry.ts";
import { Control, type ControlMemory } from "./vector-control.ts";
import { type GroupMemory, groupViews } from "./vector-memory.ts";
import { COMMANDS, type Command, EnvSlice, savedSize } from "./vector-slice.ts";

/** Given when the thread starts: environments `first` to `first + count` of every group are its own. */
export interface WorkerTask {
  readonly name: string;
  readonly options: EnvOptions;
  readonly thread: number;
  readonly groups: number;
  readonly first: number;
  readonly count: number;
}

/** The thread's answer once its environments stand, or do not. */
export type WorkerReply =
  | { readonly kind: "ready"; readonly spec: EnvSpec; readonly savedSize: number }
  | { readonly kind: "failed"; readonly code: LorasaError["code"]; readonly message: string };

/** Sent back by the caller: the memory to work in. */
export interface WorkerStart {
  readonly control: ControlMemory;
  readonly groups: readonly GroupMemory[];
  readonly saved: SharedArrayBuffer;
}

/**
 * Waking a sleeping thread costs about as much as one environment's step, so a thread looks around for so long before
 * it sleeps: with two threads on two cores 16 environments step 1.2 times as fast.
 */
const SPIN_MS = 0.05;

const COMMAND_OF = new Map(Object.entries(COMMANDS).map(([name, word]) => [word as number, name as Command]));

const port = parentPort;
if (port !== null) {
  const task = workerData as WorkerTask;
  const reply = (message: WorkerReply): void => port.postMessage(message);
  try {
    const envs = await makeEnvs(task);
    const first = envs[0]![0]!;
    port.once("message", (start: WorkerStart) => work(task, envs, start));
    reply({ kind: "ready", spec: first.spec, savedSize: savedSize(first) });
  } catch (cause) {
    const code = cause instanceof LorasaError ? cause.code : "LORASA_SIMULATOR";
    reply({ kind: "failed", code, message: (cause as Error).message });
  }
}

/** For each group, this thread's environments. */
async function makeEnvs({ name, options, groups, count }: WorkerTask): Promise<Env[][]> {
  const all: Env[][] = [];
  for (let group = 0; group < groups; group++) {
    const envs: Env[] = [];
    for (let i = 0; i < count; i++) envs.push(await makeEnv(name, options));
    all.push(envs);
  }
  return all;
}

/** Serves commands until `stop`, then closes the environments. Blocks the thread's event loop. */
function work({ thread, first }: WorkerTask, envs: readonly Env[][], start: WorkerStart): void {
  const control = new Control(start.control, start.groups.length);
  const { words } = control;
  const progressWord = control.progress(thread);
  const progress = (): void => void Atomics.add(words, progressWord, 1);
  const saved = new Float64Array(start.saved);
  const slices = envs.map((own, index) => {
    const group = groupViews(own[0]!.spec, start.groups[index]!);
    return new EnvSlice({ envs: own, first, group, saved, progress });
  });
  const done = new Int32Array(slices.length);
  while (Atomics.load(words, control.stop) === 0) {
    const wake = Atomics.load(words, control.wake);
    let worked = false;
    for (const [group, slice] of slices.entries()) {
      const issued = Atomics.load(words, control.issued(group));
      if (issued === done[group]) continue;
      done[group] = issued;
      worked = true;
      perform(slice, group, control, thread);
    }
    if (!worked) waitForCommand(words, control.wake, wake);
  }
  for (const slice of slices) slice.close();
}

/** Returns when the word at `index` is no longer `value`: looks for a moment, then sleeps. */
function waitForCommand(words: Int32Array, index: number, value: number): void {
  const end = performance.now() + SPIN_MS;
  while (performance.now() < end) if (Atomics.load(words, index) !== value) return;
  Atomics.wait(words, index, value);
}

/** One command of one group; whatever happens, the caller is told that this thread is through with it. */
function perform(slice: EnvSlice, group: number, control: Control, thread: number): void {
  const { words } = control;
  const start = performance.now();
  try {
    slice.perform(COMMAND_OF.get(words[control.command(group)]!)!, words[control.seed]! >>> 0);
  } catch (cause) {
    const { code, message } = cause as LorasaError;
    control.writeFailure(thread, code, message);
  }
  control.nanoseconds[thread]! += (performance.now() - start) * 1e6;
  const remaining = control.remaining(group);
  if (Atomics.sub(words, remaining, 1) === 1) Atomics.notify(words, remaining);
}
