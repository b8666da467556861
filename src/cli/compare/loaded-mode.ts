/**
 * One mode of one team in a runtime's memory: its sessions, its bank, its buffers, and what a swap means for it.
 *
 * As on the server, backbone and bank stay where the device has its memory; a step takes up what its rows are and
 * brings down their actions and states.
 *
 * Letters: N agents, E rows of each.
 */
import { AdapterBank } from "../../../server/engine/adapter-bank.ts";
import { adapterLayout } from "../../../server/engine/resident-adapter.ts";
import { Random } from "../../base/random.ts";
import { DTYPES, elementCount, type HostTensor } from "../../base/tensor.ts";
import { ADAPTER_DTYPES } from "../../checkpoint/repository.ts";
import type { ResidentTensor, RunTensor, Runtime, Session, TensorInfo } from "../../runtime/session.ts";
import { createSlots, type SlotValues } from "../../runtime/slots.ts";
import type { BankBytes, ModeBytes } from "./mode-bytes.ts";

type Tensors = Readonly<Record<string, HostTensor>>;

/** Inputs and outputs of every session for one number of rows; sessions of the same mode may share them. */
export type StepBuffers = readonly { readonly inputs: Tensors; readonly outputs: Tensors }[];

/** Outputs that a simulator needs: from a device no others are copied. */
const NEEDED: readonly string[] = ["action", "hidden_out"];

export interface LoadOptions {
  /** Inside an operator (default 1). */
  readonly threads?: number;
  /** Of at least as many slots as there are agents, which stays its owner's; default: one of its own. */
  readonly bank?: AdapterBank;
}

/** Owns sessions and its own bank until `dispose`. */
export class LoadedMode {
  readonly #runtime: Runtime;
  readonly #bytes: ModeBytes;
  readonly #threads: number;
  readonly #sessions: Session[] = [];
  readonly #bank: AdapterBank | undefined;
  readonly #ownBank: AdapterBank | undefined;

  /** @throws LORASA_DEVICE when the device cannot hold it or run its graphs. */
  constructor(runtime: Runtime, bytes: ModeBytes, { threads = 1, bank }: LoadOptions = {}) {
    this.#runtime = runtime;
    this.#bytes = bytes;
    this.#threads = threads;
    try {
      for (const graph of bytes.graphs) this.#sessions.push(this.#open(graph));
      this.#ownBank = bytes.bank && !bank ? filledBank(runtime, bytes.agents, bytes.bank) : undefined;
    } catch (error) {
      for (const session of this.#sessions) session.dispose();
      throw error;
    }
    this.#bank = bank ?? this.#ownBank;
  }

  /** Random inputs and empty outputs for `rows` rows of each agent. */
  buffers(rows: number, seed: number): StepBuffers {
    const random = new Random(seed);
    const { agents } = this.#bytes;
    const fixed = this.#fixed;
    const sizes = { envs: rows, batch: this.#isMerged ? rows : agents * rows };
    return this.#sessions.map(({ inputs, outputs }) => ({
      inputs: Object.fromEntries(
        inputs
          .filter(({ name }) => !(name in fixed))
          .map((info) => [info.name, randomInput(info, sizes, agents, random)]),
      ),
      outputs: Object.fromEntries(outputs.map((info) => [info.name, emptyTensor(info, sizes)])),
    }));
  }

  /** Which row n·E + e of the team lies at each place of a session's tensors. */
  teamRows(session: number, rows: number): Int32Array {
    const { agents } = this.#bytes;
    if (this.#isMerged) return Int32Array.from({ length: rows }, (_, env) => session * rows + env);
    const all = Int32Array.from({ length: agents * rows }, (_, row) => row);
    if (!this.#isGathered) return all;
    return scatteredOrder(all.length).map((at) => (at % agents) * rows + Math.floor(at / agents));
  }

  /** One step of the whole team. @param outputs that are fetched; default: all that cost nothing to fetch. */
  bind(buffers: StepBuffers, outputs = this.#runtime.device === "cpu" ? undefined : NEEDED): () => void {
    const runs = this.#sessions.map((session, index) =>
      session.bind(
        { ...buffers[index]!.inputs, ...this.#fixed },
        outputs ? chosen(buffers[index]!.outputs, outputs) : buffers[index]!.outputs,
      ),
    );
    return () => {
      for (const run of runs) run.run();
    };
  }

  /**
   * Replaces the weights of one agent, as often as it is called. A graph with its weights inside is loaded again and
   * the old session closed; a bank takes the new adapter into its slot, as the server's does. Away from the CPU it
   * returns when the device is done: the new session has run, or the bank is read from again.
   */
  swapper(buffers: StepBuffers): () => void {
    const { graphs, bank } = this.#bytes;
    if (this.#bank && bank) return bankSwapper(this.#bank, bank);
    return () => {
      const session = this.#open(graphs[0]!);
      this.#sessions[0]!.dispose();
      this.#sessions[0] = session;
      const { inputs, outputs } = buffers[0]!;
      const run = session.bind(inputs, chosen(outputs, NEEDED));
      if (this.#runtime.device !== "cpu") run.run();
    };
  }

  dispose(): void {
    for (const session of this.#sessions) session.dispose();
    this.#ownBank?.dispose();
  }

  /** A graph of one agent takes its own rows, every other those of all; of a single agent that is the same. */
  get #isMerged(): boolean {
    return this.#sessions.length === this.#bytes.agents;
  }

  /** Whether rows name their slots. */
  get #isGathered(): boolean {
    return this.#sessions[0]!.inputs.some(({ name }) => name === "slot");
  }

  get #fixed(): Readonly<Record<string, RunTensor>> {
    if (!this.#bank) return {};
    return this.#isGathered ? this.#bank.tensors : this.#bank.first(this.#bytes.agents);
  }

  #open(graph: Uint8Array): Session {
    return this.#runtime.createSession(graph, {
      threads: this.#threads,
      shareWeights: this.#bytes.bank !== undefined,
    });
  }
}

