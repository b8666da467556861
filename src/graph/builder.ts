/**
 * Builds a graph: one method an operator, checked and shaped as it is called. Gradients, layers and losses are
 * functions over it in other folders.
 */
import { DTYPES, type DType, type HostTensor } from "../base/tensor.ts";
import type { OnnxAttribute, Shape } from "../onnx/model.ts";
import { OPS, type OpName, type OpSpec } from "./ops.ts";
import { fixedSize, graphError, type Node, normaliseAxis, sameShape, type Value } from "./value.ts";

/** A value, or a number that stands for a float32 scalar. */
export type Operand = Value | number;

/** The operator set that graphs are built for: 17 has LayerNormalization as one operator. */
export const TRAINING_OPSET = 17;

type AttributeValues = Readonly<Record<string, number | string | readonly number[]>>;

export class GraphBuilder {
  readonly opset: number;
  readonly #nodes: Node[] = [];
  readonly #inputs: Value[] = [];
  readonly #outputs = new Map<string, Value>();
  readonly #names = new Map<string, number>();
  readonly #scalars = new Map<string, Value>();
  readonly #stopped = new Set<Value>();
  #scope = "";

  constructor(opset = TRAINING_OPSET) {
    this.opset = opset;
  }

  /** Nodes in the order in which they were made: each after those that it reads. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  get inputs(): readonly Value[] {
    return this.#inputs;
  }

  get outputs(): ReadonlyMap<string, Value> {
    return this.#outputs;
  }

  /** Names made inside `build` start with `name/`. */
  scope<T>(name: string, build: () => T): T {
    const outer = this.#scope;
    this.#scope = `${outer}${name}/`;
    try {
      return build();
    } finally {
      this.#scope = outer;
    }
  }

