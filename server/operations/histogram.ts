/** A histogram of fixed buckets that costs a few array writes an observation. Not a registry, not a text format. */

/** What was observed up to one moment. */
export interface HistogramState {
  /** Upper bounds, included, and how many observations were at most that; the last bound is Infinity. */
  readonly buckets: readonly { readonly bound: number; readonly count: number }[];
  readonly sum: number;
  readonly count: number;
}

export class Histogram {
  readonly #bounds: Float64Array;
  /** Observations a bucket, the last one beyond every bound; not yet summed over the buckets below. */
  readonly #counts: Float64Array;
  #sum = 0;

  /** @param bounds upper bounds of the buckets, included, rising. */
  constructor(bounds: readonly number[]) {
    this.#bounds = Float64Array.from([...bounds, Infinity]);
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Counts one value; NaN counts beyond every bound and adds nothing to the sum. */
  observe(value: number): void {
    const bounds = this.#bounds;
    const last = bounds.length - 1;
    let at = 0;
    // Most values fall low, and a dozen comparisons are quicker than a search.
    while (at < last && !(value <= bounds[at]!)) at++;
    this.#counts[at]! += 1;
    if (!Number.isNaN(value)) this.#sum += value;
  }

  state(): HistogramState {
    let count = 0;
    const buckets = Array.from(this.#bounds, (bound, at) => {
      count += this.#counts[at]!;
      return { bound, count };
    });
    return { buckets, sum: this.#sum, count };
  }
}
