/** Requests and rows of the last seconds, for a page that a person reads. Prometheus has its own counters. */

const WINDOW_SECONDS = 10;

export class RateMeter {
  readonly #requests = new Float64Array(WINDOW_SECONDS + 1);
  readonly #rows = new Float64Array(WINDOW_SECONDS + 1);
  readonly #nowMs: () => number;
  #second: number;

  /** @param nowMs a clock that never goes back. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#second = Math.floor(nowMs() / 1000);
  }

  count(rows: number): void {
    const at = this.#advance();
    this.#requests[at]! += 1;
    this.#rows[at]! += rows;
  }

  /** Averages over the last ten whole seconds. */
  perSecond(): { readonly requests: number; readonly rows: number } {
    const now = this.#advance();
    const total = (counts: Float64Array): number =>
      counts.reduce((sum, count, at) => (at === now ? sum : sum + count), 0);
    return { requests: total(this.#requests) / WINDOW_SECONDS, rows: total(this.#rows) / WINDOW_SECONDS };
  }

  /** Clears the seconds that passed without a count; the index of this second. */
  #advance(): number {
    const second = Math.floor(this.#nowMs() / 1000);
    const size = this.#requests.length;
    for (let passed = Math.min(size, second - this.#second); passed > 0; passed--) {
      const at = (second - passed + 1) % size;
      this.#requests[at] = 0;
      this.#rows[at] = 0;
    }
    this.#second = Math.max(second, this.#second);
    return this.#second % size;
  }
}
