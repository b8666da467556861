/**
 * The banks of a factored model on its device: one that the team's graph reads, slot n agent n's, and one from which
 * rows pick theirs. Not how slots are filled: see `adapter-bank.ts`.
 *
 * WebGPU keeps tensors between runs, so one bank serves both graphs: its first slots are the team's, and it grows to
 * hold every adapter that is in memory, which is then uploaded once. In the host's memory a put is a short copy: a
 * few slots do. A run on CUDA copies what it is given: it is given what the batch needs.
 */
import { ADAPTER_DTYPES, type ModelManifest } from "../../src/checkpoint/repository.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { createSlots, type SlotForm } from "../../src/runtime/slots.ts";
import { AdapterBank } from "./adapter-bank.ts";
import { adapterLayout } from "./resident-adapter.ts";

/** Adapters that lie ready for the gathering graph; more come in for a batch that needs more. */
const READY_SLOTS = 64;

/** Where banks lie, and how many adapters there may be besides the team's own. */
export interface BankPlace {
  readonly runtime: Runtime;
  readonly residentAdapters: number;
}

export class AdapterBanks {
  /** Slot n holds the adapter of agent n. */
  readonly team: AdapterBank;
  readonly rows: AdapterBank;
  readonly #form: SlotForm;
  readonly #agents: readonly string[];

  /** @throws LORASA_DEVICE when the device's memory has no room. */
  constructor({ adapterLayers, agents, precision }: ModelManifest, place: BankPlace) {
    const { runtime, residentAdapters } = place;
    this.#form = { parts: adapterLayout(adapterLayers).parts, dtype: ADAPTER_DTYPES[precision] };
    this.#agents = agents.map(({ name }) => name);
    const slots = (count: number) => createSlots(runtime, this.#form, count);
    const own = this.#agents;
    if (runtime.device === "webgpu") {
      const limit = own.length + Math.max(residentAdapters, READY_SLOTS);
      this.team = new AdapterBank(slots(own.length + READY_SLOTS), { own, limit });
      this.rows = this.team;
      return;
    }
    const packed = runtime.device === "cuda";
    this.team = new AdapterBank(slots(own.length), { own });
    this.rows = new AdapterBank(slots(Math.max(READY_SLOTS, own.length)), { own: [], packed });
  }

  /** Whether both graphs read the same slots. */
  get areOne(): boolean {
    return this.rows === this.team;
  }

  get bytes(): number {
    return this.team.bytes + (this.areOne ? 0 : this.rows.bytes);
  }

  /** Banks of their own in the host's memory, for a run that others do not wait for. */
  apart(): { readonly team: AdapterBank; readonly rows: AdapterBank } {
    const slots = (count: number) => createSlots(createRuntime(), this.#form, count);
    return {
      team: new AdapterBank(slots(this.#agents.length), { own: this.#agents }),
      rows: new AdapterBank(slots(1), { own: [], packed: true }),
    };
  }

  dispose(): void {
    this.team.dispose();
    if (!this.areOne) this.rows.dispose();
  }
}
