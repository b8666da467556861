/** Lets few lines of a kind through and counts the rest, so that a flood of bad requests cannot fill a disk. */

const WINDOW_MS = 10_000;
/** Lines of one kind in a window. */
const BURST = 10;
/** Most kinds that are told apart; those beyond share one. */
const KIND_LIMIT = 100;

export class LogThrottle {
  readonly #passed = new Map<string, number>();
  readonly #tell: (kind: string, leftOut: number) => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param tell is told at the end of a window how many lines of a kind were left out in it. */
  constructor(tell: (kind: string, leftOut: number) => void) {
    this.#tell = tell;
  }

  /** Whether another line of that kind may be written. */
  admits(kind: string): boolean {
    const known = this.#passed.has(kind) || this.#passed.size < KIND_LIMIT ? kind : "others";
    const count = (this.#passed.get(known) ?? 0) + 1;
    this.#passed.set(known, count);
    this.#timer ??= setTimeout(() => this.endWindow(), WINDOW_MS).unref();
    return count <= BURST;
  }

  /** Tells what was left out until now, and begins anew. */
  endWindow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [kind, count] of this.#passed) if (count > BURST) this.#tell(kind, count - BURST);
    this.#passed.clear();
  }
}
