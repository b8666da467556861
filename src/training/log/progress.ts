/** One line on standard error that says how far long work is; not its result and not its metrics. */
import { formatCount, formatDuration } from "../../base/format.ts";

/** What a progress line says. */
export interface ProgressState {
  /** Such as `shared` or `adapters`. */
  readonly phase: string;
  readonly done: number;
  readonly total: number;
  /** Over the last seconds; null until it is known. */
  readonly perSecond: number | null;
  /** Of recent episodes; null while none has ended. */
  readonly meanReturn: number | null;
  /** Share of recent episodes that were won, for tasks that can be. */
  readonly winRate?: number;
}

/** Where progress is written: `process.stderr`, or a stand-in. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export interface ProgressOptions {
  readonly quiet?: boolean;
  readonly stream?: ProgressStream;
  /** Milliseconds that never go back. */
  readonly now?: () => number;
}

const REDRAW_MS = 100;
const PLAIN_LINE_MS = 10_000;
/** Span that the steps per second are measured over. */
const RATE_WINDOW_MS = 10_000;
const MAX_BAR = 28;
const MIN_BAR = 6;
const ERASE_LINE = "\r\x1b[2K";

/**
 * Keeps one line up to date: in place on a terminal, a new line every ten seconds elsewhere, nothing when quiet.
 * Call `close` at the end, also after an error: the last line stays and the cursor goes below it.
 */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #quiet: boolean;
  readonly #samples: { at: number; done: number }[] = [];
  #last: ProgressState | null = null;
  #drawnAt = Number.NEGATIVE_INFINITY;
  #drawn: ProgressState | null = null;

  constructor(options: ProgressOptions = {}) {
    this.#stream = options.stream ?? process.stderr;
    this.#now = options.now ?? (() => performance.now());
    this.#quiet = options.quiet ?? false;
  }

  /** Takes in where the work is and redraws if it is time; cheap enough for every step. */
  update(at: Omit<ProgressState, "perSecond">): void {
    if (this.#quiet) return;
    const now = this.#now();
    if (at.phase !== this.#last?.phase) this.#startPhase();
    this.#last = { ...at, perSecond: this.#rate(now, at.done) };
    const wait = this.#stream.isTTY ? REDRAW_MS : PLAIN_LINE_MS;
    if (now - this.#drawnAt >= wait) this.#draw();
  }

  /** A line of its own above the progress line, such as a saved checkpoint; nothing when quiet. */
  note(text: string): void {
    if (this.#quiet) return;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${text}\n`);
      return;
    }
    this.#stream.write(`${ERASE_LINE}${text}\n`);
    if (this.#last !== null) this.#draw();
  }

  close(): void {
    if (this.#last === null) return;
    this.#finishLine();
    this.#last = null;
  }

  /** Leaves the finished phase's line standing; its speed says nothing of the next one's. */
  #startPhase(): void {
    if (this.#last !== null) this.#finishLine();
    this.#samples.length = 0;
    this.#drawnAt = Number.NEGATIVE_INFINITY;
  }

  #finishLine(): void {
    if (this.#drawn !== this.#last) this.#draw();
    if (this.#stream.isTTY) this.#stream.write("\n");
  }

  #draw(): void {
    const state = this.#last;
    if (state === null) return;
    const line = this.#stream.isTTY
      ? // One column is left free: a full line would wrap on some terminals.
        `${ERASE_LINE}${formatProgress(state, (this.#stream.columns ?? 80) - 1)}`
      : `${formatPlainProgress(state)}\n`;
    this.#stream.write(line);
    this.#drawn = state;
    this.#drawnAt = this.#now();
  }

  #rate(now: number, done: number): number | null {
    const samples = this.#samples;
    const newest = samples.at(-1);
    if (newest === undefined || now - newest.at >= REDRAW_MS) samples.push({ at: now, done });
    while (samples.length > 2 && samples[1]!.at <= now - RATE_WINDOW_MS) samples.shift();
    const oldest = samples[0]!;
    const elapsedMs = now - oldest.at;
    return elapsedMs < REDRAW_MS ? null : ((done - oldest.done) / elapsedMs) * 1000;
  }
}

/** The line for a terminal of `width` columns: the bar shrinks first, then figures go, the least telling first. */
export function formatProgress(state: ProgressState, width: number): string {
  const [percent, steps, ...figures] = parts(state);
  const kept = [steps!, ...figures];
  const text = (): string => [state.phase, percent, ...kept].join("  ");
  // Dropped in this order: steps per second, steps, return; the time left stays longest.
  for (const part of [figures[0], steps, figures[1], figures[2]]) {
    if (text().length <= width) break;
    if (part !== undefined) kept.splice(kept.indexOf(part), 1);
  }
  const room = Math.min(MAX_BAR, width - text().length - 2);
  if (room < MIN_BAR) return text().slice(0, Math.max(0, width));
  return [state.phase, bar(fraction(state), room), percent, ...kept].join("  ");
}

/** The same without a bar, for logs. */
export function formatPlainProgress(state: ProgressState): string {
  const [percent, ...figures] = parts(state);
  return `${state.phase}${percent}: ${figures.join(", ")}`.replace(/ +/g, " ");
}

/** Percent; steps; steps per second; return; time left. Widths hold still while the numbers move. */
function parts(state: ProgressState): string[] {
  const { done, total, perSecond, meanReturn, winRate } = state;
  const won = winRate === undefined ? "" : `  won ${`${Math.round(winRate * 100)}%`.padStart(4)}`;
  const left = perSecond === null || perSecond <= 0 ? null : (total - done) / perSecond;
  const rate = perSecond === null ? "–" : formatCount(perSecond);
  return [
    `${Math.floor(fraction(state) * 100)}%`.padStart(4),
    `${formatCount(done).padStart(5)}/${formatCount(total)} steps`,
    `${rate.padStart(5)}/s`,
    `return ${(meanReturn === null ? "–" : shortReturn(meanReturn)).padStart(6)}${won}`,
    `${left === null ? "-:--:--" : formatDuration(left)} left`,
  ];
}

/** Four digits at most, and never a flickering unit: returns live between 0.01 and 10,000. */
function shortReturn(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e5) return formatCount(value);
  const text = size.toFixed(size >= 1000 ? 0 : size >= 10 ? 1 : 2);
  return value < 0 ? `−${text}` : text;
}

function fraction({ done, total }: ProgressState): number {
  return total > 0 ? Math.min(1, Math.max(0, done / total)) : 1;
}

/** Eighths of a cell, so that the end moves smoothly. */
function bar(part: number, width: number): string {
  const eighths = Math.floor(part * width * 8);
  const full = "█".repeat(Math.floor(eighths / 8));
  const edge = eighths % 8 === 0 ? "" : "▏▎▍▌▋▊▉".charAt((eighths % 8) - 1);
  return `${full}${edge}`.padEnd(width, "░");
}
