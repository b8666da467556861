/** The last few frames of observations or states side by side, oldest first; zeros before an episode's start. */

export class FrameStack {
  /** float32 [rows, frames, width]: what was seen of late. */
  readonly seen: Float32Array;
  /** float32 [rows, width]: where the next frame is written. */
  readonly frame: Float32Array;
  readonly #rows: number;
  readonly #width: number;
  readonly #frames: number;

  constructor(rows: number, width: number, frames: number) {
    this.seen = new Float32Array(rows * width * frames);
    this.frame = new Float32Array(rows * width);
    this.#rows = rows;
    this.#width = width;
    this.#frames = frames;
  }

  /** Takes up the frame that was written and drops the oldest. */
  push(): void {
    const width = this.#width;
    const stacked = width * this.#frames;
    for (let row = 0; row < this.#rows; row++) {
      const start = row * stacked;
      this.seen.copyWithin(start, start + width, start + stacked);
      // Number by number: a subarray would be allocated each time.
      const last = start + stacked - width;
      for (let i = 0; i < width; i++) this.seen[last + i] = this.frame[row * width + i]!;
    }
  }
}
