/** What carries a vector environment's commands out, and the host that does so in the calling thread. */
import type { Env, EnvOptions, EnvSpec } from "./contract.ts";
import { makeEnv } from "./registry.ts";
import type { EnvGroup } from "./vector-contract.ts";
import { allocateGroups, groupViews } from "./vector-memory.ts";
import { type Command, EnvSlice, savedSize } from "./vector-slice.ts";

/** Carries out commands on groups. `begin` returns at once; `complete` blocks and throws what went wrong. */
export interface Host {
  readonly spec: EnvSpec;
  readonly groups: readonly EnvGroup[];
  /** float64 [environments, savedSize]. */
  readonly saved: Float64Array;
  readonly savedSize: number;
  begin(group: number, command: Command, seed: number): void;
  complete(group: number): void;
  takeNanoseconds(): number;
  close(): Promise<void>;
}

export interface HostOptions {
  readonly name: string;
  readonly options: EnvOptions;
  readonly groups: number;
  /** In each group. */
  readonly envs: number;
  readonly threads: number;
  /** A thread that shows no progress for so long counts as lost. */
  readonly stallMs: number;
}

/** All in the calling thread: `begin` only notes the command, `complete` does it. */
export async function localHost({ name, options, groups, envs }: HostOptions): Promise<Host> {
  const made: Env[] = [];
  for (let i = 0; i < groups * envs; i++) made.push(await makeEnv(name, options));
  const first = made[0]!;
  const size = savedSize(first);
  const saved = new Float64Array(made.length * size);
  const memory = allocateGroups(first.spec, groups, envs).map((group) => groupViews(first.spec, group));
  const slices = memory.map((group) => {
    const own = made.slice(group.firstEnv, group.firstEnv + envs);
    return new EnvSlice({ envs: own, first: 0, group, saved, progress: () => {} });
  });
  const pending = new Map<number, { command: Command; seed: number }>();
  let nanoseconds = 0;
  return {
    spec: first.spec,
    groups: memory,
    saved,
    savedSize: size,
    begin: (group, command, seed) => void pending.set(group, { command, seed }),
    complete(group) {
      const { command, seed } = pending.get(group)!;
      const start = performance.now();
      slices[group]!.perform(command, seed);
      nanoseconds += (performance.now() - start) * 1e6;
    },
    takeNanoseconds() {
      const taken = nanoseconds;
      nanoseconds = 0;
      return taken;
    },
    close: async () => slices.forEach((slice) => void slice.close()),
  };
}
