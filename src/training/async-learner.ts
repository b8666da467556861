/**
 * A learner that may live in a thread of its own, so that actor and critic train at the same time. The same numbers
 * come out either way.
 */
import type { Worker } from "node:worker_threads";
import { LorasaError } from "../base/errors.ts";
import { floatTensor } from "../base/tensor.ts";
import { startWorker } from "../base/worker.ts";
import type { ResidentTensor } from "../runtime/session.ts";
import {
  Learner,
  type LearnerOptions,
  type LearnerState,
  type UpdateRates,
  type UpdateResult,
} from "./learner.ts";
import type { BatchInput, LearnerBatch } from "./minibatches.ts";

/** {@link Learner} with answers that are promised. */
export interface AsyncLearner {
  /** float32 [G, P] after the last update, where graphs of the runtime read it; ask again after each update. */
  readonly parameters: ResidentTensor;
  /** What the last update left; do not write it. */
  carried(name: string): Float32Array;
  update(batch: LearnerBatch, rates: UpdateRates): Promise<UpdateResult>;
  state(): Promise<LearnerState>;
  restore(state: LearnerState): Promise<void>;
  close(): Promise<void>;
}

/** What a thread is given: it makes a runtime of its own. */
export type ThreadLearnerOptions = Omit<LearnerOptions, "runtime" | "constants">;

/** What a learner thread is asked, and what it answers; every answer carries parameters and carried inputs. */
export type LearnerRequest =
  | { readonly kind: "update"; readonly batch: LearnerBatch; readonly rates: UpdateRates }
  | { readonly kind: "state" }
  | { readonly kind: "restore"; readonly state: LearnerState };

export interface LearnerAnswer {
  readonly parameters: Float32Array;
  readonly carried: Readonly<Record<string, Float32Array>>;
  readonly result?: UpdateResult;
  readonly state?: LearnerState;
  readonly error?: string;
}

/** Trains in the calling thread. */
export function localLearner(options: LearnerOptions): AsyncLearner {
  const learner = new Learner(options);
  return {
    get parameters() {
      return learner.parameters;
    },
    carried: (name) => learner.carried(name),
    update: async (batch, rates) => learner.update(batch, rates),
    state: async () => learner.state(),
    restore: async (state) => learner.restore(state),
    close: async () => learner.dispose(),
  };
}

/** Trains on the CPU in a worker thread; batches are copied to it. The runtime holds what comes back. */
export function threadLearner(options: ThreadLearnerOptions & Pick<LearnerOptions, "runtime">): AsyncLearner {
  return new ThreadLearner(options);
}

class ThreadLearner implements AsyncLearner {
  readonly parameters: ResidentTensor;
  readonly #carried: Record<string, Float32Array>;
  readonly #worker: Worker;
  /** Who asked, in order: the thread answers one after another. */
  readonly #waiting: { resolve: (answer: LearnerAnswer) => void; reject: (error: Error) => void }[] = [];
  #failure: Error | undefined;

  constructor({ runtime, ...options }: ThreadLearnerOptions & Pick<LearnerOptions, "runtime">) {
    this.parameters = runtime.upload(floatTensor(options.dims, options.parameters.slice()));
    this.#carried = Object.fromEntries(
      Object.entries(options.carried ?? {}).map(([name, { data }]) => [name, data.slice()]),
    );
    this.#worker = startWorker(import.meta.url, "./learner-worker", options);
    this.#worker.on("message", (answer: LearnerAnswer) => this.#receive(answer));
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => this.#fail(new Error("its thread ended")));
  }

  carried(name: string): Float32Array {
    return this.#carried[name]!;
  }

  async update(batch: LearnerBatch, rates: UpdateRates): Promise<UpdateResult> {
    return (await this.#ask({ kind: "update", batch: withOwnMemory(batch), rates })).result!;
  }

  async state(): Promise<LearnerState> {
    return (await this.#ask({ kind: "state" })).state!;
  }

  async restore(state: LearnerState): Promise<void> {
    await this.#ask({ kind: "restore", state });
  }

  async close(): Promise<void> {
    this.#failure ??= new LorasaError("LORASA_DISPOSED", {
      asked: "training",
      expected: "an open learner",
      received: "a closed one",
    });
    await this.#worker.terminate();
  }

  #ask(request: LearnerRequest): Promise<LearnerAnswer> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  #receive(answer: LearnerAnswer): void {
    const waiting = this.#waiting.shift();
    if (answer.error !== undefined) {
      waiting?.reject(new LorasaError("LORASA_GRAPH", { asked: "training", received: answer.error }));
      return;
    }
    this.parameters.write(floatTensor(this.parameters.dims, answer.parameters));
    for (const [name, data] of Object.entries(answer.carried)) this.#carried[name]!.set(data);
    waiting?.resolve(answer);
  }

  #fail(error: Error): void {
    this.#failure ??= new LorasaError("LORASA_GRAPH", {
      asked: "training",
      received: error.message,
      cause: error,
    });
    for (const { reject } of this.#waiting.splice(0)) reject(this.#failure);
  }
}

/** A message carries the whole memory that an array is a part of: parts are cut out first. */
function withOwnMemory({ chunks, inputs }: LearnerBatch): LearnerBatch {
  const cut = (input: BatchInput): BatchInput =>
    input.data.byteLength === input.data.buffer.byteLength ? input : { ...input, data: input.data.slice() };
  return {
    chunks,
    inputs: Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, cut(input)])),
  };
}
