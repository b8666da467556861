/**
 * The tensors through which graphs see adapters: slots `[S, in, R]` and `[S, R, out]`, filled just before a run.
 * Not which adapters a model has: see `adapter-registry.ts`.
 *
 * Adapters are immutable and a run is synchronous, so a slot may be overwritten at any time between runs: a
 * request keeps its adapters by holding them, wherever they lie. An adapter that is already in its slot costs
 * nothing.
 */
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import type { AdapterLayout, ResidentAdapter } from "./resident-adapter.ts";

type BankTensors = Readonly<Record<string, FloatTensor>>;

/** Owns the memory that the graphs read. */
export class AdapterBank {
  readonly #layout: AdapterLayout;
  #tensors: BankTensors;
  #held: (ResidentAdapter | undefined)[];
  /** Slot of each adapter that {@link slotOf} placed. */
  readonly #slots = new Map<ResidentAdapter, number>();
  #next = 0;
  /** Number of the batch that a slot was last wanted for: it is not taken away within one. */
  #wanted: Int32Array;
  #batch = 0;

  constructor(layout: AdapterLayout, slots: number) {
    this.#layout = layout;
    this.#tensors = emptyTensors(layout, slots);
    this.#held = new Array<undefined>(slots).fill(undefined);
    this.#wanted = new Int32Array(slots);
  }

  /** By graph input. Another object after {@link beginBatch} made the bank larger. */
  get tensors(): BankTensors {
    return this.#tensors;
  }

  get slots(): number {
    return this.#held.length;
  }

  get bytes(): number {
    return this.slots * this.#layout.length * Float32Array.BYTES_PER_ELEMENT;
  }

  /** Puts an adapter into the slot of that number. */
  put(slot: number, adapter: ResidentAdapter): void {
    if (this.#held[slot] === adapter) return;
    this.#held[slot] = adapter;
    for (const { input, offset, length } of this.#layout.parts) {
      this.#tensors[input]!.data.set(adapter.values.subarray(offset, offset + length), slot * length);
    }
  }

  /** Starts a batch that needs at most `distinct` adapters. */
  beginBatch(distinct: number): void {
    if (distinct > this.slots) this.#grow(distinct);
    this.#batch += 1;
  }

  /** The slot in which the adapter lies for this batch, put into one that the batch does not need. */
  slotOf(adapter: ResidentAdapter): number {
    const slot = this.#slots.get(adapter) ?? this.#place(adapter);
    this.#wanted[slot] = this.#batch;
    return slot;
  }

  #place(adapter: ResidentAdapter): number {
    while (this.#wanted[this.#next] === this.#batch) this.#next = (this.#next + 1) % this.slots;
    const slot = this.#next;
    this.#next = (slot + 1) % this.slots;
    const old = this.#held[slot];
    if (old) this.#slots.delete(old);
    this.put(slot, adapter);
    this.#slots.set(adapter, slot);
    return slot;
  }

  #grow(distinct: number): void {
    const slots = Math.max(distinct, 2 * this.slots);
    this.#tensors = emptyTensors(this.#layout, slots);
    this.#held = new Array<undefined>(slots).fill(undefined);
    this.#wanted = new Int32Array(slots);
    this.#slots.clear();
    this.#next = 0;
  }
}

function emptyTensors({ parts }: AdapterLayout, slots: number): BankTensors {
  return Object.fromEntries(parts.map(({ input, dims }) => [input, floatTensor([slots, ...dims])]));
}
