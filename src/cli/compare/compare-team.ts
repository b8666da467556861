/** Compares the ways to run a team: first that all answer the same, then what each costs. Not how it is shown. */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { resizeTeam } from "../../../models/resize-team.ts";
import type { Team } from "../../../models/team.ts";
import { LorasaError } from "../../base/errors.ts";
import { createRuntime } from "../../runtime/onnxruntime.ts";
import type { Device } from "../../runtime/session.ts";
import { type Advice, advise } from "./advice.ts";
import { MODES, type Mode, type TeamFiles } from "./contract.ts";
import { measureInProcess } from "./measure.ts";
import { type CompareRow, type Round, summarise } from "./summary.ts";
import { hasBank, writeTeamFiles } from "./team-files.ts";
import { verifyModes } from "./verify-modes.ts";

export interface CompareOptions {
  /** Sizes of the team (default its own, 8, 27 and 64). */
  readonly agents?: readonly number[];
  /** Rows that each agent sends a step (default 1, 8 and 64). */
  readonly rows?: readonly number[];
  /** Times that everything is measured, each in fresh processes (default 5). */
  readonly rounds?: number;
  /** Default cpu. */
  readonly device?: Device;
  /** Default all that the team's weights allow. */
  readonly modes?: readonly Mode[];
  /** Smaller defaults: agents up to 27, rows 1 and 16, 3 rounds, shorter ones. */
  readonly quick?: boolean;
  /** One line for each thing that begins. */
  readonly onProgress?: (line: string) => void;
}

export interface CompareResult {
  readonly environment: string;
  /** N of the team that was trained; other sizes are synthetic. */
  readonly teamAgents: number;
  readonly device: Device;
  /** Between any two of the modes and the trained network. */
  readonly maxAbsDiff: number;
  readonly rows: readonly CompareRow[];
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
  readonly device: Device;
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
 * @throws LORASA_VERIFY when two modes disagree; LORASA_FLAG for modes that the team cannot have; LORASA_DEVICE;
 *   LORASA_MEASURE.
 */
export async function compareTeam(team: Team, options: CompareOptions = {}): Promise<CompareResult> {
  const began = performance.now();
  const progress = options.onProgress ?? (() => {});
  const plan = planOf(team, options);
  progress("verifying that every mode gives the same actions");
  const maxAbsDiff = verifyModes(team, availableModes(team), createRuntime(plan.device));
  const folder = mkdtempSync(join(tmpdir(), "lorasa-compare-"));
  try {
    const files = writeFiles(team, plan, folder, progress);
    const rounds = await measureRounds(plan, files, folder, progress);
    const rows = summarise(files, rounds, plan.device);
    return {
      environment: team.environment.name,
      teamAgents: team.agents.length,
      device: plan.device,
      maxAbsDiff,
      rows,
      advice: advise(rows, team.agents.length),
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
  const missing = options.modes?.find((mode) => !available.includes(mode));
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
    device: options.device ?? "cpu",
    modes: MODES.filter((mode) => (options.modes ?? available).includes(mode)),
    warmUpMs: defaults.warmUpMs,
    measureMs: defaults.measureMs,
  };
}

function ascending(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}

function availableModes(team: Team): Mode[] {
  return MODES.filter((mode) => team.sharing.kind === "low-rank" || !hasBank(mode));
}

function writeFiles(
  team: Team,
  plan: Plan,
  folder: string,
  progress: (line: string) => void,
): ReadonlyMap<Mode, TeamFiles[]> {
  const files = new Map<Mode, TeamFiles[]>(plan.modes.map((mode) => [mode, []]));
  for (const agents of plan.agents) {
    progress(`writing the graphs of ${agents} agents`);
    const resized = resizeTeam(team, agents, SEED);
    for (const [mode, own] of files) own.push(writeTeamFiles(resized, mode, folder));
  }
  return files;
}

/** Every mode once a round, in a process of its own, forwards and backwards in turn. */
async function measureRounds(
  plan: Plan,
  files: ReadonlyMap<Mode, TeamFiles[]>,
  folder: string,
  progress: (line: string) => void,
): Promise<Round[]> {
  const rounds: Round[] = [];
  for (let round = 0; round < plan.rounds; round++) {
    const backwards = round % 2 === 1;
    const measured: Round = new Map();
    for (const mode of backwards ? plan.modes.toReversed() : plan.modes) {
      progress(`round ${round + 1} of ${plan.rounds}: ${mode}`);
      const teams = files.get(mode)!;
      const task = { ...plan, mode, teams: backwards ? teams.toReversed() : teams };
      measured.set(mode, await measureInProcess(task, folder));
    }
    rounds.push(measured);
  }
  return rounds;
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
