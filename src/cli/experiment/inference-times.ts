/** How long the trained teams of an experiment take to act, all measured in one process. Kept, since it takes time. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readFile, readJson, sha256, writeFileAtomic } from "../../base/files.ts";
import { median } from "../../base/statistics.ts";
import { MANIFEST_FILE } from "../../checkpoint/checkpoint.ts";
import type { Runtime } from "../../runtime/session.ts";
import { stepMs } from "../../training/device-time.ts";
import { loadRun } from "../../training/saved-run.ts";

/** A group and the checkpoint that stands for it. */
export interface MeasuredGroup {
  readonly name: string;
  readonly checkpoint: string;
}

const kept = z.record(z.string(), z.object({ checkpoint: z.string(), microseconds: z.number() }));

/** Steps that are timed together. */
const STEPS = 200;
const FILE = "inference.json";
/** Every round measures all groups, every other one in the reverse order, so that drift reaches each alike. */
const ROUNDS = 15;

/**
 * Microseconds in which a team answers one observation of every agent, by group: the median over rounds. Groups whose
 * checkpoint is no more keep what was measured of it; if any other is new, all are measured again, so that they compare.
 */
export function inferenceTimes(
  groups: readonly MeasuredGroup[],
  folder: string,
  runtime: Runtime,
): ReadonlyMap<string, number> {
  const path = join(folder, FILE);
  const before = existsSync(path) ? (kept.safeParse(readJson(path, "inference times")).data ?? {}) : {};
  const present = groups.filter(({ checkpoint }) => existsSync(join(checkpoint, MANIFEST_FILE)));
  const identity = new Map(present.map(({ name, checkpoint }) => [name, identityOf(checkpoint)]));
  const isKnown = ({ name }: MeasuredGroup): boolean => before[name]?.checkpoint === identity.get(name);
  if (present.every(isKnown)) return mapOf(before, groups);
  const now = { ...before };
  for (const [name, microseconds] of measureAll(present, runtime))
    now[name] = { checkpoint: identity.get(name)!, microseconds };
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

function mapOf(all: z.infer<typeof kept>, groups: readonly MeasuredGroup[]): Map<string, number> {
  return new Map(groups.flatMap(({ name }) => (all[name] ? [[name, all[name].microseconds] as const] : [])));
}

/** The manifest holds the checksum of every other file. */
function identityOf(checkpoint: string): string {
  return sha256(readFile(join(checkpoint, MANIFEST_FILE), "checkpoint"));
}
