/** Several environments of one task, stepped at once in groups; where they live is `vector-host.ts` and `vector-threads.ts`. */
import { coresOfProcess } from "../base/cores.ts";
import { LorasaError } from "../base/errors.ts";
import type { EnvOptions, EnvSpec } from "./contract.ts";
import { envSpec } from "./registry.ts";
import type { EnvGroup, VectorEnv } from "./vector-contract.ts";
import { type Host, localHost } from "./vector-host.ts";
import type { Command } from "./vector-slice.ts";
import { threadHost } from "./vector-threads.ts";

/** How long a thread may show no progress before it counts as lost. */
const STALL_MS = 30_000;

export interface VectorEnvOptions {
  /** Of the task, as `makeEnv` takes it. */
  readonly name: string;
  readonly options?: EnvOptions;
  /** Environments over all groups: a multiple of `groups`. */
  readonly envs: number;
  /** 2 unless given: one simulates while the caller infers for the other. */
  readonly groups?: number;
  /** Simulating threads, at most the environments of a group; 0 simulates in the calling thread. Default: one a core. */
  readonly threads?: number;
  /** Milliseconds without a step after which a thread counts as lost; 30,000 unless given. */
  readonly stallMs?: number;
}

/**
 * Makes the environments and starts their threads. The same seed gives the same trajectories whatever the number
 * of groups and threads.
 * @throws LORASA_CONFIG for sizes that do not fit, and whatever `makeEnv` throws.
 */
export async function createVectorEnv(asked: VectorEnvOptions): Promise<VectorEnv> {
  const { name, options = {}, envs, groups = 2, stallMs = STALL_MS } = asked;
  whole("groups", groups, 1);
  whole("envs", envs, 1);
  if (envs % groups !== 0) throw wrong("envs", `a multiple of ${groups} groups`, envs);
  const perGroup = envs / groups;
  const threads = Math.min(asked.threads ?? coresOfProcess(), perGroup);
  whole("threads", threads, 0);
  // Refuses an unknown task before threads are started for it.
  envSpec(name, options);
  const parts = { name, options, groups, envs: perGroup, threads, stallMs };
  return new HostedVectorEnv(await (threads === 0 ? localHost(parts) : threadHost(parts)), envs);
}

class HostedVectorEnv implements VectorEnv {
  readonly spec: EnvSpec;
  readonly envs: number;
  readonly groups: readonly EnvGroup[];
  readonly #host: Host;
  readonly #underWay: boolean[];
  /** After a failure the environments stand at different moments: only reset or restore mends that. */
  #failed = false;
  #closing: Promise<void> | undefined;

  constructor(host: Host, envs: number) {
    this.spec = host.spec;
    this.envs = envs;
    this.groups = host.groups;
    this.#host = host;
    this.#underWay = host.groups.map(() => false);
  }

  reset(seed: number): void {
    this.#all("reset", seed);
    this.#failed = false;
  }

  startStep(group: number): void {
    this.#expect(group, false, "startStep");
    this.#expectSound("startStep");
    this.#host.begin(group, "step", 0);
    this.#underWay[group] = true;
  }

  finishStep(group: number): void {
    this.#expect(group, true, "finishStep");
    this.#underWay[group] = false;
    this.#complete(group);
  }

  takeSimulationNanoseconds(): number {
    this.#refuseClosed("takeSimulationNanoseconds");
    return this.#host.takeNanoseconds();
  }

  save(): Float64Array[] {
    this.#expectSound("save");
    this.#all("save", 0);
    const { saved, savedSize } = this.#host;
    return Array.from({ length: this.envs }, (_, e) => saved.slice(e * savedSize, (e + 1) * savedSize));
  }

  restore(states: readonly Float64Array[]): void {
    this.#refuseClosed("restore");
    const { saved, savedSize } = this.#host;
    if (states.length !== this.envs || states.some((state) => state.length !== savedSize)) {
      throw new LorasaError("LORASA_SHAPE", {
        asked: `saved environments of ${this.spec.name}`,
        expected: `${this.envs} of ${savedSize} numbers`,
        received: `${states.length} of ${[...new Set(states.map(({ length }) => length))].join(" or ")} numbers`,
        mend: "resume with the task and the number of environments that they were saved from",
      });
    }
    for (const [e, state] of states.entries()) saved.set(state, e * savedSize);
    this.#all("restore", 0);
    this.#failed = false;
  }

  close(): Promise<void> {
    this.#closing ??= this.#host.close();
    return this.#closing;
  }

  /** One command for every group at once; all are waited for, then the first failure is thrown. */
  #all(command: Command, seed: number): void {
    if (this.#failed) this.#drain();
    for (const group of this.groups.keys()) this.#expect(group, false, command);
    for (const group of this.groups.keys()) this.#host.begin(group, command, seed);
    const failures: unknown[] = [];
    for (const group of this.groups.keys()) {
      try {
        this.#complete(group);
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }

  /** After a failure of one group: lets the others' steps end, whatever becomes of them. */
  #drain(): void {
    for (const group of this.groups.keys()) {
      if (!this.#underWay[group]) continue;
      this.#underWay[group] = false;
      try {
        this.#complete(group);
      } catch {
        // The failure that led here has been thrown already.
      }
    }
  }

  #complete(group: number): void {
    try {
      this.#host.complete(group);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #expect(group: number, underWay: boolean, asked: string): void {
    this.#refuseClosed(asked);
    if (this.#underWay[group] === underWay) return;
    throw misuse(asked, underWay ? "startStep before" : "finishStep before", `group ${group}`);
  }

  #expectSound(asked: string): void {
    if (this.#failed) throw misuse(asked, "reset or restore after a failure", asked);
  }

  #refuseClosed(asked: string): void {
    if (this.#closing === undefined) return;
    throw new LorasaError("LORASA_DISPOSED", { asked: `${asked} of ${this.spec.name}`, received: "closed" });
  }
}

function misuse(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_SIMULATOR", { asked, expected, received });
}

function whole(name: string, value: number, low: number): void {
  if (!Number.isInteger(value) || value < low) throw wrong(name, `a whole number from ${low}`, value);
}

function wrong(name: string, expected: string, value: number): LorasaError {
  return new LorasaError("LORASA_CONFIG", { asked: name, expected, received: String(value) });
}
