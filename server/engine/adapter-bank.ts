/**
 * The adapters of a factored model: one slot an agent, stacked into the tensors that its graphs take.
 * Not how an adapter is parsed or checked: what comes here fits.
 *
 * A snapshot never changes. A new adapter makes a new snapshot, which becomes visible by one assignment: a run
 * that began with the old one keeps it whole, so no reply mixes two versions of an adapter.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import type { AdapterLayer } from "../../src/checkpoint/repository.ts";

/** What is known of the adapter in a slot. */
export interface AdapterEntry {
  /** Rises by one with each load of this slot, from 1, also across unloads. */
  readonly version: number;
  readonly sha256: string;
  readonly loadedAtMs: number;
}

export interface BankSnapshot {
  /** `<layer>.lora_A.weight [S, in, R]` and `<layer>.lora_B.weight [S, R, out]`; an empty slot holds zeros. */
  readonly tensors: Readonly<Record<string, FloatTensor>>;
  /** By slot; undefined where no adapter is loaded, which no run may use. */
  readonly entries: readonly (AdapterEntry | undefined)[];
}

export class AdapterBank {
  readonly layers: readonly AdapterLayer[];
  #current: BankSnapshot;
  readonly #lastVersions: number[];

  constructor(layers: readonly AdapterLayer[], slots: number) {
    this.layers = layers;
    this.#lastVersions = new Array<number>(slots).fill(0);
    this.#current = {
      tensors: emptyTensors(layers, slots),
      entries: new Array<undefined>(slots).fill(undefined),
    };
  }

  /** The adapters of this moment. */
  get current(): BankSnapshot {
    return this.#current;
  }

  /** Bytes of the resident tensors of all slots. */
  get bytes(): number {
    return Object.values(this.#current.tensors).reduce((sum, { data }) => sum + data.byteLength, 0);
  }

  /** Names of the graph inputs that the bank feeds. */
  get inputNames(): readonly string[] {
    return Object.keys(this.#current.tensors);
  }

  /**
   * Puts an adapter into a slot.
   * @param parameters by graph input, `[in, R]` and `[R, out]`, the scale folded in; sizes and values checked.
   */
  replace(slot: number, parameters: ReadonlyMap<string, FloatTensor>, sha256: string): AdapterEntry {
    const version = this.#lastVersions[slot]! + 1;
    const entry: AdapterEntry = { version, sha256, loadedAtMs: Date.now() };
    const tensors = copyTensors(this.#current.tensors);
    for (const name of this.inputNames) {
      const { data } = parameters.get(name)!;
      tensors[name]!.data.set(data, slot * data.length);
    }
    this.#lastVersions[slot] = version;
    this.#current = { tensors, entries: this.#current.entries.with(slot, entry) };
    return entry;
  }

  /** Empties a slot: requests for its agent fail until another adapter comes. Memory of the old one goes with its last run. */
  unload(slot: number): void {
    this.#current = { ...this.#current, entries: this.#current.entries.with(slot, undefined) };
  }
}

/** The graph's input for a layer's matrix. */
export function adapterInput(layer: AdapterLayer, matrix: "A" | "B"): string {
  return `${layer.name}.lora_${matrix}.weight`;
}

/**
 * The adapter of a slot.
 * @throws LORASA_UNKNOWN_ADAPTER when none is loaded: the backbone alone never answers in its place.
 */
export function loadedEntry(snapshot: BankSnapshot, slot: number, agent: string): AdapterEntry {
  const entry = snapshot.entries[slot];
  if (entry) return entry;
  throw new LorasaError("LORASA_UNKNOWN_ADAPTER", {
    asked: `adapter of ${agent}`,
    expected: "a loaded one",
    received: "none",
    mend: "push one, or leave this agent out",
  });
}

function emptyTensors(layers: readonly AdapterLayer[], slots: number): Record<string, FloatTensor> {
  const tensors: Record<string, FloatTensor> = {};
  for (const layer of layers) {
    tensors[adapterInput(layer, "A")] = floatTensor([slots, layer.in, layer.rank]);
    tensors[adapterInput(layer, "B")] = floatTensor([slots, layer.rank, layer.out]);
  }
  return tensors;
}

function copyTensors(tensors: BankSnapshot["tensors"]): Record<string, FloatTensor> {
  const copies: Record<string, FloatTensor> = {};
  for (const name in tensors) copies[name] = { ...tensors[name]!, data: tensors[name]!.data.slice() };
  return copies;
}
