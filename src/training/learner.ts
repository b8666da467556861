/**
 * Trains one set of flat parameters with a step graph: holds parameters and Adam's moments, feeds minibatches, reads
 * metrics. It knows no actor and no critic: the graph says what is fed.
 */

import { Random, type RandomState } from "../base/random.ts";
import type { FloatTensor } from "../base/tensor.ts";
import { floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { adamScalars } from "../optim/adam.ts";
import type { BoundRun, Runtime, Session } from "../runtime/session.ts";
import { gatherChunks } from "./rollout-buffer.ts";
import { zeroTensors } from "./session-tensors.ts";

/** One input of the graph taken from a rollout. */
export interface BatchInput {
  readonly data: Float32Array;
  /** Numbers a row: float32 [heads, L, C, width]. */
  readonly width: number;
  /** L for rows, 1 for states at the start of a chunk. */
  readonly chunkLength: number;
}

/** A rollout as a learner sees it: inputs by name, over C chunks in all. */
export interface LearnerBatch {
  readonly chunks: number;
  readonly inputs: Readonly<Record<string, BatchInput>>;
}

export interface LearnerOptions {
  readonly runtime: Runtime;
  /** Built for C / minibatches chunks. */
  readonly model: OnnxModel;
  readonly dims: readonly [number, number];
  readonly parameters: Float32Array;
  readonly epochs: number;
  readonly minibatches: number;
  readonly threads: number;
  /** Orders chunks when there are several minibatches. */
  readonly seed: number;
  /** Inputs that stay the same over a learner's life, such as a frozen backbone. */
  readonly constants?: Readonly<Record<string, FloatTensor>>;
  /** Small inputs that each step replaces by its output `<name>_out`, such as running statistics. */
  readonly carried?: Readonly<Record<string, FloatTensor>>;
}

/** What resuming needs besides the parameters. */
export interface LearnerState {
  readonly parameters: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  readonly updates: number;
  readonly random: RandomState;
  readonly carried: Readonly<Record<string, Float32Array>>;
}

/** Means over the steps of one update. */
export interface UpdateResult {
  readonly metrics: readonly number[];
  /** Mean over steps of each owner's gradient norm before clipping. */
  readonly gradientNorms: readonly number[];
}

const REPLACED = ["parameters", "first_moment", "second_moment"] as const;

export class Learner {
  readonly #options: LearnerOptions;
  readonly #session: Session;
  readonly #feeds: Record<string, FloatTensor>;
  readonly #fetches: Record<string, FloatTensor>;
  readonly #replaced: readonly string[];
  #updates = 0;
  #random: Random;
  #bound: { batch: LearnerBatch; run: BoundRun } | undefined;

  constructor(options: LearnerOptions) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#session = options.runtime.createSession(encodeModel(options.model), { threads: options.threads });
    const [owners] = options.dims;
    const zeros = (): FloatTensor => floatTensor(options.dims);
    this.#feeds = {
      parameters: floatTensor(options.dims, options.parameters.slice()),
      first_moment: zeros(),
      second_moment: zeros(),
      step_size: floatTensor([owners, 1]),
      second_correction: floatTensor([owners, 1]),
      clip_range: floatTensor([]),
      ...options.constants,
      ...options.carried,
    };
    this.#replaced = [...REPLACED, ...Object.keys(options.carried ?? {})];
    this.#fetches = zeroTensors(this.#session.outputs);
  }

  /** float32 [G, P], the learner's own memory: read it between updates, do not write it. */
  get parameters(): Float32Array {
    return this.#feeds["parameters"]!.data;
  }

  carried(name: string): Float32Array {
    return this.#feeds[name]!.data;
  }

  /** All epochs over a rollout. A batch with the arrays of the last one is bound once. */
  update(
    batch: LearnerBatch,
    { learningRate, clipRange }: { learningRate: number; clipRange: number },
  ): UpdateResult {
    this.#feeds["clip_range"]!.data[0] = clipRange;
    const { epochs, minibatches } = this.#options;
    const metrics = new Float64Array(this.#fetches["metrics"]!.data.length);
    const norms = new Float64Array(this.#options.dims[0]);
    const { run } = this.#bind(batch);
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = minibatches > 1 ? this.#random.permutation(batch.chunks) : undefined;
      for (let part = 0; part < minibatches; part++) {
        if (order) this.#gather(batch, order, part);
        this.#step(run, learningRate);
        accumulate(metrics, this.#fetches["metrics"]!.data);
        accumulate(norms, this.#fetches["gradient_norm"]!.data);
      }
    }
    const steps = epochs * minibatches;
    return {
      metrics: Array.from(metrics, (sum) => sum / steps),
      gradientNorms: Array.from(norms, (sum) => sum / steps),
    };
  }

  state(): LearnerState {
    const copy = (name: string): Float32Array => this.#feeds[name]!.data.slice();
    return {
      parameters: copy("parameters"),
      firstMoment: copy("first_moment"),
      secondMoment: copy("second_moment"),
      updates: this.#updates,
      random: this.#random.state(),
      carried: Object.fromEntries(Object.keys(this.#options.carried ?? {}).map((name) => [name, copy(name)])),
    };
  }

  restore(state: LearnerState): void {
    this.#feeds["parameters"]!.data.set(state.parameters);
    this.#feeds["first_moment"]!.data.set(state.firstMoment);
    this.#feeds["second_moment"]!.data.set(state.secondMoment);
    for (const [name, data] of Object.entries(state.carried)) this.#feeds[name]!.data.set(data);
    this.#updates = state.updates;
    this.#random = Random.restore(state.random);
  }

  dispose(): void {
    this.#session.dispose();
  }

  #step(run: BoundRun, learningRate: number): void {
    this.#updates += 1;
    const [stepSize, correction] = adamScalars(this.#updates, learningRate);
    this.#feeds["step_size"]!.data.fill(stepSize);
    this.#feeds["second_correction"]!.data.fill(correction);
    run.run();
    for (const name of this.#replaced) this.#feeds[name]!.data.set(this.#fetches[`${name}_out`]!.data);
  }

  /** One minibatch reads the rollout's own memory; several read memory of their size. */
  #bind(batch: LearnerBatch): { run: BoundRun } {
    if (this.#bound?.batch === batch) return this.#bound;
    const whole = this.#options.minibatches === 1;
    for (const info of this.#session.inputs) {
      const input = batch.inputs[info.name];
      if (input) this.#feeds[info.name] = floatTensor(info.shape as number[], whole ? input.data : undefined);
    }
    const feeds = Object.fromEntries(this.#session.inputs.map(({ name }) => [name, this.#feeds[name]!]));
    this.#bound = { batch, run: this.#session.bind(feeds, this.#fetches) };
    return this.#bound;
  }

  #gather(batch: LearnerBatch, order: Int32Array, part: number): void {
    const size = batch.chunks / this.#options.minibatches;
    const chunks = order.subarray(part * size, (part + 1) * size);
    for (const [name, { data, width, chunkLength }] of Object.entries(batch.inputs)) {
      const heads = data.length / (batch.chunks * chunkLength * width);
      gatherChunks(data, this.#feeds[name]!.data, { heads, chunkLength, width, total: batch.chunks }, chunks);
    }
  }
}

function accumulate(sums: Float64Array, values: Float32Array): void {
  for (let k = 0; k < sums.length; k++) sums[k]! += values[k]!;
}
