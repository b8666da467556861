/** Latencies of one measurement, in memory that is taken before it begins. Not how they are measured. */

/** More than a minute of replies at any rate that one core can send. */
const CAPACITY = 2 ** 22;

export interface LatencySummary {
  readonly count: number;
  /** Microseconds, as the others. */
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
  readonly maxUs: number;
}

export class Latencies {
  readonly #microseconds = new Float32Array(CAPACITY);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  clear(): void {
    this.#count = 0;
  }

  add(milliseconds: number): void {
    if (this.#count === CAPACITY) throw new RangeError(`more than ${CAPACITY} latencies`);
    this.#microseconds[this.#count++] = milliseconds * 1000;
  }

  /** Nearest-rank percentiles. */
  summary(): LatencySummary {
    const sorted = this.#microseconds.slice(0, this.#count).sort();
    const at = (q: number): number => sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
    return { count: sorted.length, p50Us: at(0.5), p99Us: at(0.99), p999Us: at(0.999), maxUs: at(1) };
  }
}
