/** Compares the ways to run a team: first that all answer the same, then what each costs. Not how it is shown. */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { resizeTeam } from "../../../models/resize-team.ts";
import { isFactored, type Team } from "../../../models/team.ts";
import { LorasaError } from "../../base/errors.ts";
import type { Precision } from "../../checkpoint/repository.ts";
import type { Device } from "../../runtime/session.ts";
import { type Advice, advise } from "./advice.ts";
import { type CompareCase, MODES, type Mode, type Target } from "./contract.ts";
import { type AdaptersMemory, measureAdapters } from "./many-adapters.ts";
import { measureInProcess } from "./measure.ts";
import { type CompareRow, type Round, summarise } from "./summary.ts";
import { type MissingTarget, type VerifiedTarget, verifyTargets } from "./targets.ts";
import { hasBank, writeTeamFiles } from "./team-files.ts";

export interface CompareOptions {
  /** Sizes of the team (default its own, 8, 27 and 64). */
  readonly agents?: readonly number[];
  /** Rows that each agent sends a step (default 1, 8 and 64). */
  readonly rows?: readonly number[];
  /** Times that everything is measured, each in fresh processes (default 5). */
  readonly rounds?: number;
  /** Default cpu alone. One that cannot be used is left out and named, if another can. */
  readonly devices?: readonly Device[];
  /** Default fp32 alone. */
  readonly precisions?: readonly Precision[];
  /** Default all that the team's weights allow. */
  readonly modes?: readonly Mode[];
  /** Adapters whose memory is measured on one backbone and as merged sessions (default none). */
  readonly adapters?: number;
  /** Smaller defaults: agents up to 27, rows 1 and 16, 3 rounds, shorter ones. */
  readonly quick?: boolean;
  /** One line for each thing that begins. */
  readonly onProgress?: (line: string) => void;
}

export interface CompareResult {
  readonly environment: string;
  /** N of the team that was trained; other sizes are synthetic. */
  readonly teamAgents: number;
  /** What was measured, and how far its actions are from the trained network's. */
  readonly targets: readonly VerifiedTarget[];
  /** What could not be used. */
  readonly missing: readonly MissingTarget[];
  /** Between any two of the modes and the trained network, in fp32 if that was measured. */
  readonly maxAbsDiff: number;
  readonly rows: readonly CompareRow[];
  /** Memory of many adapters by target, if asked for. */
  readonly adapters: readonly AdaptersMemory[];
  readonly advice: Advice;
  readonly rounds: number;
  /** Of the whole comparison. */
  readonly seconds: number;
  readonly machine: Machine;
}

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly platform: string;
  readonly node: string;
}

interface Plan {
  readonly agents: readonly number[];
  readonly rows: readonly number[];
  readonly rounds: number;
  readonly modes: readonly Mode[];
  readonly warmUpMs: number;
  readonly measureMs: number;
}

const FULL = { agents: [8, 27, 64], rows: [1, 8, 64], rounds: 5, warmUpMs: 10, measureMs: 50 };
const QUICK = { agents: [8, 27], rows: [1, 16], rounds: 3, warmUpMs: 5, measureMs: 15 };
/** Of the numbers that synthetic agents are moved by. */
const SEED = 3;

/**
 * Verifies, then measures.
 * @throws LORASA_VERIFY when two modes disagree; LORASA_FLAG for modes or adapters that the team cannot have;
 *   LORASA_DEVICE when no device can be used; LORASA_MEASURE.
 */
