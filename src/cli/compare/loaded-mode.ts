/** One mode of one team in memory: its sessions, its bank, its buffers, and what a swap means for it. */
import { AdapterBank } from "../../../server/engine/adapter-bank.ts";
import { adapterInput, adapterLayout } from "../../../server/engine/resident-adapter.ts";
import { Random } from "../../base/random.ts";
import { DTYPES, elementCount, type FloatTensor, floatTensor, type HostTensor } from "../../base/tensor.ts";
import type { AdapterLayer } from "../../checkpoint/repository.ts";
import type { Runtime, Session, TensorInfo } from "../../runtime/session.ts";
import { createSlots } from "../../runtime/slots.ts";

type Tensors = Readonly<Record<string, HostTensor>>;

/** What a mode is loaded from; nothing of it is read again from disk. */
export interface ModeBytes {
  readonly agents: number;
  readonly graphs: readonly Uint8Array[];
  readonly bank?: { readonly values: Float32Array; readonly layers: readonly AdapterLayer[] };
}

/** Inputs and outputs of every session for one number of rows; sessions of the same mode may share them. */
export type StepBuffers = readonly { readonly inputs: Tensors; readonly outputs: Tensors }[];

/** Owns sessions until `dispose`. */
export class LoadedMode {
  readonly #runtime: Runtime;
  readonly #bytes: ModeBytes;
  readonly #sessions: Session[];
  readonly #bank: Tensors;

  constructor(runtime: Runtime, bytes: ModeBytes) {
    this.#runtime = runtime;
    this.#bytes = bytes;
    this.#sessions = bytes.graphs.map((graph) => runtime.createSession(graph));
    this.#bank = bytes.bank ? bankTensors(bytes.agents, bytes.bank.values, bytes.bank.layers) : {};
  }

  /** Random inputs and empty outputs for `rows` rows of each agent. */
  buffers(rows: number, seed: number): StepBuffers {
    const random = new Random(seed);
    const { agents } = this.#bytes;
    // A graph of one agent takes its own rows; the one for rows of any agents takes all of them.
    const batch = this.#sessions.length === agents ? rows : agents * rows;
    const sizes = { envs: rows, batch };
    return this.#sessions.map(({ inputs, outputs }) => ({
      inputs: Object.fromEntries(
        inputs
          .filter(({ name }) => !(name in this.#bank))
          .map((info) => [info.name, randomInput(info, sizes, agents, random)]),
      ),
      outputs: Object.fromEntries(outputs.map((info) => [info.name, emptyTensor(info, sizes)])),
    }));
  }

  /** One step of the whole team. */
  bind(buffers: StepBuffers): () => void {
    const runs = this.#sessions.map((session, index) =>
      session.bind({ ...buffers[index]!.inputs, ...this.#bank }, buffers[index]!.outputs),
    );
    return () => {
      for (const run of runs) run.run();
    };
  }

  /**
   * Replaces the weights of one agent, as often as it is called. A graph with its weights inside is loaded again and
   * the old session closed; a bank takes the new adapter into its slot, as the server's does.
   */
  swapper(buffers: StepBuffers): () => void {
    const { bank, graphs, agents } = this.#bytes;
    const { inputs, outputs } = buffers[0]!;
    if (!bank) {
      return () => {
        const session = this.#runtime.createSession(graphs[0]!);
        session.bind(inputs, outputs);
        this.#sessions[0]!.dispose();
        this.#sessions[0] = session;
      };
    }
    const layout = adapterLayout(bank.layers);
    const server = new AdapterBank(createSlots(this.#runtime, layout.parts, agents), { own: [] });
    const values = bank.values.slice(0, layout.length);
    this.#sessions[0]!.bind({ ...inputs, ...server.tensors }, outputs);
    let version = 0;
    return () => {
      version += 1;
      server.put(0, { name: "", version, sha256: "", values: values.slice(), holders: 0 });
    };
  }

  dispose(): void {
    for (const session of this.#sessions) session.dispose();
  }
}

/** Copies, as a server holds them. */
function bankTensors(agents: number, values: Float32Array, layers: readonly AdapterLayer[]): Tensors {
  const tensors: Record<string, FloatTensor> = {};
  let at = 0;
  const take = (dims: readonly number[]): FloatTensor => {
    const count = elementCount(dims);
    at += count;
    return floatTensor(dims, values.slice(at - count, at));
  };
  for (const layer of layers) {
    tensors[adapterInput(layer, "A")] = take([agents, layer.in, layer.rank]);
    tensors[adapterInput(layer, "B")] = take([agents, layer.rank, layer.out]);
  }
  return tensors;
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
    const order = new Random(data.length).permutation(data.length);
    for (let k = 0; k < data.length; k++) data[k] = BigInt(order[k]! % agents);
  } else if (info.name === "action_mask") data.fill(1 as never);
  else for (let k = 0; k < data.length; k++) data[k] = random.uniformIn(-1, 1);
  return tensor;
}

function emptyTensor({ dtype, shape }: TensorInfo, sizes: Readonly<Record<string, number>>): HostTensor {
  const dims = shape.map((size) => (typeof size === "number" ? size : sizes[size]!));
  return { dtype, dims, data: new DTYPES[dtype].array(elementCount(dims)) };
}
