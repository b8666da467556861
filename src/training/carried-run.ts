/**
 * Runs of a session in which some outputs are the inputs of the next run, each `<name>_out` the next `<name>`: what a
 * step trains, or the state that a policy keeps. They stay in the device's memory. Not what is fed besides.
 */
import type { FloatTensor } from "../base/tensor.ts";
import type {
  BoundRun,
  ResidentTensor,
  RunTensor,
  Runtime,
  Session,
  TensorInfo,
} from "../runtime/session.ts";

type Residents = Readonly<Record<string, ResidentTensor>>;

const SUFFIX = "_out";

/** Owns the carried tensors, not the session. They are zeros at first; all are float32 of fixed sizes. */
export class CarriedRun {
  /** Names of the carried inputs. */
  readonly carried: readonly string[];
  /** Inputs and outputs that are not carried. */
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly #session: Session;
  /** Two sets that change places: some kernels of a run read a tensor after others wrote its successor. */
  readonly #sets: readonly [Residents, Residents];
  #runs: readonly [BoundRun, BoundRun] | undefined;
  #now: 0 | 1 = 0;

  constructor(runtime: Runtime, session: Session) {
    const { inputs, outputs } = session;
    const isCarried = ({ name }: TensorInfo): boolean =>
      outputs.some((output) => output.name === name + SUFFIX);
    const carried = inputs.filter(isCarried);
    this.#session = session;
    this.carried = carried.map(({ name }) => name);
    this.inputs = inputs.filter((input) => !isCarried(input));
    this.outputs = outputs.filter(({ name }) => !this.carried.some((input) => name === input + SUFFIX));
    const zeros = (): Residents =>
      Object.fromEntries(
        carried.map(({ name, dtype, shape }) => [name, runtime.allocate(dtype, shape as number[])]),
      );
    this.#sets = [zeros(), zeros()];
  }

  /** Feeds every other input from now on and fills outputs, for any number of runs. */
  bind(feeds: Readonly<Record<string, RunTensor>>, fetches: Readonly<Record<string, RunTensor>>): void {
    const bound = (from: Residents, to: Residents): BoundRun =>
      this.#session.bind({ ...feeds, ...from }, { ...fetches, ...renamed(to) });
    const [a, b] = this.#sets;
    this.#runs = [bound(a, b), bound(b, a)];
  }

  /** Runs and takes what was carried over. Call {@link bind} first. */
  run(): void {
    this.peek();
    this.#now = this.#now === 0 ? 1 : 0;
  }

  /** Runs for the other outputs alone: the next run reads the carried tensors that this one read. */
  peek(): void {
    this.#runs![this.#now].run();
  }

  /** What the next run reads; after it, another tensor has the name. */
  current(name: string): ResidentTensor {
    return this.#sets[this.#now][name]!;
  }

  /** A copy in the host's memory. */
  download(name: string): FloatTensor {
    // Carried tensors are float32.
    return this.current(name).download() as FloatTensor;
  }

  write(name: string, data: Float32Array): void {
    const { dims } = this.current(name);
    this.current(name).write({ dtype: "float32", dims, data });
  }

  dispose(): void {
    this.#runs = undefined;
    for (const set of this.#sets) for (const tensor of Object.values(set)) tensor.dispose();
  }
}

function renamed(set: Residents): Residents {
  return Object.fromEntries(Object.entries(set).map(([name, tensor]) => [name + SUFFIX, tensor]));
}
