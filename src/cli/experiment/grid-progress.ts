/** How far a grid is, on standard error: a block of lines kept up to date, or a line now and then in a log. */
import { formatCount, formatDuration } from "../../base/format.ts";
import type { ProgressStream } from "../../training/log/progress.ts";

/** What the progress tells. */
export interface GridState {
  readonly cells: number;
  readonly finished: number;
  readonly failed: number;
  readonly running: readonly RunningCell[];
  /** Environment steps of the runs that are not begun. */
  readonly stepsWaiting: number;
}

export interface RunningCell {
  readonly name: string;
  readonly envSteps: number;
  readonly total: number;
  /** Of training so far; changes when a rollout is done. */
  readonly seconds: number;
  readonly meanReturn: number | null;
}

export interface GridProgressOptions {
  readonly quiet?: boolean;
  readonly stream?: ProgressStream;
  /** Milliseconds that never go back. */
  readonly now?: () => number;
}

const REDRAW_MS = 500;
const PLAIN_MS = 30_000;
/** Span that a run's speed is measured over, in its own seconds of training. */
const RATE_SECONDS = 30;

interface Sample {
  readonly envSteps: number;
  readonly seconds: number;
}

export class GridProgress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #quiet: boolean;
  readonly #samples = new Map<string, Sample[]>();
  #drawnAt = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #last: GridState | null = null;

  constructor(options: GridProgressOptions = {}) {
    this.#stream = options.stream ?? process.stderr;
    this.#now = options.now ?? (() => performance.now());
    this.#quiet = options.quiet ?? false;
  }

  update(state: GridState): void {
    if (this.#quiet) return;
    this.#last = state;
    for (const cell of state.running) this.#sample(cell);
    const wait = this.#stream.isTTY ? REDRAW_MS : PLAIN_MS;
    if (this.#now() - this.#drawnAt >= wait) this.#draw();
  }

  /** A line of its own above the block; nothing when quiet. */
  note(text: string): void {
    if (this.#quiet) return;
    this.#erase();
    this.#stream.write(`${text}\n`);
    if (this.#stream.isTTY && this.#last) this.#draw();
  }

  /** Leaves the last state standing. */
  close(): void {
    if (this.#last === null) return;
    this.#draw();
    this.#last = null;
    this.#lines = 0;
  }

  #sample({ name, envSteps, seconds }: RunningCell): void {
    const samples = this.#samples.get(name) ?? [];
    if (samples.at(-1)?.envSteps !== envSteps) samples.push({ envSteps, seconds });
    while (samples.length > 2 && samples[1]!.seconds <= seconds - RATE_SECONDS) samples.shift();
    this.#samples.set(name, samples);
  }

  #rate({ name }: RunningCell): number | null {
    const samples = this.#samples.get(name) ?? [];
    const [first, last] = [samples[0], samples.at(-1)];
    if (!first || !last || last.seconds <= first.seconds) return null;
    return (last.envSteps - first.envSteps) / (last.seconds - first.seconds);
  }

  #draw(): void {
    const state = this.#last!;
    const rates = state.running.map((cell) => this.#rate(cell));
    const lines = [headLine(state, rates), ...state.running.map((cell, i) => cellLine(cell, rates[i]!))];
    this.#erase();
    const width = (this.#stream.columns ?? 100) - 1;
    // A line that wraps would be two to erase.
    const text = this.#stream.isTTY ? lines.map((line) => line.slice(0, width)) : [lines.join("; ")];
    this.#stream.write(`${text.join("\n")}\n`);
    this.#lines = this.#stream.isTTY ? text.length : 0;
    this.#drawnAt = this.#now();
  }

  #erase(): void {
    if (this.#lines > 0) this.#stream.write(`\x1b[${this.#lines}A\x1b[J`);
    this.#lines = 0;
  }
}

function headLine(state: GridState, rates: readonly (number | null)[]): string {
  const left = secondsLeft(state, rates);
  return [
    `${state.finished}/${state.cells} runs done`,
    `${state.running.length} running`,
    ...(state.failed > 0 ? [`${state.failed} failed`] : []),
    `${left === null ? "-:--:--" : formatDuration(left)} left`,
  ].join(", ");
}

/** As if the runs that wait were as fast, in all, as those that run; null before the speed of each is known. */
export function secondsLeft(state: GridState, rates: readonly (number | null)[]): number | null {
  if (state.running.length === 0) return state.stepsWaiting === 0 ? 0 : null;
  if (rates.some((rate) => rate === null || rate <= 0)) return null;
  const together = rates.reduce((sum: number, rate) => sum + rate!, 0);
  const ends = state.running.map(({ total, envSteps }, i) => (total - envSteps) / rates[i]!);
  const steps = state.running.reduce(
    (sum, { total, envSteps }) => sum + total - envSteps,
    state.stepsWaiting,
  );
  // The last run alone is not faster than it is.
  return Math.max(steps / together, ...ends);
}

function cellLine({ name, envSteps, total, meanReturn }: RunningCell, rate: number | null): string {
  const percent = `${Math.floor((100 * envSteps) / total)}%`.padStart(4);
  const speed = `${rate === null ? "–" : formatCount(rate)}/s`;
  const reached = meanReturn === null ? "–" : meanReturn.toFixed(Math.abs(meanReturn) >= 100 ? 0 : 2);
  return `  ${name} ${percent} of ${formatCount(total)}, ${speed}, return ${reached}`;
}
