/** How long the trained teams of an experiment take to act, all measured in one process. Kept, since it takes time. */
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readFile, readJson, sha256, writeFileAtomic } from "../../base/files.ts";
import { median } from "../../base/statistics.ts";
import { MANIFEST_FILE } from "../../checkpoint/checkpoint.ts";
import type { Runtime } from "../../runtime/session.ts";
import { stepMs } from "../../training/device-time.ts";
import { loadRun } from "../../training/saved-run.ts";
import { machineNow } from "./machine.ts";

/** A group and the checkpoint that stands for it. */
export interface MeasuredGroup {
  readonly name: string;
  readonly checkpoint: string;
}

const inferenceTime = z.object({
  /** SHA-256 of the checkpoint's manifest. */
  checkpoint: z.string(),
  microseconds: z.number(),
  /** Left out by what was measured before it was noted, when nobody looked for other work either. */
  machine: z.string().optional(),
  /** Measured beside other work, to be measured again when there is none. */
  busy: z.boolean().optional(),
});

export type InferenceTime = z.infer<typeof inferenceTime>;

const kept = z.record(z.string(), inferenceTime);

/** Steps that are timed together. */
const STEPS = 200;
const FILE = "inference.json";
/** Every round measures all groups, every other one in the reverse order, so that drift reaches each alike. */
const ROUNDS = 15;
/** For so long other processes are watched before and after measuring, */
const WATCH_MS = 250;
/** and more cores than this, of all together, are other work. */
const QUIET_CORES = 0.3;

/**
 * Microseconds in which a team answers one observation of every agent, by group: the median over rounds. Groups whose
 * checkpoint is no more keep what was measured of it; if any other is new, or was measured beside other work or before
 * that was noted, all are measured again, so that they compare.
 */
export function inferenceTimes(
  groups: readonly MeasuredGroup[],
  folder: string,
  runtime: Runtime,
  isBusy: () => boolean = othersWork,
): ReadonlyMap<string, InferenceTime> {
  const path = join(folder, FILE);
  const before = existsSync(path) ? (kept.safeParse(readJson(path, "inference times")).data ?? {}) : {};
  const present = groups.filter(({ checkpoint }) => existsSync(join(checkpoint, MANIFEST_FILE)));
  const identity = new Map(present.map(({ name, checkpoint }) => [name, identityOf(checkpoint)]));
  const isKnown = ({ name }: MeasuredGroup): boolean => {
    const { checkpoint, machine, busy } = before[name] ?? {};
    return checkpoint === identity.get(name) && machine !== undefined && !busy;
  };
  if (present.every(isKnown)) return mapOf(before, groups);
  const wasBusy = isBusy();
  const measured = measureAll(present, runtime);
  const busy = wasBusy || isBusy();
  const now = { ...before };
  for (const [name, microseconds] of measured)
    now[name] = {
      checkpoint: identity.get(name)!,
      microseconds,
      machine: machineNow(),
      ...(busy && { busy }),
    };
  writeFileAtomic(path, `${JSON.stringify(now, null, 2)}\n`);
  return mapOf(now, groups);
}

function measureAll(groups: readonly MeasuredGroup[], runtime: Runtime): Map<string, number> {
  const teams = groups.map(({ name, checkpoint }) => ({
    name,
    team: loadRun(checkpoint).team,
    ms: [] as number[],
  }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { team, ms } of round % 2 === 0 ? teams : teams.toReversed())
      ms.push(stepMs(runtime, team, 1, STEPS));
  }
  return new Map(teams.map(({ name, ms }) => [name, median(ms) * 1000]));
}

function mapOf(all: z.infer<typeof kept>, groups: readonly MeasuredGroup[]): Map<string, InferenceTime> {
  return new Map(groups.flatMap(({ name }) => (all[name] ? [[name, all[name]] as const] : [])));
}

/** Whether other processes take the machine's cores: this one sleeps while it looks. */
function othersWork(): boolean {
  const before = spentMs();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WATCH_MS);
  const after = spentMs();
  const all = after.all - before.all;
  // Where the machine tells nothing, nothing is known of others.
  return all > 0 && (cpus().length * (all - (after.idle - before.idle))) / all > QUIET_CORES;
}

/** Of all cores since the machine started. */
function spentMs(): { all: number; idle: number } {
  const times = cpus().map((core) => core.times);
  const all = times.flatMap((each) => Object.values(each)).reduce((sum, each) => sum + each, 0);
  return { all, idle: times.reduce((sum, each) => sum + each.idle, 0) };
}

/** The manifest holds the checksum of every other file. */
function identityOf(checkpoint: string): string {
  return sha256(readFile(join(checkpoint, MANIFEST_FILE), "checkpoint"));
}
