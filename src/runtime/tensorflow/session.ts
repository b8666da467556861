/** A graph run by TensorFlow.js, a node after another. What the nodes compute is `operators.ts`. */
import type { Tensor } from "@tensorflow/tfjs";
import { LorasaError } from "../../base/errors.ts";
import type { DType, HostTensor } from "../../base/tensor.ts";
import { checkModel } from "../../onnx/check.ts";
import { decodeModel } from "../../onnx/decode.ts";
import type { OnnxModel } from "../../onnx/model.ts";
import { checkFeeds, checkFetches, disposed } from "../check.ts";
import type { BoundRun, Device, RunTensor, Session, TensorInfo } from "../session.ts";
import { planOf, type Step, stepsOf } from "./plan.ts";
import { type TensorflowMemory, TensorflowResident } from "./resident.ts";
import { toHost, toTensor } from "./tensors.ts";

type Feeds = Readonly<Record<string, RunTensor>>;
type Fetches = Readonly<Record<string, RunTensor | null>>;

export class TensorflowSession implements Session {
  readonly device: Device;
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly cpuNodes = [];
  readonly sharedWeights = [];
  readonly #memory: TensorflowMemory;
  readonly #steps: readonly Step[];
  /** By the outputs asked for. */
  readonly #plans = new Map<string, readonly Step[]>();
  /** Made once for all runs; absent once disposed of. */
  #constants: ReadonlyMap<string, Tensor> | undefined;

  /** Options of a session do not apply: there is one thread, and no file of another name is ever opened. */
  constructor(bytes: Uint8Array, memory: TensorflowMemory) {
    const model = decodeModel(bytes, "graph");
    checkModel(model);
    this.#memory = memory;
    this.#steps = stepsOf(model);
    this.#constants = constantsOf(model, this.#steps, memory);
    this.device = memory.device;
    this.inputs = model.inputs;
    this.outputs = model.outputs;
  }

  run(feeds: Feeds, fetches?: Fetches): Record<string, RunTensor> {
    this.#open();
    const sizes = checkFeeds(this.inputs, feeds);
    if (fetches) checkFetches(this.outputs, fetches, sizes);
    return this.#run(feeds, fetches ?? Object.fromEntries(this.outputs.map(({ name }) => [name, null])));
  }

  bind(feeds: Feeds, fetches: Readonly<Record<string, RunTensor>>): BoundRun {
    this.#open();
    checkFetches(this.outputs, fetches, checkFeeds(this.inputs, feeds));
    this.#checkResidents(feeds, fetches);
    return {
      run: () => {
        this.#run(feeds, fetches);
      },
    };
  }

  dispose(): void {
    for (const tensor of this.#constants?.values() ?? []) tensor.dispose();
    this.#constants = undefined;
  }

  #run(feeds: Feeds, fetches: Fetches): Record<string, RunTensor> {
    this.#checkResidents(feeds, fetches);
    const outputs = this.outputs.filter(({ name }) => name in fetches);
    const names = outputs.map(({ name }) => name);
    const tensors = this.#compute(feeds, names);
    const results: Record<string, RunTensor> = {};
    // Nothing is written before everything is computed: a tensor may be fed and filled by the same run.
    for (const [index, { name, dtype }] of outputs.entries()) {
      results[name] = deliver(tensors[index]!, dtype, fetches[name]);
    }
    return results;
  }

  /** Tensors of the outputs, which are the caller's. */
  #compute(feeds: Feeds, names: readonly string[]): Tensor[] {
    const { tf } = this.#memory;
    const constants = this.#open();
    const plan = this.#planFor(names);
    try {
      return tf.tidy(() => {
        const values = new Map(constants);
        for (const name in feeds) values.set(name, tensorOf(feeds[name]!, this.#memory));
        for (const step of plan) runStep(step, values, this.#memory);
        return names.map((name) => tf.clone(values.get(name)!));
      });
    } catch (cause) {
      throw runError(cause);
    }
  }

  #planFor(names: readonly string[]): readonly Step[] {
    const key = JSON.stringify(names);
    const known = this.#plans.get(key);
    if (known) return known;
    if (names.length === 0) {
      throw new LorasaError("LORASA_GRAPH", {
        asked: "running a graph",
        expected: "an output to compute",
        received: "none",
      });
    }
    const plan = planOf(this.#steps, names);
    this.#plans.set(key, plan);
    return plan;
  }

  /** @throws LORASA_DEVICE for a tensor of another runtime, LORASA_DISPOSED. */
  #checkResidents(feeds: Feeds, fetches: Fetches): void {
    for (const tensor of [...Object.values(feeds), ...Object.values(fetches)]) {
      if (tensor === null || "data" in tensor) continue;
      if (!(tensor instanceof TensorflowResident)) {
        throw new LorasaError("LORASA_DEVICE", {
          asked: "a resident tensor",
          expected: "one of this runtime",
          received: tensor.device,
        });
      }
      tensor.requireOpen();
    }
  }

  #open(): ReadonlyMap<string, Tensor> {
    if (this.#constants === undefined) throw disposed("a session");
    return this.#constants;
  }
}

/** Hands a tensor over to the resident one that waits for it, or its values to the host. */
function deliver(tensor: Tensor, dtype: DType, fetch: RunTensor | null | undefined): RunTensor {
  if (fetch instanceof TensorflowResident) {
    fetch.replace(tensor);
    return fetch;
  }
  const host = toHost(tensor, dtype, fetch && "data" in fetch ? fetch : undefined);
  tensor.dispose();
  return host;
}

function runStep(
  { node, run, reads, constants, releases }: Step,
  values: Map<string, Tensor>,
  { tf }: TensorflowMemory,
): void {
  const x = reads.map((name) => (name === undefined ? undefined : values.get(name)));
  const results = run({ tf, node, x, constants });
  for (const [index, name] of node.outputs.entries()) values.set(name, results[index]!);
  for (const name of releases) {
    values.get(name)!.dispose();
    values.delete(name);
  }
}

/** Those that steps read as tensors. */
function constantsOf(
  { initializers }: OnnxModel,
  steps: readonly Step[],
  { tf }: TensorflowMemory,
): ReadonlyMap<string, Tensor> {
  const names = new Set(steps.flatMap(({ reads }) => reads));
  const made = [...initializers].filter(([name]) => names.has(name));
  // Where one cannot be held, those made before it go with the scope.
  const tensors = tf.tidy(() => made.map(([, value]) => toTensor(tf, value)));
  return new Map(made.map(([name], index) => [name, tensors[index]!]));
}

function tensorOf(tensor: RunTensor, { tf }: TensorflowMemory): Tensor {
  return tensor instanceof TensorflowResident ? tensor.read() : toTensor(tf, tensor as HostTensor);
}

/** What only the values show, such as an index out of range. */
function runError(cause: unknown): LorasaError {
  if (cause instanceof LorasaError) return cause;
  const received = (cause as Error).message.split("\n")[0]!;
  return new LorasaError("LORASA_GRAPH", { asked: "running a graph", received, cause });
}
