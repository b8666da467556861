/**
 * Recurrent state that the server keeps for its clients, by sequence id. Not how a request says that it belongs to
 * one: see `sequenceOf`.
 *
 * A sequence's requests are answered one after the other. One that nobody asked for lately is forgotten.
 */
import { LorasaError } from "../../src/base/errors.ts";
import type { ParameterValue } from "../protocol/request.ts";
import type { RowAgents } from "./placement.ts";

/** What a request says of its sequence. */
export interface SequenceCall {
  readonly id: string;
  readonly start: boolean;
  readonly end: boolean;
}

/** A live sequence. */
export interface Sequence {
  /** `hidden_out` of its last request, row-major; absent before the first is answered. */
  hidden: Float32Array | undefined;
  /** Whose rows the state is. */
  agents: RowAgents | undefined;
  /** Settles when the requests so far are answered. */
  tail: Promise<void>;
  waiting: number;
  usedAtMs: number;
}

export interface SequenceLimits {
  readonly count: number;
  /** Of the states of all live sequences. Default 1 GiB. */
  readonly bytes?: number;
  readonly idleMs: number;
}

const ID_LIMIT_CHARACTERS = 256;
const BYTES_LIMIT = 2 ** 30;
const SWEEP_LEAST_MS = 1000;

/**
 * The sequence that a request belongs to, if any: no id, 0 and "" mean none.
 * @throws LORASA_REQUEST for an id or flag of another kind.
 */
export function sequenceOf(parameters: Readonly<Record<string, ParameterValue>>): SequenceCall | undefined {
  const id = parameters["sequence_id"];
  if (id === undefined || id === 0 || id === "" || id === "0") return undefined;
  // Beyond 2^53 JSON has already rounded the number, and two sequences would become one.
  const whole = typeof id === "number" && Number.isSafeInteger(id) && id >= 0;
  if (!whole && (typeof id !== "string" || id.length > ID_LIMIT_CHARACTERS)) {
    throw sequenceError("sequence_id", "a whole number or a string", `${id}`.slice(0, 40));
  }
  // A number and its text are one id: some clients send 64-bit ids as text.
  return { id: `${id}`, start: flag(parameters, "sequence_start"), end: flag(parameters, "sequence_end") };
}

function flag(parameters: Readonly<Record<string, ParameterValue>>, name: string): boolean {
  const value = parameters[name] ?? false;
  if (typeof value === "boolean") return value;
  throw sequenceError(name, "true or false", `${value}`.slice(0, 40));
}

export class SequenceStore {
  readonly #limits: SequenceLimits;
  readonly #live = new Map<string, Sequence>();
  #bytes = 0;
  #sweptAtMs = Number.NEGATIVE_INFINITY;
  readonly #nowMs: () => number;

  /** @param nowMs a clock that never goes back. */
  constructor(limits: SequenceLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#live.size;
  }

  /**
   * The sequence for a request to a served name; a start begins it anew.
   * @throws LORASA_REQUEST for one that was not started or is forgotten, LORASA_UNAVAILABLE when too many are live.
   */
  open(model: string, { id, start }: SequenceCall): Sequence {
    const key = keyOf(model, id);
    const known = this.#live.get(key);
    if (!start) {
      if (!known) throw notStarted(model, id);
      known.usedAtMs = this.#nowMs();
      return known;
    }
    if (!known && this.#live.size >= this.#limits.count) this.#makeRoom(model, id);
    const fresh = {
      hidden: undefined,
      agents: undefined,
      tail: Promise.resolve(),
      waiting: 0,
      usedAtMs: this.#nowMs(),
    };
    this.#drop(key);
    this.#live.set(key, fresh);
    return fresh;
  }

  /**
   * Keeps the state that a sequence's next request goes on from.
   * @throws LORASA_UNAVAILABLE when the states of all are too large; the sequence keeps the one before.
   */
  keep(model: string, { id }: SequenceCall, sequence: Sequence, hidden: Float32Array): void {
    if (this.#live.get(keyOf(model, id)) === sequence) {
      const { bytes = BYTES_LIMIT } = this.#limits;
      const total = this.#bytes + hidden.byteLength - (sequence.hidden?.byteLength ?? 0);
      if (total > bytes) throw tooLarge(model, id, bytes);
      this.#bytes = total;
    }
    sequence.hidden = hidden;
  }

  /** Ends a sequence, unless another was started under its id meanwhile. */
  end(model: string, { id }: SequenceCall, sequence: Sequence): void {
    const key = keyOf(model, id);
    if (this.#live.get(key) === sequence) this.#drop(key);
  }

  /** Forgets every sequence of a model and its agents. */
  forget(model: string): void {
    for (const key of this.#live.keys()) {
      if (key.startsWith(`${model}\n`) || key.startsWith(`${model}.`)) this.#drop(key);
    }
  }

  /** Forgets those that were idle for too long. */
  sweep(): void {
    this.#sweptAtMs = this.#nowMs();
    const oldest = this.#sweptAtMs - this.#limits.idleMs;
    for (const [key, { usedAtMs, waiting }] of this.#live) {
      if (usedAtMs < oldest && waiting === 0) this.#drop(key);
    }
  }

  #drop(key: string): void {
    this.#bytes -= this.#live.get(key)?.hidden?.byteLength ?? 0;
    this.#live.delete(key);
  }

  #makeRoom(model: string, id: string): void {
    // Looking at every sequence for each that is refused would cost more than answering it.
    const leastMs = Math.min(SWEEP_LEAST_MS, this.#limits.idleMs / 4);
    if (this.#nowMs() - this.#sweptAtMs >= leastMs) this.sweep();
    if (this.#live.size < this.#limits.count) return;
    throw new LorasaError("LORASA_UNAVAILABLE", {
      asked: `sequence ${id.slice(0, 80)} of ${model}`,
      expected: `fewer than ${this.#limits.count} live sequences`,
      received: `${this.#live.size}`,
      mend: "end some, or start the server with a larger --sequence-limit",
    });
  }
}

function keyOf(model: string, id: string): string {
  return `${model}\n${id}`;
}

function tooLarge(model: string, id: string, bytes: number): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: `state of sequence ${id.slice(0, 80)} of ${model}`,
    expected: `at most ${bytes} bytes of states`,
    received: "more",
    mend: "end some sequences",
  });
}

function notStarted(model: string, id: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: `sequence ${id.slice(0, 80)} of ${model}`,
    expected: "a live one, or sequence_start with its first request",
    received: "one that was not started, has ended or was idle for too long",
  });
}

function sequenceError(name: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked: `parameters.${name}`, expected, received });
}
