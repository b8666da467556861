/** Where a run begins: the checkpoint that it goes on from, if any, and its folder. */
import { existsSync, mkdirSync } from "node:fs";
import { LorasaError } from "../base/errors.ts";
import { diskError } from "../base/files.ts";
import type { EnvSpec } from "../envs/contract.ts";
import { specDifference } from "../envs/remote/differences.ts";
import { requireSameNetwork, type TrainConfig } from "./config.ts";
import { loadRun, type SavedRun } from "./saved-run.ts";
import { isRemote } from "./training-environments.ts";

export interface StartOptions {
  readonly config: TrainConfig;
  readonly directory: string;
  /** Goes on from the folder's checkpoint instead of refusing a folder that has one. */
  readonly resume?: boolean;
  /** Starts from another run's checkpoint: its networks, normaliser, environments and step count. */
  readonly from?: string;
}

/**
 * The run to go on from, if any and if its networks are those asked for; makes the folder.
 * @throws LORASA_EXISTS for a folder with a checkpoint unless resuming, LORASA_CONFIG for networks or steps that do not go
 * on from it, LORASA_DISK, and what `loadRun` throws.
 */
export function openRun(
  { config, directory, resume, from }: StartOptions,
  checkpoint: string,
): ReturnType<typeof loadRun> | undefined {
  const load = (path: string): ReturnType<typeof loadRun> => {
    const run = loadRun(path);
    requireSameNetwork(config, run.saved.config, run.saved.phase === "adapters", `checkpoint ${path}`);
    return run;
  };
  if (resume) return load(checkpoint);
  if (existsSync(checkpoint)) {
    throw new LorasaError("LORASA_EXISTS", {
      asked: `training into ${directory}`,
      expected: "a folder without a run",
      received: `a checkpoint in ${checkpoint}`,
      mend: "add --resume to go on with it, or choose another --out",
    });
  }
  const loaded = from === undefined ? undefined : load(from);
  const done = loaded?.saved.counters.envSteps ?? 0;
  if (done >= config.steps) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: "steps",
      expected: `more than the ${done} of checkpoint ${from}`,
      received: `${config.steps}`,
      mend: "steps count from the beginning of that run",
    });
  }
  try {
    mkdirSync(directory, { recursive: true });
  } catch (cause) {
    throw diskError(`making ${directory}`, cause);
  }
  return loaded;
}

/**
 * A simulator that connects says what its task is, so all that it says is compared; the name of any other task says it all.
 * @throws LORASA_CONFIG for a checkpoint of another task, or of a simulator with other spaces.
 */
export function requireSameTask({ environment, config }: SavedRun, spec: EnvSpec, path: string): void {
  if (environment.name !== spec.name) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: `checkpoint ${path}`,
      expected: `one of ${spec.name}`,
      received: environment.name,
    });
  }
  const other = isRemote(config) ? specDifference(environment, spec) : undefined;
  if (other === undefined) return;
  throw new LorasaError("LORASA_CONFIG", {
    asked: `${other.field} of the simulators of ${spec.name}`,
    expected: `${other.expected} as in checkpoint ${path}`,
    received: other.received,
    mend: "connect the simulators that it was trained with, or start a new run in another --out",
  });
}
