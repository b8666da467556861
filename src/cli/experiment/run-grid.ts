/** Runs a grid: several runs at once, each one whose start is there, until none is left. Not what comes of them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { switchStep } from "../../training/config.ts";
import {
  cellProgress,
  cellState,
  prepareCell,
  recoverCell,
  startedConfig,
  startedFrom,
  writeResult,
} from "./cell-folder.ts";
import { gatherResult } from "./cell-result.ts";
import type { Cell } from "./grid.ts";
import type { GridState } from "./grid-progress.ts";
import { requireNotTraining } from "./lock.ts";
import { coresEach, type Making, makingNow } from "./machine.ts";
import { startTraining, type TrainOutcome, type TrainProcess } from "./train-process.ts";

export interface RunGridOptions {
  /** In the order in which they are begun, as far as they can be. */
  readonly cells: readonly Cell[];
  /** By a run's name, the run whose switch it can start from. */
  readonly starts: ReadonlyMap<string, Cell>;
  readonly folderOf: (cell: string) => string;
  /** Runs at once, each with its share of the cores. */
  readonly jobs: number;
  /** When it fires, the runs are asked to end after a checkpoint, and none is begun. */
  readonly signal: AbortSignal;
  /** When it fires, they are asked again, and end at once. */
  readonly atOnce: AbortSignal;
  readonly onProgress: (state: GridState) => void;
  readonly onNote: (line: string) => void;
}

export interface GridOutcome {
  readonly ran: readonly string[];
  readonly failed: readonly { readonly cell: string; readonly why: string }[];
  /** Not run to their end because of the signal. */
  readonly left: readonly string[];
}

/** How often the runs are looked at. */
const LOOK_MS = 1000;

/**
 * @throws LORASA_EXISTS for a folder with a run of another configuration, LORASA_BUSY for a run that a process of an
 *   earlier command still trains; both before anything is run.
 */
export async function runGrid(options: RunGridOptions): Promise<GridOutcome> {
  const run = new GridRun(options);
  try {
    return await run.loop();
  } finally {
    run.stop();
  }
}

class GridRun {
  readonly #options: RunGridOptions;
  readonly #waiting: Cell[];
  readonly #running = new Map<
    string,
    { cell: Cell; process: TrainProcess; madeWith: Making; ended: Promise<void> }
  >();
  readonly #finished: string[] = [];
  readonly #ran: string[] = [];
  readonly #failed: { cell: string; why: string }[] = [];

