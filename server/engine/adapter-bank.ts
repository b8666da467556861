/**
 * Which slot of the graphs' tensors an adapter lies in: `[S, in, R]` and `[S, R, out]`, filled just before a run.
 * Not which adapters a model has: see `adapter-registry.ts`; not the memory: see `runtime/slots.ts`.
 *
 * Adapters are immutable and runs take effect in the order of their calls, so a slot may be overwritten at any time
 * between runs: a request keeps its adapters by holding them, wherever they lie. An adapter that is already in its
 * slot costs nothing, and a new version takes the slot of the one before.
 */
import type { Slots } from "../../src/runtime/slots.ts";
import type { FixedInputs } from "./bound-graph.ts";
import type { ResidentAdapter } from "./resident-adapter.ts";

export interface BankOptions {
  /** The adapters that have the first slots for themselves, slot n the n-th; others share the rest. */
  readonly own: readonly string[];
  /** Slots up to which the bank grows before an adapter is taken out of it. Default: those it begins with. */
  readonly limit?: number;
  /** Gives graphs only the slots that a batch fills, where each run copies all that it is given. */
  readonly packed?: boolean;
}

/** Owns the memory that the graphs read. */
export class AdapterBank {
  readonly #slots: Slots;
  readonly #own: number;
  readonly #limit: number;
  readonly #packed: boolean;
  /** What lies in each slot now. */
  #held: (ResidentAdapter | undefined)[];
  /** The slot that an adapter of a name goes into. */
  readonly #home = new Map<string, number>();
  /** The name whose home a slot is. */
  #names: (string | undefined)[];
  /** Number of the batch that a slot was last wanted for: it is not taken away within one. */
  #wanted: Int32Array;
  #batch = 0;
  /** By number of slots. */
  readonly #views = new Map<number, FixedInputs>();

  /** @param slots room for all of `own` at least. */
  constructor(slots: Slots, { own, limit = slots.count, packed = false }: BankOptions) {
    this.#slots = slots;
    this.#own = own.length;
    this.#limit = limit;
    this.#packed = packed;
    this.#held = new Array<undefined>(slots.count).fill(undefined);
    this.#names = this.#held.map((_, slot) => own[slot]);
    this.#wanted = new Int32Array(slots.count);
    for (const [slot, name] of own.entries()) this.#home.set(name, slot);
  }

  /** All slots by graph input. Another object after {@link beginBatch} made the bank larger. */
  get tensors(): FixedInputs {
    return this.#slots.tensors;
  }

  /** The first slots by graph input: the same object until the bank is larger. */
  first(count: number): FixedInputs {
    if (count === this.slots) return this.tensors;
    const view = this.#views.get(count) ?? this.#slots.first(count);
    this.#views.set(count, view);
    return view;
  }

  get slots(): number {
    return this.#slots.count;
  }

  /** Adapters that any batch has room for; 0 where a batch must say exactly how many it has. */
  get spare(): number {
    return this.#packed ? 0 : this.slots - this.#own;
  }

  get bytes(): number {
    return this.#slots.bytes;
  }

  /** Puts an adapter into the slot of that number. */
  put(slot: number, adapter: ResidentAdapter): void {
    if (this.#held[slot] === adapter) return;
    // Before the copy: what fails half-way must not be taken for the adapter.
    this.#held[slot] = undefined;
    this.#slots.put(slot, adapter.values);
    this.#held[slot] = adapter;
  }

  /**
   * Starts a batch that needs at most `distinct` adapters.
   * @returns the inputs that the batch is run with.
   */
  beginBatch(distinct: number): FixedInputs {
    this.#batch += 1;
    if (this.#packed) return this.#beginPacked(distinct);
    // A slot for each name that has one.
    const taken = this.#home.size;
    // Room for the batch in any case, and up to the limit for those that are in the bank as well.
    const batch = this.#own + distinct;
    const needed = Math.max(batch, Math.min(taken + distinct, this.#limit));
    const doubled = batch > this.slots ? 2 * this.slots : Math.min(2 * this.slots, this.#limit);
    if (needed > this.slots) this.#grow(Math.max(needed, doubled));
    return this.tensors;
  }

  /** The slot in which the adapter lies for this batch, put into one that the batch does not need. */
  slotOf(adapter: ResidentAdapter): number {
    const home = this.#home.get(adapter.name);
    const slot = home !== undefined && this.#isFree(home, adapter) ? home : this.#place(adapter);
    this.put(slot, adapter);
    this.#wanted[slot] = this.#batch;
    return slot;
  }

  dispose(): void {
    this.#slots.dispose();
  }

  /** The batch's adapters from slot 0 on. */
  #beginPacked(distinct: number): FixedInputs {
    if (distinct > this.slots) this.#grow(Math.max(distinct, 2 * this.slots));
    this.#home.clear();
    this.#names.fill(undefined);
    return this.first(distinct);
  }

  #isFree(slot: number, adapter: ResidentAdapter): boolean {
    return this.#held[slot] === adapter || this.#wanted[slot] !== this.#batch;
  }

  /** A slot for an adapter without one, or whose own holds another version for this batch. */
  #place(adapter: ResidentAdapter): number {
    const slot = this.#leastWanted();
    if (this.#home.has(adapter.name)) return slot;
    const before = this.#names[slot];
    if (before !== undefined) this.#home.delete(before);
    this.#names[slot] = adapter.name;
    this.#home.set(adapter.name, slot);
    return slot;
  }

  /** Of those behind the own ones: one that is nobody's, else the one that was not wanted for longest. */
  #leastWanted(): number {
    let best = -1;
    for (let slot = this.#own; slot < this.slots; slot++) {
      if (this.#wanted[slot] === this.#batch) continue;
      if (this.#names[slot] === undefined) return slot;
      if (best < 0 || this.#wanted[slot]! < this.#wanted[best]!) best = slot;
    }
    return best;
  }

  #grow(count: number): void {
    this.#slots.grow(count);
    const added = new Array<undefined>(count - this.#held.length).fill(undefined);
    this.#held = [...this.#held, ...added];
    this.#names = [...this.#names, ...added];
    const wanted = new Int32Array(count);
    wanted.set(this.#wanted);
    this.#wanted = wanted;
    this.#views.clear();
  }
}
