/**
 * A policy graph with its memory: buffers for each batch size that was asked for lately, bound once and reused.
 * Not which rows go where: see `placement.ts`.
 *
 * A run is synchronous, so one set of buffers a batch size is enough: nobody fills it while another reads it.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { DTYPES, elementCount, formatDims, type HostTensor } from "../../src/base/tensor.ts";
import type { BoundRun, RunTensor, Session, TensorInfo } from "../../src/runtime/session.ts";
import { BINDING_LIMIT } from "../limits.ts";
import type { RowBlock } from "./placement.ts";
import { POLICY_INPUT_NAMES, POLICY_INPUTS, POLICY_OUTPUTS, type RowSizes } from "./policy-tensors.ts";

/** Rows above which buffers are not kept: large batches are rare and their memory is not. */
const KEPT_ROWS = 8192;

/** What a graph of a policy must be. */
export interface GraphForm {
  /** For messages, such as `team, rows graph`. */
  readonly what: string;
  /** Sizes in front of a row's features; −1 varies. */
  readonly leading: readonly number[];
  /** What rows may measure: an agent's graph has its own widths or the team's. */
  readonly sizes: readonly RowSizes[];
  /** Inputs that {@link BoundGraph.bind} is given as fixed. */
  readonly fixed: readonly string[];
}

/** What a graph was loaded from, so that another thread can load it too while the file is the same. */
export interface GraphFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** Inputs that stay the same from run to run. Another object means other tensors: bindings are then made anew. */
export type FixedInputs = Readonly<Record<string, RunTensor>>;

/** Buffers of one batch size, in the graph's row order. */
export interface RowBuffers {
  readonly inputs: Readonly<Record<string, RowBlock>>;
  /** int64 per row: `agent` and `slot` of the rows graph. */
  readonly indices: Readonly<Partial<Record<"agent" | "slot", BigInt64Array>>>;
  readonly outputs: Readonly<Record<string, RowBlock<Float32Array | BigInt64Array>>>;
}

/** Buffers that a run reads and fills. */
interface RowBinding extends RowBuffers {
  run(): void;
}

interface Bound extends RowBinding {
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly results: Readonly<Record<string, HostTensor>>;
  fixed: FixedInputs;
  bound: BoundRun;
}

/** Names of a graph's per-row index inputs. */
const INDEX_INPUTS: readonly string[] = ["agent", "slot"];

/** Owns the session. */
export class BoundGraph {
  readonly session: Session;
  readonly file: GraphFile;
  readonly #leading: readonly number[];
  readonly #rowInputs: readonly TensorInfo[];
  readonly #indexInputs: readonly TensorInfo[];
  readonly #kept = new Map<string, Bound>();

  /** @throws LORASA_GRAPH when the graph is not one of a policy of that form. */
  constructor(session: Session, form: GraphForm, file: GraphFile) {
    this.session = session;
    this.file = file;
    checkGraph(session, form);
    this.#leading = form.leading;
    this.#rowInputs = session.inputs.filter(({ name }) => name in POLICY_INPUTS);
    this.#indexInputs = session.inputs.filter(({ name }) => INDEX_INPUTS.includes(name));
  }

  /** Whether the graph has this input. */
  has(name: string): boolean {
    return this.session.inputs.some((input) => input.name === name);
  }

