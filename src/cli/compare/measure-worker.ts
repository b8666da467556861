/**
 * A process of its own that measures one mode for teams of every size and prints what it found as JSON. Started with
 * `--expose-gc` and the path of its task; not used from other modules.
 *
 * Memory comes first and everything stays loaded for it: freed memory that is used again would hide what a session takes.
 */
import { readFileSync } from "node:fs";
import { median } from "../../base/statistics.ts";
import { createRuntime } from "../../runtime/onnxruntime.ts";
import type { Runtime } from "../../runtime/session.ts";
import type { MeasureTask, TeamFiles, TeamMeasurement } from "./contract.ts";
import { LoadedMode, type StepBuffers } from "./loaded-mode.ts";
import { readTeamFiles } from "./mode-bytes.ts";
import { settledBytes } from "./settled-bytes.ts";
import { timeSteps } from "./step-times.ts";

/** A team is loaded so often that so many sessions, or so many bytes of weights, stand against the noise of the process. */
const LEAST_SESSIONS = 4;
const LEAST_BYTES = 2 * 2 ** 20;
const MOST_COPIES = 4;
const SWAP_BUDGET_MS = 12;
const SEED = 5;

interface LoadedTeam {
  readonly files: TeamFiles;
  readonly mode: LoadedMode;
  /** By rows. */
  readonly buffers: ReadonlyMap<number, StepBuffers>;
  readonly createMs: number;
  /** By rows. */
  readonly hostBytes: ReadonlyMap<number, number>;
  readonly copies: readonly LoadedMode[];
}

const task = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as MeasureTask;
process.stdout.write(`${JSON.stringify(measure(task))}\n`);

function measure(task: MeasureTask): TeamMeasurement[] {
  const { rows, warmUpMs, measureMs } = task;
  const runtime = createRuntime(task.device);
  const loaded = task.teams.map((files) => loadTeam(runtime, files, task));
  for (const { copies } of loaded) for (const copy of copies) copy.dispose();
  return loaded.map(({ files, mode, buffers, createMs, hostBytes }) => {
    const steps = rows.map((count) => ({
      rows: count,
      ...timeSteps(mode.bind(buffers.get(count)!), warmUpMs, measureMs),
      hostBytes: hostBytes.get(count)!,
    }));
    const swapMs = timeSteps(mode.swapper(buffers.get(rows[0]!)!), 0, SWAP_BUDGET_MS).p50Us / 1e3;
    mode.dispose();
    return { agents: files.agents, createMs, swapMs, steps };
  });
}

/** Loads a team once, for what is made once in a process, then again and again to see what each takes. */
function loadTeam(runtime: Runtime, files: TeamFiles, { rows, precision }: MeasureTask): LoadedTeam {
  const bytes = readTeamFiles(files, precision);
  const mode = new LoadedMode(runtime, bytes);
  const buffers = new Map(rows.map((count) => [count, mode.buffers(count, SEED)]));
  for (const each of buffers.values()) mode.bind(each)();
  const before = settledBytes();
  const createMs: number[] = [];
  const copies = Array.from({ length: copiesOf(files) }, () => {
    const began = performance.now();
    const copy = new LoadedMode(runtime, bytes);
    createMs.push(performance.now() - began);
    return copy;
  });
  const hostBytes = new Map<number, number>();
  for (const [count, each] of buffers) {
    for (const copy of copies) copy.bind(each)();
    hostBytes.set(count, Math.max(0, settledBytes() - before) / copies.length);
  }
  return { files, mode, buffers, createMs: median(createMs), hostBytes, copies };
}

function copiesOf({ graphs, bytes: { backbone, bank } }: TeamFiles): number {
  const wanted = Math.max(LEAST_SESSIONS / graphs.length, LEAST_BYTES / (backbone + bank));
  return Math.min(MOST_COPIES, Math.ceil(wanted));
}
