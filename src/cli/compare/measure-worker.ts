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
import { LoadedMode, type ModeBytes, type StepBuffers } from "./loaded-mode.ts";
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
  readonly residentBytes: ReadonlyMap<number, number>;
  readonly copies: readonly LoadedMode[];
}

const task = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as MeasureTask;
process.stdout.write(`${JSON.stringify(measure(task))}\n`);

function measure({ device, teams, rows, warmUpMs, measureMs }: MeasureTask): TeamMeasurement[] {
  const runtime = createRuntime(device);
  const loaded = teams.map((files) => loadTeam(runtime, files, rows));
  for (const { copies } of loaded) for (const copy of copies) copy.dispose();
  return loaded.map(({ files, mode, buffers, createMs, residentBytes }) => {
    const steps = rows.map((count) => ({
      rows: count,
      ...timeSteps(mode.bind(buffers.get(count)!), warmUpMs, measureMs),
      residentBytes: residentBytes.get(count)!,
    }));
    const swapMs = timeSteps(mode.swapper(buffers.get(rows[0]!)!), 0, SWAP_BUDGET_MS).p50Us / 1e3;
    mode.dispose();
    return { agents: files.agents, createMs, swapMs, steps };
  });
}

/** Loads a team once, for what is made once in a process, then again and again to see what each takes. */
function loadTeam(runtime: Runtime, files: TeamFiles, rows: readonly number[]): LoadedTeam {
  const bytes = readBytes(files);
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
  const residentBytes = new Map<number, number>();
  for (const [count, each] of buffers) {
    for (const copy of copies) copy.bind(each)();
    residentBytes.set(count, Math.max(0, settledBytes() - before) / copies.length);
  }
  return { files, mode, buffers, createMs: median(createMs), residentBytes, copies };
}

function copiesOf({ graphs, weightBytes }: TeamFiles): number {
  const wanted = Math.max(LEAST_SESSIONS / graphs.length, LEAST_BYTES / weightBytes);
  return Math.min(MOST_COPIES, Math.ceil(wanted));
}

function readBytes({ agents, graphs, bank }: TeamFiles): ModeBytes {
  const files = graphs.map((path) => readFileSync(path));
  if (!bank) return { agents, graphs: files };
  const { buffer } = new Uint8Array(readFileSync(bank.path));
  return { agents, graphs: files, bank: { values: new Float32Array(buffer), layers: bank.layers } };
}

/** Resident bytes of this process without V8's heap. Buffers that one collection found are free after the next. */
function settledBytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { rss, heapTotal } = process.memoryUsage();
  return rss - heapTotal;
}
