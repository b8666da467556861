/**
 * The words by which threads hand a group over: who waits on which, and where a failure is written. Commands are
 * numbers and failures text, so that a caller who blocks sees them without its event loop.
 */
import type { ErrorCode } from "../base/errors.ts";

/** Bytes of text in which one thread can tell of a failure. */
const FAILURE_BYTES = 4096;

/** Memory that all threads of one vector environment share, besides the groups. */
export interface ControlMemory {
  readonly words: SharedArrayBuffer;
  readonly nanoseconds: SharedArrayBuffer;
  readonly failures: SharedArrayBuffer;
}

export function allocateControl(groups: number, threads: number): ControlMemory {
  return {
    words: new SharedArrayBuffer(4 * (3 + 3 * groups + 2 * threads)),
    nanoseconds: new SharedArrayBuffer(8 * threads),
    failures: new SharedArrayBuffer(FAILURE_BYTES * threads),
  };
}

/** Views on the control memory. Indices of words: `wake` counts commands, `stop` is 1 at the end. */
export class Control {
  readonly words: Int32Array;
  /** float64 [threads]: time spent in commands. */
  readonly nanoseconds: Float64Array;
  readonly wake = 0;
  readonly stop = 1;
  readonly seed = 2;
  readonly #failures: Uint8Array;
  readonly #groups: number;

  constructor(memory: ControlMemory, groups: number) {
    this.words = new Int32Array(memory.words);
    this.nanoseconds = new Float64Array(memory.nanoseconds);
    this.#failures = new Uint8Array(memory.failures);
    this.#groups = groups;
  }

  /** Word that counts the group's commands. */
  issued(group: number): number {
    return 3 + group;
  }

  /** Word that holds the group's command. */
  command(group: number): number {
    return 3 + this.#groups + group;
  }

  /** Word that counts the threads which have yet to finish the group's command. */
  remaining(group: number): number {
    return 3 + 2 * this.#groups + group;
  }

  /** Word that grows while the thread works. */
  progress(thread: number): number {
    return 3 + 3 * this.#groups + 2 * thread;
  }

  /** Word that holds the length of the thread's failure text; 0 is none. */
  failed(thread: number): number {
    return this.progress(thread) + 1;
  }

  writeFailure(thread: number, code: ErrorCode, message: string): void {
    const text = JSON.stringify({ code, message: message.slice(0, FAILURE_BYTES / 8) });
    const place = this.#failures.subarray(thread * FAILURE_BYTES, (thread + 1) * FAILURE_BYTES);
    const { written } = new TextEncoder().encodeInto(text, place);
    Atomics.store(this.words, this.failed(thread), written);
  }

  /** The thread's failure, once: it is cleared by reading. */
  takeFailure(thread: number): { code: ErrorCode; message: string } | undefined {
    const length = Atomics.exchange(this.words, this.failed(thread), 0);
    if (length === 0) return undefined;
    const at = thread * FAILURE_BYTES;
    const text = Buffer.from(this.#failures.slice(at, at + length)).toString("utf8");
    // Written by writeFailure alone.
    return JSON.parse(text) as { code: ErrorCode; message: string };
  }
}
