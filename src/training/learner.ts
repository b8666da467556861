/**
 * Trains one set of flat parameters with a step graph: holds parameters and Adam's moments in the device's memory,
 * feeds minibatches, reads metrics. It knows no actor and no critic: the graph says what is fed.
 */

import { Random, type RandomState } from "../base/random.ts";
import { type FloatTensor, floatTensor } from "../base/tensor.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { OnnxModel } from "../onnx/model.ts";
import { adamScalars } from "../optim/adam.ts";
import type { ResidentTensor, Runtime, Session } from "../runtime/session.ts";
import { CarriedRun } from "./carried-run.ts";
import { type LearnerBatch, Minibatches } from "./minibatches.ts";
import { zeroTensors } from "./session-tensors.ts";

export interface LearnerOptions {
  readonly runtime: Runtime;
  /** Built for C / minibatches chunks. */
  readonly model: OnnxModel;
  readonly dims: readonly [number, number];
  /** Parts that may learn without the others, see `ParameterLayout`; rows unless given. */
  readonly parts?: number;
  readonly parameters: Float32Array;
  readonly epochs: number;
  readonly minibatches: number;
  readonly threads: number;
  /** Orders chunks when there are several minibatches. */
  readonly seed: number;
  /** Inputs that stay the same over a learner's life, such as a frozen backbone; the caller's to dispose of. */
  readonly constants?: Readonly<Record<string, ResidentTensor>>;
  /** Small inputs that each step replaces by its output `<name>_out`, such as running statistics. */
  readonly carried?: Readonly<Record<string, FloatTensor>>;
}

/** What resuming needs besides the parameters. */
export interface LearnerState {
  readonly parameters: Float32Array;
  readonly firstMoment: Float32Array;
  readonly secondMoment: Float32Array;
  /** Adam steps of each part. */
  readonly updates: readonly number[];
  readonly random: RandomState;
  readonly carried: Readonly<Record<string, Float32Array>>;
}

/** What an update is told besides its rollout. */
export interface UpdateRates {
  readonly learningRate: number;
  readonly clipRange: number;
  /** The learner's own unless given. */
  readonly epochs?: number;
  /** Parts that learn from it; all unless given. The graph must know of partial steps. */
  readonly parts?: readonly number[];
  /** Inputs that stay the same over the update. */
  readonly feeds?: Readonly<Record<string, FloatTensor>>;
}

/** Means over the steps of one update. */
export interface UpdateResult {
  readonly metrics: readonly number[];
  /** Mean over steps of each owner's gradient norm before clipping. */
  readonly gradientNorms: readonly number[];
}

export class Learner {
  readonly #options: LearnerOptions;
  readonly #session: Session;
  /** Parameters, moments and what else is carried: a step's outputs are the next one's inputs. */
  readonly #steps: CarriedRun;
  readonly #minibatches: Minibatches;
  readonly #scalars: Readonly<Record<"step_size" | "second_correction" | "clip_range", FloatTensor>>;
  /** All that a step gives to the host. */
  readonly #results: Readonly<Record<string, FloatTensor>>;
  #updates: number[];
  #random: Random;

  constructor(options: LearnerOptions) {
    const { runtime, model, threads, dims, minibatches, parts = dims[0] } = options;
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#updates = new Array(parts).fill(0);
    this.#session = runtime.createSession(encodeModel(model), { threads });
    this.#steps = new CarriedRun(runtime, this.#session);
    this.#steps.write("parameters", options.parameters);
    for (const [name, { data }] of Object.entries(options.carried ?? {})) this.#steps.write(name, data);
    this.#minibatches = new Minibatches(runtime, this.#steps.inputs, minibatches);
    const column = (): FloatTensor => floatTensor([parts, 1]);
    this.#scalars = { step_size: column(), second_correction: column(), clip_range: floatTensor([]) };
    this.#results = zeroTensors(this.#steps.outputs);
  }

  /** float32 [G, P]: read it between updates, do not write it; another tensor after each update. */
  get parameters(): ResidentTensor {
    return this.#steps.current("parameters");
  }

  /** A copy of what the last step left. */
  carried(name: string): Float32Array {
    return this.#steps.download(name).data;
  }

  /** All epochs over a rollout, which is uploaded once. */
  update(batch: LearnerBatch, rates: UpdateRates): UpdateResult {
    this.#scalars.clip_range.data[0] = rates.clipRange;
    const { constants, minibatches } = this.#options;
    const { epochs = this.#options.epochs, feeds } = rates;
    const metrics = new Float64Array(this.#results["metrics"]!.data.length);
    const norms = new Float64Array(this.#options.dims[0]);
    try {
      const inputs = this.#minibatches.load(batch);
      const { clip_range, ...scalars } = this.#scalars;
      const clips = this.#steps.inputs.some(({ name }) => name === "clip_range");
      const own = clips ? { ...scalars, clip_range } : scalars;
      this.#steps.bind({ ...own, ...constants, ...feeds, ...inputs }, this.#results);
      for (let epoch = 0; epoch < epochs; epoch++) {
        const order = minibatches > 1 ? this.#random.permutation(batch.chunks) : undefined;
        for (let part = 0; part < minibatches; part++) {
          if (order) this.#select(order, part);
          this.#step(rates);
          accumulate(metrics, this.#results["metrics"]!.data);
          accumulate(norms, this.#results["gradient_norm"]!.data);
        }
      }
    } finally {
      this.#minibatches.release();
    }
    const steps = epochs * minibatches;
    return {
      metrics: Array.from(metrics, (sum) => sum / steps),
      gradientNorms: Array.from(norms, (sum) => sum / steps),
    };
  }

  /** Copies of everything. */
  state(): LearnerState {
    const copy = (name: string): Float32Array => this.#steps.download(name).data;
    return {
      parameters: copy("parameters"),
      firstMoment: copy("first_moment"),
      secondMoment: copy("second_moment"),
      updates: [...this.#updates],
      random: this.#random.state(),
      carried: Object.fromEntries(Object.keys(this.#options.carried ?? {}).map((name) => [name, copy(name)])),
    };
  }

  restore(state: LearnerState): void {
    this.#steps.write("parameters", state.parameters);
    this.#steps.write("first_moment", state.firstMoment);
    this.#steps.write("second_moment", state.secondMoment);
    for (const [name, data] of Object.entries(state.carried)) this.#steps.write(name, data);
    this.#updates = [...state.updates];
    this.#random = Random.restore(state.random);
  }

  dispose(): void {
    this.#minibatches.dispose();
    this.#steps.dispose();
    this.#session.dispose();
  }

  #step({ learningRate, parts }: UpdateRates): void {
    const { step_size, second_correction } = this.#scalars;
    // A step size of 0 is none.
    step_size.data.fill(0);
    for (const part of parts ?? this.#updates.keys()) {
      this.#updates[part]! += 1;
      const [stepSize, correction] = adamScalars(this.#updates[part]!, learningRate);
      step_size.data[part] = stepSize;
      second_correction.data[part] = correction;
    }
    this.#steps.run();
  }

  #select(order: Int32Array, part: number): void {
    const size = order.length / this.#options.minibatches;
    this.#minibatches.select(order.subarray(part * size, (part + 1) * size));
  }
}

function accumulate(sums: Float64Array, values: Float32Array): void {
  for (let k = 0; k < sums.length; k++) sums[k]! += values[k]!;
}
