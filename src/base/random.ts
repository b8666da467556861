/** Seeded random numbers whose state can be saved and restored; not for secrets. */

/** The four 32-bit words of a generator, and the spare normal deviate if one is held. */
export interface RandomState {
  readonly words: readonly [number, number, number, number];
  readonly spare: number | null;
}

/**
 * xoshiro128** seeded by splitmix32: the same numbers on every machine.
 * @source Blackman and Vigna, Scrambled linear pseudorandom number generators, 2021.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;
  #spare: number | null = null;

  constructor(seed: number) {
    let state = seed >>> 0;
    const next = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.#a = next();
    this.#b = next();
    this.#c = next();
    this.#d = next();
  }

  static restore(state: RandomState): Random {
    const random = new Random(0);
    [random.#a, random.#b, random.#c, random.#d] = state.words;
    random.#spare = state.spare;
    return random;
  }

  state(): RandomState {
    return { words: [this.#a, this.#b, this.#c, this.#d], spare: this.#spare };
  }

  /** A new, independent generator: its seed is drawn from this one and mixed with `stream`. */
  fork(stream: number): Random {
    return new Random((this.nextUint32() ^ Math.imul(stream + 1, 0x85ebca6b)) >>> 0);
  }

  nextUint32(): number {
    const result = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = rotateLeft(this.#d, 11);
    return result;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.nextUint32() >>> 5) * 67108864 + (this.nextUint32() >>> 6)) / 9007199254740992;
  }

  /** Uniform in [low, high). */
  uniformIn(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Whole number in [0, below), without bias. */
  integer(below: number): number {
    const limit = Math.floor(4294967296 / below) * below;
    let draw = this.nextUint32();
    while (draw >= limit) draw = this.nextUint32();
    return draw % below;
  }

  /** Standard normal deviate by the polar method; each second call costs nothing. */
  normal(): number {
    if (this.#spare !== null) {
      const spare = this.#spare;
      this.#spare = null;
      return spare;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const s = u * u + v * v;
      if (s >= 1 || s === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(s)) / s);
      this.#spare = v * factor;
      return u * factor;
    }
  }

  /** Gumbel(0, 1) deviate: the arg-max of logits plus these is a draw from the categorical. */
  gumbel(): number {
    return -Math.log(-Math.log(this.uniform() || Number.MIN_VALUE));
  }

  /** A uniformly random order of 0 … count−1 (Fisher and Yates). */
  permutation(count: number): Int32Array {
    const order = Int32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const held = order[i]!;
      order[i] = order[j]!;
      order[j] = held;
    }
    return order;
  }
}

function rotateLeft(word: number, bits: number): number {
  return ((word << bits) | (word >>> (32 - bits))) >>> 0;
}