  /**
   * Buffers for rows laid out as `leading`, such as `[N, E]` or `[B]`, with the fixed inputs of this moment.
   * @param wanted outputs that are read (default all): from a device no others are copied.
   */
  bind(leading: readonly number[], fixed: FixedInputs, wanted?: readonly string[]): RowBinding {
    const outputs = this.#outputsOf(wanted);
    const key = outputs === this.session.outputs ? leading.join("x") : `${leading.join("x")} ${wanted}`;
    const kept = this.#kept.get(key);
    if (kept === undefined) return this.#create(key, leading, fixed, outputs);
    if (kept.fixed !== fixed) {
      kept.bound = this.session.bind({ ...kept.tensors, ...fixed }, kept.results);
      kept.fixed = fixed;
    }
    // Re-inserted as the newest: a Map keeps insertion order.
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  /** The sizes in front of a row's features for a batch of that many rows an agent, or rows. */
  leading(rows: number): readonly number[] {
    return this.#leading.map((size) => (size < 0 ? rows : size));
  }

  /** New buffers without a session, to be run elsewhere. Outputs are left out: they come back with the run. */
  buffers(leading: readonly number[]): RowBuffers {
    const tensors = allocate([...this.#rowInputs, ...this.#indexInputs], leading);
    return {
      inputs: blocks(this.#rowInputs, tensors) as Record<string, RowBlock>,
      indices: this.#indices(tensors),
      outputs: {},
    };
  }

  dispose(): void {
    this.#kept.clear();
    this.session.dispose();
  }

  /** Where the graph runs in the host's memory, leaving some out saves nothing. */
  #outputsOf(wanted: readonly string[] | undefined): readonly TensorInfo[] {
    const { outputs, device } = this.session;
    if (device === "cpu" || !wanted) return outputs;
    const read = outputs.filter(({ name }) => wanted.includes(name));
    // A run for nothing at all is none.
    return read.length === 0 || read.length === outputs.length ? outputs : read;
  }

  #create(
    key: string,
    leading: readonly number[],
    fixed: FixedInputs,
    outputs: readonly TensorInfo[],
  ): Bound {
    const tensors = allocate([...this.#rowInputs, ...this.#indexInputs], leading);
    const results = allocate(outputs, leading);
    const created: Bound = {
      tensors,
      results,
      fixed,
      bound: this.session.bind({ ...tensors, ...fixed }, results),
      inputs: blocks(this.#rowInputs, tensors) as Record<string, RowBlock>,
      indices: this.#indices(tensors),
      outputs: blocks(outputs, results),
      run: () => created.bound.run(),
    };
    if (elementCount(leading) <= KEPT_ROWS) this.#keep(key, created);
    return created;
  }

  #indices(tensors: Readonly<Record<string, HostTensor>>): RowBuffers["indices"] {
    return Object.fromEntries(
      this.#indexInputs.map(({ name }) => [name, tensors[name]!.data as BigInt64Array]),
    );
  }

  #keep(key: string, created: Bound): void {
    this.#kept.set(key, created);
    if (this.#kept.size <= BINDING_LIMIT) return;
    for (const oldest of this.#kept.keys()) {
      this.#kept.delete(oldest);
      return;
    }
  }
}

function allocate(infos: readonly TensorInfo[], leading: readonly number[]): Record<string, HostTensor> {
  return Object.fromEntries(
    infos.map(({ name, dtype, shape }) => {
      const dims = [...leading, ...(shape.slice(leading.length) as number[])];
      return [name, { dtype, dims, data: new DTYPES[dtype].array(elementCount(dims)) }];
    }),
  );
}

function blocks(
  infos: readonly TensorInfo[],
  tensors: Readonly<Record<string, HostTensor>>,
): Record<string, RowBlock<Float32Array | BigInt64Array>> {
  return Object.fromEntries(
    infos.map(({ name, shape }) => {
      // checkGraph saw that the width is a number and the type float32 or int64.
      const data = tensors[name]!.data as Float32Array | BigInt64Array;
      return [name, { data, width: shape.at(-1) as number }];
    }),
  );
}

/** Every input and output is one that a policy has, of its shape and type. */
function checkGraph(session: Session, form: GraphForm): void {
  const { what, sizes, fixed } = form;
  for (const input of session.inputs) {
    const known = POLICY_INPUT_NAMES.find((name) => name === input.name);
    if (known) checkRows(form, input, sizes.map(POLICY_INPUTS[known].width), "float32");
    else if (!fixed.includes(input.name) && !INDEX_INPUTS.includes(input.name)) {
      throw graphError(what, `input ${input.name}`, "an input of a policy", "an unknown name");
    }
  }
  const missing = ["obs", ...fixed].find((name) => !session.inputs.some((input) => input.name === name));
  if (missing) throw graphError(what, `input ${missing}`, "it among the inputs", "none of that name");
  for (const output of session.outputs) {
    const known = POLICY_OUTPUTS[output.name];
    if (!known) throw graphError(what, `output ${output.name}`, "an output of a policy", "an unknown name");
    checkRows(form, output, sizes.map(known.width), known.dtype?.(sizes[0]!) ?? "float32");
  }
  if (!session.outputs.some(({ name }) => name === "action")) {
    throw graphError(what, "output action", "it among the outputs", "none of that name");
  }
}

function checkRows(
  { what, leading }: GraphForm,
  info: TensorInfo,
  widths: readonly number[],
  dtype: string,
): void {
  const fits =
    info.shape.length === leading.length + 1 &&
    leading.every((size, axis) =>
      size < 0 ? typeof info.shape[axis] === "string" : info.shape[axis] === size,
    ) &&
    widths.some((width) => info.shape.at(-1) === width);
  if (fits && info.dtype === dtype) return;
  const shape = [...leading.map((size) => (size < 0 ? "any" : size)), [...new Set(widths)].join(" or ")];
  const received = `${info.dtype} ${formatDims(info.shape)}`;
  throw graphError(what, info.name, `${dtype} ${formatDims(shape)}`, received);
}

function graphError(what: string, tensor: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_GRAPH", { asked: `${what}, ${tensor}`, expected, received });
}
