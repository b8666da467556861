/** `metrics.jsonl`: one JSON object an update, appended as training goes; not for pictures of them. */
import { closeSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { LorasaError } from "../../base/errors.ts";
import { diskError } from "../../base/files.ts";

/** The figures of one update. On file they are one flat object, in this order. */
export interface MetricsRow {
  /** Environment steps taken so far, over all environments; never falls from row to row. */
  readonly envSteps: number;
  /** Seconds of training so far. */
  readonly seconds: number;
  /** Such as `shared` or `adapters`. */
  readonly phase: string;
  /** Named figures; one that is not finite is `null` on file and NaN when read. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** Owns the open file; each append is one write, so that a reader finds whole lines but for a torn last one. */
export class MetricsFile {
  readonly #path: string;
  #file: number | null;

  /**
   * Starts an empty file, or, given `resumeAt`, keeps the rows of at most that many environment steps, so that
   * the file goes on as that of a run which was never interrupted.
   * @throws LORASA_FILE when a kept row is not one, LORASA_DISK when the file cannot be written.
   */
  constructor(path: string, options: { readonly resumeAt?: number } = {}) {
    this.#path = path;
    if (options.resumeAt === undefined) {
      this.#file = attempt(path, () => openSync(path, "w"));
      return;
    }
    const kept = keptBytes(path, options.resumeAt);
    this.#file = attempt(path, () => {
      const file = openSync(path, "a");
      truncateSync(path, kept);
      return file;
    });
  }

  /** @throws LORASA_DISK when writing fails, LORASA_DISPOSED after `close`. */
  append(row: MetricsRow): void {
    const { envSteps, seconds, phase, metrics } = row;
    const file = this.#open();
    const line = `${JSON.stringify({ envSteps, seconds, phase, ...metrics })}\n`;
    attempt(this.#path, () => writeSync(file, line));
  }

  /** Reaches the disk before it returns: before a checkpoint that resumes from here. */
  flush(): void {
    const file = this.#open();
    attempt(this.#path, () => fsyncSync(file));
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }

  #open(): number {
    if (this.#file === null) {
      throw new LorasaError("LORASA_DISPOSED", { asked: `writing ${this.#path}`, received: "a closed file" });
    }
    return this.#file;
  }
}

/**
 * Every row of a file, a torn last line left out.
 * @throws LORASA_FILE when it cannot be read or another line is not a row.
 */
export function readMetrics(path: string): MetricsRow[] {
  return wholeLines(path).map(({ text, number }) => parseRow(path, text, number));
}

/** Length in bytes of the rows with at most `envSteps`; 0 for a file that does not exist. */
function keptBytes(path: string, envSteps: number): number {
  let bytes = 0;
  for (const { text, number } of wholeLines(path, true)) {
    if (parseRow(path, text, number).envSteps > envSteps) break;
    bytes += Buffer.byteLength(text) + 1;
  }
  return bytes;
}

/** Lines that end in a newline: what follows the last one is torn. Numbered from 1. */
function wholeLines(path: string, mayLack = false): { text: string; number: number }[] {
  let contents: string;
  try {
    contents = readFileSync(path, "utf8");
  } catch (cause) {
    if (mayLack && (cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new LorasaError("LORASA_FILE", {
      asked: `metrics ${path}`,
      expected: "a readable file",
      received: (cause as Error).message,
      cause,
    });
  }
  return contents
    .split("\n")
    .slice(0, -1)
    .map((text, index) => ({ text, number: index + 1 }));
}

function parseRow(path: string, text: string, number: number): MetricsRow {
  const fields = parseObject(text);
  if (fields !== null) {
    const { envSteps, seconds, phase, ...named } = fields;
    const entries = Object.entries(named).map(([name, value]) => [name, value ?? Number.NaN] as const);
    const numbers = entries.every(
      (entry): entry is readonly [string, number] => typeof entry[1] === "number",
    );
    if (typeof envSteps === "number" && typeof seconds === "number" && typeof phase === "string" && numbers) {
      return { envSteps, seconds, phase, metrics: Object.fromEntries(entries as [string, number][]) };
    }
  }
  throw new LorasaError("LORASA_FILE", {
    asked: `line ${number} of ${path}`,
    expected: "an object with envSteps, seconds, phase and named numbers",
    received: text.length > 60 ? `${text.slice(0, 60)}…` : text,
    mend: "remove the line",
  });
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function attempt<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw diskError(`writing ${path}`, cause);
  }
}