export async function compareTeam(team: Team, options: CompareOptions = {}): Promise<CompareResult> {
  const began = performance.now();
  const progress = options.onProgress ?? (() => {});
  const plan = planOf(team, options);
  const { devices = ["cpu"], precisions = ["fp32"] } = options;
  const { targets, missing } = verifyTargets(team, availableModes(team), { devices, precisions }, progress);
  const folder = mkdtempSync(join(tmpdir(), "lorasa-compare-"));
  try {
    const cases = writeCases(team, plan, targets, { folder, progress });
    const rounds = await measureRounds(plan, cases, { folder, progress });
    const rows = summarise(cases, rounds);
    const adapters = await manyAdapters(team, options.adapters, targets, { folder, progress });
    return {
      environment: team.environment.name,
      teamAgents: team.agents.length,
      targets,
      missing,
      maxAbsDiff: largestDifference(targets),
      rows,
      adapters,
      advice: advise(rows, { teamAgents: team.agents.length, targets, adapters }),
      rounds: plan.rounds,
      seconds: (performance.now() - began) / 1e3,
      machine: machineFacts(),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function planOf(team: Team, options: CompareOptions): Plan {
  const defaults = options.quick ? QUICK : FULL;
  const available = availableModes(team);
  const wanted =
    options.adapters === undefined ? options.modes : [...(options.modes ?? []), "factored" as const];
  const missing = wanted?.find((mode) => !available.includes(mode));
  if (missing !== undefined) {
    throw new LorasaError("LORASA_FLAG", {
      asked: `mode ${missing}`,
      expected: "a team with low-rank adapters",
      received: `a team of ${team.sharing.kind} weights`,
      mend: `choose from ${available.join(", ")}`,
    });
  }
  return {
    agents: ascending(options.agents ?? [team.agents.length, ...defaults.agents]),
    rows: ascending(options.rows ?? defaults.rows),
    rounds: options.rounds ?? defaults.rounds,
    modes: MODES.filter((mode) => (options.modes ?? available).includes(mode)),
    warmUpMs: defaults.warmUpMs,
    measureMs: defaults.measureMs,
  };
}

function ascending(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function availableModes(team: Team): Mode[] {
  return MODES.filter((mode) => isFactored(team) || !hasBank(mode));
}

function largestDifference(targets: readonly VerifiedTarget[]): number {
  const exact = targets.filter(({ precision }) => precision === "fp32");
  return Math.max(...(exact.length > 0 ? exact : targets).map(({ maxAbsDiff }) => maxAbsDiff));
}

/** Where files may be written, and who is told of what begins. */
interface Work {
  readonly folder: string;
  readonly progress: (line: string) => void;
}

/** Every mode on every target; devices load the same files. */
function writeCases(
  team: Team,
  { agents, modes }: Plan,
  targets: readonly Target[],
  { folder, progress }: Work,
): CompareCase[] {
  const precisions = [...new Set(targets.map(({ precision }) => precision))];
  const written = precisions.flatMap((precision) =>
    modes.map((mode) => ({ precision, mode, teams: [] as CompareCase["teams"][number][] })),
  );
  for (const count of agents) {
    progress(`writing the graphs of ${count} agents`);
    const resized = resizeTeam(team, count, SEED);
    for (const { mode, precision, teams } of written) {
      teams.push(writeTeamFiles(resized, mode, precision, folder));
    }
  }
  return targets.flatMap(({ device, precision }) =>
    written.filter((files) => files.precision === precision).map((files) => ({ device, ...files })),
  );
}

/** Every case once a round, in a process of its own, forwards and backwards in turn. */
async function measureRounds(
  { rounds: count, rows, warmUpMs, measureMs }: Plan,
  cases: readonly CompareCase[],
  { folder, progress }: Work,
): Promise<Round[]> {
  const rounds: Round[] = [];
  const isMany = new Set(cases.map(targetName)).size > 1;
  for (let round = 0; round < count; round++) {
    const backwards = round % 2 === 1;
    const measured = new Map<CompareCase, Awaited<ReturnType<typeof measureInProcess>>>();
    for (const each of backwards ? cases.toReversed() : cases) {
      progress(`round ${round + 1} of ${count}: ${each.mode}${isMany ? ` on ${targetName(each)}` : ""}`);
      const teams = backwards ? each.teams.toReversed() : each.teams;
      const task = { ...each, teams, rows, warmUpMs, measureMs };
      measured.set(each, await measureInProcess(task, folder));
    }
    rounds.push(measured);
  }
  return rounds;
}

async function manyAdapters(
  team: Team,
  adapters: number | undefined,
  targets: readonly Target[],
  { folder, progress }: Work,
): Promise<AdaptersMemory[]> {
  if (adapters === undefined) return [];
  progress(`loading ${adapters} adapters`);
  return measureAdapters(team, adapters, targets, folder);
}

function targetName({ device, precision }: Target): string {
  return `${device}, ${precision}`;
}

function machineFacts(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
  };
}
