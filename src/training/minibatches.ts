/**
 * A rollout in the memory of a device and the minibatches that a training step reads from it, gathered there. What is
 * learnt from them is not known here.
 */
import { LorasaError } from "../base/errors.ts";
import { floatTensor, type HostTensor } from "../base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { BoundRun, ResidentTensor, Runtime, Session, TensorInfo } from "../runtime/session.ts";

/** One input of a step taken from a rollout. */
export interface BatchInput {
  readonly data: Float32Array;
  /** Numbers a row: float32 [heads, L·C, width], a step of all chunks after another. */
  readonly width: number;
  /** L for rows, 1 for states at the start of a chunk. */
  readonly chunkLength: number;
}

/** A rollout as a learner sees it: inputs by name, over C chunks in all. */
export interface LearnerBatch {
  readonly chunks: number;
  readonly inputs: Readonly<Record<string, BatchInput>>;
}

type Residents = Readonly<Record<string, ResidentTensor>>;

/** Gathers rows of every input in one run. */
interface Gathering {
  readonly session: Session;
  /** What steps read: float32 [heads, L·n, width] with n chunks. */
  readonly parts: Residents;
  /** int32 [L·n] for each L: rows of the rollout. */
  readonly rows: ReadonlyMap<number, HostTensor & { readonly data: Int32Array }>;
}

/** Owns what it uploads until `release`, and the memory of a minibatch until `dispose`. */
export class Minibatches {
  readonly #runtime: Runtime;
  readonly #step: readonly TensorInfo[];
  readonly #count: number;
  #gathering: Gathering | undefined;
  #rollout: { readonly chunks: number; readonly inputs: Residents; readonly gather?: BoundRun } | undefined;

  /** @param step the inputs of a step graph, which reads 1/count of a rollout. */
  constructor(runtime: Runtime, step: readonly TensorInfo[], count: number) {
    this.#runtime = runtime;
    this.#step = step;
    this.#count = count;
  }

  /**
   * Uploads a rollout; on the CPU its memory is read where it is.
   * @returns what steps read: the rollout itself, or with several minibatches the one that was selected last.
   * @throws LORASA_SHAPE for an input of another size than the steps'.
   */
  load(batch: LearnerBatch): Residents {
    const used = this.#step.filter(({ name }) => batch.inputs[name]);
    const tensors = used.map((info) => {
      const dims = wholeDims(info, this.#count);
      return [info.name, floatTensor(dims, batch.inputs[info.name]!.data)] as const;
    });
    const inputs = Object.fromEntries(tensors.map(([name, tensor]) => [name, this.#runtime.upload(tensor)]));
    const { chunks } = batch;
    this.#rollout = { chunks, inputs };
    if (this.#count === 1) return inputs;
    this.#gathering ??= this.#startGathering(used, batch);
    this.#rollout = { chunks, inputs, gather: boundTo(this.#gathering, inputs) };
    return this.#gathering.parts;
  }

  /** Gathers a minibatch. @param picked C / count chunks of the rollout. @throws LORASA_RANGE for one outside [0, C). */
  select(picked: Int32Array): void {
    const { chunks, gather } = this.#rollout!;
    const outside = picked.find((chunk) => chunk < 0 || chunk >= chunks);
    // ONNX Runtime takes a negative index from the end, and a device may read beyond the tensor.
    if (outside !== undefined) {
      throw new LorasaError("LORASA_RANGE", {
        asked: "a chunk of a rollout",
        expected: `0 to ${chunks - 1}`,
        received: `${outside}`,
      });
    }
    for (const { data } of this.#gathering!.rows.values()) {
      for (let at = 0; at < data.length; at++) {
        const step = Math.floor(at / picked.length);
        data[at] = step * chunks + picked[at - step * picked.length]!;
      }
    }
    gather!.run();
  }

  /** Frees the rollout. */
  release(): void {
    for (const tensor of Object.values(this.#rollout?.inputs ?? {})) tensor.dispose();
    this.#rollout = undefined;
  }

  dispose(): void {
    this.release();
    this.#gathering?.session.dispose();
    for (const tensor of Object.values(this.#gathering?.parts ?? {})) tensor.dispose();
    this.#gathering = undefined;
  }

  #startGathering(used: readonly TensorInfo[], { chunks, inputs }: LearnerBatch): Gathering {
    const lengths = new Map(used.map(({ name }) => [name, inputs[name]!.chunkLength]));
    const rows = [...new Set(lengths.values())].map((length) => {
      const data = new Int32Array((length * chunks) / this.#count);
      return [length, { dtype: "int32", dims: [data.length], data }] as const;
    });
    const allocate = ({ dtype, shape }: TensorInfo): ResidentTensor =>
      this.#runtime.allocate(dtype, shape as number[]);
    return {
      session: this.#runtime.createSession(gatherGraph(used, lengths, this.#count)),
      parts: Object.fromEntries(used.map((info) => [info.name, allocate(info)])),
      rows: new Map(rows),
    };
  }
}

const rolloutName = (name: string): string => `rollout/${name}`;
const rowsName = (length: number): string => `rows/${length}`;

function boundTo({ session, parts, rows }: Gathering, inputs: Residents): BoundRun {
  const feeds = Object.entries(inputs).map(([name, tensor]) => [rolloutName(name), tensor]);
  const indices = [...rows].map(([length, tensor]) => [rowsName(length), tensor]);
  return session.bind(Object.fromEntries([...feeds, ...indices]), parts);
}

/** Sizes of the whole rollout: those of a step's input, but for `count` times the rows. */
function wholeDims({ shape }: TensorInfo, count: number): number[] {
  // Graphs that train have no named size.
  const [heads, rows, width] = shape as readonly [number, number, number];
  return [heads, rows * count, width];
}

/** For each input `<name>` of a step: `rollout/<name>` with the rows `rows/<L>`. */
function gatherGraph(
  used: readonly TensorInfo[],
  lengths: ReadonlyMap<string, number>,
  count: number,
): Uint8Array {
  const g = new GraphBuilder();
  const sizes = new Map(used.map(({ name, shape }) => [lengths.get(name)!, shape[1]!]));
  const rows = new Map(
    [...sizes].map(([length, size]) => [length, g.input(rowsName(length), "int32", [size])]),
  );
  for (const info of used) {
    const whole = g.input(rolloutName(info.name), "float32", wholeDims(info, count));
    g.output(info.name, g.gather(whole, rows.get(lengths.get(info.name)!)!, 1));
  }
  return encodeModel(finishGraph(g, "minibatch"));
}