/** A bank with agent n's adapter in slot n; slots beyond the agents begin with the first again. */
export function filledBank(
  runtime: Runtime,
  slots: number,
  { values, layers, precision }: BankBytes,
): AdapterBank {
  const { parts, length } = adapterLayout(layers);
  const form = { parts, dtype: ADAPTER_DTYPES[precision] };
  const bank = new AdapterBank(createSlots(runtime, form, slots), { own: [] });
  for (let slot = 0; slot < slots; slot++) {
    const start = (slot * length) % values.length;
    bank.put(slot, residentAdapter(slot, values.subarray(start, start + length)));
  }
  return bank;
}

function bankSwapper(bank: AdapterBank, { values, layers }: BankBytes): () => void {
  const adapter = values.slice(0, adapterLayout(layers).length);
  const smallest = smallestSlot(bank);
  let version = 0;
  return () => {
    version += 1;
    bank.put(0, residentAdapter(version, adapter.slice()));
    smallest?.download();
  };
}

function residentAdapter(version: number, values: SlotValues) {
  return { name: "", version, sha256: "", values, holders: 0 };
}

/** The first slot of the bank's smallest tensor where a device has it: its values come after all that was written before. */
function smallestSlot(bank: AdapterBank): ResidentTensor | undefined {
  const resident = Object.values(bank.tensors).filter((tensor) => "download" in tensor);
  const [smallest] = resident.sort((a, b) => elementCount(a.dims) - elementCount(b.dims));
  return smallest?.first(1);
}

function chosen(tensors: Tensors, names: readonly string[]): Tensors {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => names.includes(name)));
}

/** Values that keep a network in its usual range; indices of all agents in no order; every action available. */
function randomInput(
  info: TensorInfo,
  sizes: Readonly<Record<string, number>>,
  agents: number,
  random: Random,
): HostTensor {
  const tensor = emptyTensor(info, sizes);
  const { data } = tensor;
  if (data instanceof BigInt64Array) {
    // `agent` and `slot` must name the same rows: the order is fixed by the count alone.
    data.set(BigInt64Array.from(scatteredOrder(data.length), (at) => BigInt(at % agents)));
  } else if (info.name === "action_mask") data.fill(1 as never);
  else for (let k = 0; k < data.length; k++) data[k] = random.uniformIn(-1, 1);
  return tensor;
}

/** A permutation that is the same for every tensor of so many rows. */
function scatteredOrder(count: number): Int32Array {
  return Int32Array.from(new Random(count).permutation(count));
}

function emptyTensor({ dtype, shape }: TensorInfo, sizes: Readonly<Record<string, number>>): HostTensor {
  const dims = shape.map((size) => (typeof size === "number" ? size : sizes[size]!));
  return { dtype, dims, data: new DTYPES[dtype].array(elementCount(dims)) };
}