  constructor(options: RunGridOptions) {
    this.#options = options;
    const isFinished = (cell: Cell): boolean =>
      cellState(options.folderOf(cell.name), cell).kind === "finished";
    this.#waiting = [];
    for (const cell of options.cells) {
      if (isFinished(cell)) this.#finished.push(cell.name);
      else this.#waiting.push(cell);
    }
    for (const { name } of this.#waiting) requireNotTraining(options.folderOf(name), name);
    // Starts may be runs that are not asked for themselves.
    for (const { name } of options.starts.values()) recoverCell(options.folderOf(name));
  }

  async loop(): Promise<GridOutcome> {
    const { signal, atOnce } = this.#options;
    const onAbort = (): void => this.stop();
    signal.addEventListener("abort", onAbort);
    atOnce.addEventListener("abort", onAbort);
    try {
      while (this.#running.size > 0 || (this.#waiting.length > 0 && !signal.aborted)) {
        if (!signal.aborted) this.#begin();
        this.#options.onProgress(this.#state());
        await this.#look();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      atOnce.removeEventListener("abort", onAbort);
    }
    this.#options.onProgress(this.#state());
    const done = new Set([...this.#finished, ...this.#failed.map(({ cell }) => cell)]);
    const left = this.#options.cells.map(({ name }) => name).filter((name) => !done.has(name));
    return { ran: this.#ran, failed: this.#failed, left };
  }

  /** Asks every run to end after a checkpoint. */
  stop(): void {
    for (const { process } of this.#running.values()) process.stop();
  }

  /** Until a run ends, and no longer than it takes a switch to be seen. */
  async #look(): Promise<void> {
    const timer = new AbortController();
    const pause = sleep(LOOK_MS, undefined, { signal: timer.signal }).catch(() => {});
    await Promise.race([pause, ...[...this.#running.values()].map(({ ended }) => ended)]);
    timer.abort();
  }

  #begin(): void {
    while (this.#running.size < this.#options.jobs) {
      const next = this.#waiting.findIndex((cell) => this.#startOf(cell) !== "later");
      if (next < 0) return;
      const [cell] = this.#waiting.splice(next, 1) as [Cell];
      this.#start(cell);
    }
  }

  /** The run to start from; none; or `later` while that run still has to come to its switch. */
  #startOf(cell: Cell): Cell | "none" | "later" {
    const { starts, folderOf } = this.#options;
    const from = starts.get(cell.name);
    const folder = folderOf(cell.name);
    if (from === undefined || existsSync(join(folder, "checkpoint"))) return "none";
    const hasSwitch = existsSync(join(folderOf(from.name), "switch"));
    if (hasSwitch && isDeepStrictEqual(startedConfig(folderOf(from.name)), from.config)) return from;
    const comes = this.#running.has(from.name) || this.#waiting.includes(from);
    return comes ? "later" : "none";
  }

  #start(cell: Cell): void {
    try {
      const madeWith = makingNow(this.#options.jobs);
      const { process, how } = this.#begun(cell);
      this.#options.onNote(`${cell.name}: ${how}`);
      const ended = process.ended.then((outcome) => this.#end(cell, outcome));
      this.#running.set(cell.name, { cell, process, madeWith, ended });
    } catch (error) {
      this.#fail(cell, (error as Error).message);
    }
  }

  #begun(cell: Cell): { process: TrainProcess; how: string } {
    const { folderOf, jobs } = this.#options;
    const [folder, cores] = [folderOf(cell.name), coresEach(jobs)];
    if (cellState(folder, cell).kind === "stopped")
      return { process: startTraining({ folder, cores, resume: true }), how: "goes on" };
    const start = this.#startOf(cell);
    if (typeof start === "string") {
      prepareCell(folder, cell, null);
      return { process: startTraining({ folder, cores }), how: "starts" };
    }
    prepareCell(folder, cell, start.name);
    const from = join(folderOf(start.name), "switch");
    return {
      process: startTraining({ folder, cores, from }),
      how: `starts from the switch of ${start.name}`,
    };
  }

  #end(cell: Cell, outcome: TrainOutcome): void {
    const { onNote } = this.#options;
    const { madeWith } = this.#running.get(cell.name)!;
    this.#running.delete(cell.name);
    try {
      if (outcome.kind === "finished") this.#keep(cell, outcome.answer, madeWith);
      else if (outcome.kind === "failed") this.#fail(cell, outcome.why);
      else if (this.#options.signal.aborted) onNote(`${cell.name}: stopped`);
      else this.#fail(cell, "was interrupted");
    } catch (error) {
      this.#fail(cell, (error as Error).message);
    }
  }

  #keep(cell: Cell, answer: unknown, madeWith: Making): void {
    const { folderOf, onNote } = this.#options;
    const folder = folderOf(cell.name);
    const result = gatherResult(cell, answer, {
      folders: this.#history(cell.name),
      from: startedFrom(folder),
      madeWith,
    });
    writeResult(folder, result);
    this.#finished.push(cell.name);
    this.#ran.push(cell.name);
    onNote(`${cell.name}: finished, return ${result.return.mean?.toFixed(1) ?? "–"}`);
  }

  #fail(cell: Cell, why: string): void {
    this.#failed.push({ cell: cell.name, why });
    this.#options.onNote(`${cell.name}: failed: ${why}`);
  }

  /** Folders of the runs that a run went on from, one after another, and its own last. */
  #history(cell: string): string[] {
    const names = [cell];
    for (let from = startedFrom(this.#options.folderOf(cell)); from !== null; ) {
      names.unshift(from);
      from = startedFrom(this.#options.folderOf(from));
    }
    return names.map((name) => this.#options.folderOf(name));
  }

  #state(): GridState {
    const { cells, folderOf, starts } = this.#options;
    const steps = (cell: Cell): number => cellProgress(folderOf(cell.name))?.envSteps ?? 0;
    const running = [...this.#running.values()].map(({ cell }) => ({
      name: cell.name,
      total: cell.config.steps,
      ...(cellProgress(folderOf(cell.name)) ?? { envSteps: 0, seconds: 0, meanReturn: null }),
    }));
    return {
      cells: cells.length,
      finished: this.#finished.length,
      failed: this.#failed.length,
      running,
      stepsWaiting: this.#waiting.reduce((sum, cell) => sum + stepsLeft(cell, steps(cell), starts), 0),
    };
  }
}

/** Of a run that waits: a shared start is not run again. */
function stepsLeft({ name, config }: Cell, done: number, starts: ReadonlyMap<string, Cell>): number {
  const from = starts.get(name);
  const begun = Math.max(done, from === undefined ? 0 : switchStep(from.config));
  return Math.max(0, config.steps - begun);
}