  /** A graph input; its name is used as it is. @throws LORASA_GRAPH when taken. */
  input(name: string, dtype: DType, shape: Shape): Value {
    if (this.#names.has(name)) throw graphError(`input ${name}`, "a new name", "one that is taken");
    this.#names.set(name, 1);
    const value: Value = { name, dtype, shape };
    this.#inputs.push(value);
    return value;
  }

  /** Marks a value as an output under a name of its own. @throws LORASA_GRAPH when another value has that name. */
  output(name: string, value: Value): void {
    const taken =
      this.#names.has(name) &&
      (value.name !== name || value.constant !== undefined || this.#inputs.includes(value));
    if (taken || this.#outputs.has(name))
      throw graphError(`output ${name}`, "a new name", "one that is taken");
    this.#names.set(name, this.#names.get(name) ?? 1);
    this.#outputs.set(name, value);
  }

  /** A constant tensor; it becomes an initializer. */
  constant(name: string, tensor: HostTensor): Value {
    return {
      name: this.#unique(`${this.#scope}${name}`),
      dtype: tensor.dtype,
      shape: tensor.dims,
      constant: tensor,
    };
  }

  /** A scalar constant, made once for each number and type. */
  scalar(number: number, dtype: DType = "float32"): Value {
    const key = `${dtype}/${Object.is(number, -0) ? "-0" : number}`;
    const known = this.#scalars.get(key);
    if (known) return known;
    const value: Value = {
      name: this.#unique(`constant/${key}`),
      dtype,
      shape: [],
      constant: {
        dtype,
        dims: [],
        data: dtype === "int64" ? BigInt64Array.of(BigInt(number)) : DTYPES[dtype].array.of(number as never),
      },
    };
    this.#scalars.set(key, value);
    return value;
  }

  /** Whole numbers as an int64 constant vector. */
  ints(name: string, numbers: readonly number[]): Value {
    return this.constant(name, {
      dtype: "int64",
      dims: [numbers.length],
      data: BigInt64Array.from(numbers, BigInt),
    });
  }

  /** A value through which no gradient flows. */
  stopGradient(x: Value): Value {
    const stopped = this.apply("Identity", [x]);
    this.#stopped.add(stopped);
    return stopped;
  }

  isStopped(value: Value): boolean {
    return this.#stopped.has(value);
  }

  /** Adds a node with one output. @throws LORASA_GRAPH when inputs or attributes do not fit the op. */
  apply(op: OpName, inputs: readonly Value[], attributes: AttributeValues = {}, wantedShape?: Shape): Value {
    return this.applyAll(op, inputs, attributes, wantedShape)[0]!;
  }

  /** Adds a node and gives all its outputs. */
  applyAll(
    op: OpName,
    inputs: readonly Value[],
    attributes: AttributeValues = {},
    wantedShape?: Shape,
  ): readonly Value[] {
    const spec: OpSpec = OPS[op];
    const [least, most] = spec.inputs;
    const name = this.#unique(`${this.#scope}${op}`);
    if (inputs.length < least || inputs.length > most)
      throw graphError(name, `${least} to ${most} inputs`, `${inputs.length}`);
    const kinds = tagged(name, spec, attributes);
    const types = spec.infer({ op: name, inputs, attributes, ...(wantedShape && { wantedShape }) });
    const outputs = types.map((type, index) => ({ name: index === 0 ? name : `${name}:${index}`, ...type }));
    this.#nodes.push({ name, op, inputs, outputs, attributes: kinds });
    return outputs;
  }

  abs = (x: Value): Value => this.apply("Abs", [x]);
  exp = (x: Value): Value => this.apply("Exp", [x]);
  log = (x: Value): Value => this.apply("Log", [x]);
  neg = (x: Value): Value => this.apply("Neg", [x]);
  not = (x: Value): Value => this.apply("Not", [x]);
  reciprocal = (x: Value): Value => this.apply("Reciprocal", [x]);
  relu = (x: Value): Value => this.apply("Relu", [x]);
  sigmoid = (x: Value): Value => this.apply("Sigmoid", [x]);
  sign = (x: Value): Value => this.apply("Sign", [x]);
  softplus = (x: Value): Value => this.apply("Softplus", [x]);
  sqrt = (x: Value): Value => this.apply("Sqrt", [x]);
  tanh = (x: Value): Value => this.apply("Tanh", [x]);
  add = (a: Operand, b: Operand): Value => this.apply("Add", this.#operands(a, b));
  sub = (a: Operand, b: Operand): Value => this.apply("Sub", this.#operands(a, b));
  mul = (a: Operand, b: Operand): Value => this.apply("Mul", this.#operands(a, b));
  div = (a: Operand, b: Operand): Value => this.apply("Div", this.#operands(a, b));
  max = (a: Operand, b: Operand): Value => this.apply("Max", this.#operands(a, b));
  min = (a: Operand, b: Operand): Value => this.apply("Min", this.#operands(a, b));
  greater = (a: Operand, b: Operand): Value => this.apply("Greater", this.#operands(a, b));
  less = (a: Operand, b: Operand): Value => this.apply("Less", this.#operands(a, b));
  equal = (a: Operand, b: Operand): Value => this.apply("Equal", this.#operands(a, b));
  and = (a: Value, b: Value): Value => this.apply("And", [a, b]);
  where = (condition: Value, a: Operand, b: Operand): Value =>
    this.apply("Where", [condition, ...this.#operands(a, b)]);
  matMul = (a: Value, b: Value): Value => this.apply("MatMul", [a, b]);
  square = (x: Value): Value => this.mul(x, x);

  /** Values below `low` or above `high` become those; bounds are numbers or scalar values. */
  clip(x: Value, low: Operand, high: Operand): Value {
    return this.apply("Clip", [x, this.#operand(low, x.dtype), this.#operand(high, x.dtype)]);
  }

  cast(x: Value, dtype: DType): Value {
    return x.dtype === dtype ? x : this.apply("Cast", [x], { to: DTYPES[dtype].onnx });
  }

  /** log Σ-normalised values along an axis, with the maximum subtracted inside the operator. */
  logSoftmax = (x: Value, axis = -1): Value => this.apply("LogSoftmax", [x], { axis });
  softmax = (x: Value, axis = -1): Value => this.apply("Softmax", [x], { axis });
  /** Index of the first largest value, int64, the axis kept as 1. */
  argMax = (x: Value, axis = -1): Value => this.apply("ArgMax", [x], { axis, keepdims: 1 });

  /** Sum over axes (all when none are given); they stay as size 1 with `keep`. */
  reduceSum(x: Value, axes: readonly number[] = allAxes(x), keep = false): Value {
    return axes.length === 0
      ? x
      : this.apply("ReduceSum", [x, this.ints("axes", axes)], { keepdims: keep ? 1 : 0 });
  }

  reduceMean(x: Value, axes: readonly number[] = allAxes(x), keep = false): Value {
    // No axes would mean all of them to ONNX.
    return axes.length === 0 ? x : this.apply("ReduceMean", [x], { axes, keepdims: keep ? 1 : 0 });
  }

  reduceMax(x: Value, axes: readonly number[], keep = false): Value {
    return axes.length === 0 ? x : this.apply("ReduceMax", [x], { axes, keepdims: keep ? 1 : 0 });
  }

  /** The same elements in another shape; named sizes appear on both sides, at most one of them moved. */
  reshape(x: Value, shape: Shape): Value {
    if (sameShape(x.shape, shape)) return x;
    return this.apply(
      "Reshape",
      [x, this.ints("shape", reshapeTarget(`${this.#scope}Reshape`, x.shape, shape))],
      {},
      shape,
    );
  }

  transpose(x: Value, perm: readonly number[]): Value {
    return perm.every((axis, k) => axis === k) ? x : this.apply("Transpose", [x], { perm });
  }

  /** The last two axes exchanged. */
  transposeLast(x: Value): Value {
    const axes = allAxes(x);
    const rank = axes.length;
    return this.transpose(x, [...axes.slice(0, -2), rank - 1, rank - 2]);
  }

  concat(values: readonly Value[], axis: number): Value {
    return values.length === 1 ? values[0]! : this.apply("Concat", values, { axis });
  }

  /** Consecutive parts of the given sizes along an axis. */
  split(x: Value, sizes: readonly number[], axis: number): readonly Value[] {
    return sizes.length === 1 ? [x] : this.applyAll("Split", [x, this.ints("split", sizes)], { axis });
  }

  /** Elements start … end−1 of an axis. */
  slice(x: Value, axis: number, start: number, end: number): Value {
    const at = normaliseAxis(axis, x.shape.length, `${this.#scope}Slice`);
    if (start === 0 && end === x.shape[at]) return x;
    return this.apply("Slice", [
      x,
      this.ints("starts", [start]),
      this.ints("ends", [end]),
      this.ints("axes", [at]),
    ]);
  }

  /** Zeros added behind the elements of an axis up to `size`. */
  padTo(x: Value, axis: number, size: number): Value {
    const at = normaliseAxis(axis, x.shape.length, `${this.#scope}Pad`);
    const missing = size - fixedSize(x.shape[at], `${this.#scope}Pad`);
    if (missing === 0) return x;
    const pads = Array.from({ length: 2 * x.shape.length }, (_, k) =>
      k === x.shape.length + at ? missing : 0,
    );
    return this.apply("Pad", [x, this.ints("pads", pads), this.scalar(0, x.dtype)], { mode: "constant" });
  }

  unsqueeze = (x: Value, axes: readonly number[]): Value =>
    this.apply("Unsqueeze", [x, this.ints("axes", axes)]);
  squeeze = (x: Value, axes: readonly number[]): Value => this.apply("Squeeze", [x, this.ints("axes", axes)]);

  /** Repeats size-1 axes up to a shape of fixed sizes. */
  expand(x: Value, shape: Shape): Value {
    if (sameShape(x.shape, shape)) return x;
    const sizes = shape.map((size) => fixedSize(size, `${this.#scope}Expand`));
    return this.apply("Expand", [x, this.ints("shape", sizes)], {}, shape);
  }

  /** Rows of `data` along an axis. ONNX Runtime wraps index −1 silently: validate indices before they come here. */
  gather = (data: Value, indices: Value, axis = 0): Value => this.apply("Gather", [data, indices], { axis });

  #operands(a: Operand, b: Operand): [Value, Value] {
    const dtype = typeof a !== "number" ? a.dtype : typeof b !== "number" ? b.dtype : "float32";
    return [this.#operand(a, dtype), this.#operand(b, dtype)];
  }

  #operand(x: Operand, dtype: DType): Value {
    return typeof x === "number" ? this.scalar(x, dtype) : x;
  }

  #unique(wanted: string): string {
    const uses = this.#names.get(wanted) ?? 0;
    this.#names.set(wanted, uses + 1);
    return uses === 0 ? wanted : this.#unique(`${wanted}_${uses + 1}`);
  }
}

function allAxes(x: Value): number[] {
  return x.shape.map((_, axis) => axis);
}

/** ONNX's target: −1 for the one named size that moves, 0 for named sizes that stay in place. */
function reshapeTarget(asked: string, from: Shape, to: Shape): number[] {
  let inferred = 0;
  const target = to.map((size, axis) => {
    if (typeof size === "number") return size;
    if (from[axis] === size) return 0;
    inferred += 1;
    return -1;
  });
  if (inferred > 1) throw graphError(asked, "at most one named size that moves", `[${to.join(", ")}]`);
  return target;
}

function tagged(name: string, spec: OpSpec, attributes: AttributeValues): Record<string, OnnxAttribute> {
  return Object.fromEntries(
    Object.entries(attributes).map(([key, value]) => {
      const kind = spec.attributes[key];
      if (!kind)
        throw graphError(name, Object.keys(spec.attributes).join(", ") || "no attribute", `attribute ${key}`);
      return [key, { [kind]: value } as unknown as OnnxAttribute];
    }),
  );
}
