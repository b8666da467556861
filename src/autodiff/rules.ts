/**
 * The gradient of every operator, one entry each. Broadcasting is not undone here: the backward walk does that in
 * one place. `dy` is the gradient of the scalar loss with respect to the node's first output.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { OpName } from "../graph/ops.ts";
import { fixedCount, fixedSize, type Node, normaliseAxis, type Value } from "../graph/value.ts";
import type { Shape } from "../onnx/model.ts";

/** What a rule sees. `grads[i]` is missing where output i reaches no loss; `wanted[i]` says which inputs need one. */
export interface RuleContext {
  readonly g: GraphBuilder;
  readonly node: Node;
  readonly x: readonly Value[];
  readonly y: Value;
  readonly dy: Value;
  readonly grads: readonly (Value | undefined)[];
  readonly wanted: readonly boolean[];
}

type Gradients = readonly (Value | undefined)[];

export type GradientRule =
  | { readonly kind: "vjp"; readonly vjp: (context: RuleContext) => Gradients }
  /** The derivative is zero almost everywhere: nothing flows back, and that is right. */
  | { readonly kind: "zero"; readonly why: string }
  /** No rule is defined: asking is an error. */
  | { readonly kind: "forbidden"; readonly why: string };

const vjp = (rule: (context: RuleContext) => Gradients): GradientRule => ({ kind: "vjp", vjp: rule });
const zero = (why: string): GradientRule => ({ kind: "zero", why });
const forbidden = (why: string): GradientRule => ({ kind: "forbidden", why });

/** A rule for an operator of one input, whose gradient is one expression. */
const unary = (rule: (context: RuleContext) => Value): GradientRule => vjp((context) => [rule(context)]);

export const GRADIENTS = {
  // |x|' = sign x, 0 at 0
  Abs: unary(({ g, x, dy }) => g.mul(dy, g.sign(x[0]!))),
  Add: vjp(({ dy }) => [dy, dy]),
  And: zero("logical"),
  ArgMax: zero("an index"),
  Cast: forbidden("networks and losses cast only masks and indices"),
  Clip: vjp(clip),
  Concat: vjp(concat),
  // (a/b)' = da/b − (a/b)·db/b
  Div: vjp(({ g, x, y, dy, wanted }) => {
    const scaled = g.div(dy, x[1]!);
    return [scaled, wanted[1] ? g.neg(g.mul(scaled, y)) : undefined];
  }),
  Equal: zero("a comparison"),
  Exp: unary(({ g, y, dy }) => g.mul(dy, y)),
  // Expand repeats: the walk sums the repeats away.
  Expand: vjp(({ dy }) => [dy, undefined]),
  Gather: forbidden("indices select constants here; a gradient would need a scatter"),
  Greater: zero("a comparison"),
  Identity: unary(({ dy }) => dy),
  LayerNormalization: vjp(layerNormalization),
  Less: zero("a comparison"),
  Log: unary(({ g, x, dy }) => g.div(dy, x[0]!)),
  // (x − log Σ exp x)' = dy − softmax·Σ dy
  LogSoftmax: unary(({ g, node, y, dy }) => {
    const axis = axisOf(node, y);
    return g.sub(dy, g.mul(g.exp(y), g.reduceSum(dy, [axis], true)));
  }),
  MatMul: vjp(matMul),
  // Ties send the whole gradient to the first input, as TensorFlow.js does.
  Max: vjp((context) => choose(context, "larger")),
  Min: vjp((context) => choose(context, "smaller")),
  Mul: vjp(({ g, x, dy, wanted }) => [
    wanted[0] ? g.mul(dy, x[1]!) : undefined,
    wanted[1] ? g.mul(dy, x[0]!) : undefined,
  ]),
  Neg: unary(({ g, dy }) => g.neg(dy)),
  Not: zero("logical"),
  Pad: forbidden("only observations are padded, and they take no gradient"),
  // (1/x)' = −1/x²
  Reciprocal: unary(({ g, y, dy }) => g.neg(g.mul(dy, g.square(y)))),
  ReduceMax: forbidden("used only inside stable softmaxes, which have rules of their own"),
  ReduceMean: unary(({ g, node, x, y, dy }) => {
    const count = fixedCount(x[0]!.shape, node.name) / fixedCount(y.shape, node.name);
    return g.expand(g.mul(keepAxes(g, node, x[0]!, dy), 1 / count), x[0]!.shape);
  }),
  ReduceSum: vjp(({ g, node, x, dy }) => [g.expand(keepAxes(g, node, x[0]!, dy), x[0]!.shape), undefined]),
  // 1 where x > 0 and 0 elsewhere; a comparison and a cast take a fifth of the time of Sign
  Relu: unary(({ g, y, dy }) => g.mul(dy, g.cast(g.greater(y, 0), dy.dtype))),
  Reshape: vjp(({ g, x, dy }) => [g.reshape(dy, x[0]!.shape), undefined]),
  // σ' = σ(1 − σ)
  Sigmoid: unary(({ g, y, dy }) => g.mul(dy, g.mul(y, g.sub(1, y)))),
  Sign: zero("constant but at 0"),
  Slice: vjp(slice),
  // softmax: y·(dy − Σ dy·y)
  Softmax: unary(({ g, node, y, dy }) => {
    const inner = g.reduceSum(g.mul(dy, y), [axisOf(node, y)], true);
    return g.mul(y, g.sub(dy, inner));
  }),
  // log(1 + eˣ)' = σ(x)
  Softplus: unary(({ g, x, dy }) => g.mul(dy, g.sigmoid(x[0]!))),
  Split: vjp(split),
  // √x' = 1/(2√x)
  Sqrt: unary(({ g, y, dy }) => g.div(g.mul(dy, 0.5), y)),
  Squeeze: vjp(({ g, x, dy }) => [g.reshape(dy, x[0]!.shape), undefined]),
  Sub: vjp(({ g, dy, wanted }) => [dy, wanted[1] ? g.neg(dy) : undefined]),
  // tanh' = 1 − tanh²
  Tanh: unary(({ g, y, dy }) => g.mul(dy, g.sub(1, g.square(y)))),
  Transpose: unary(({ g, node, dy }) => {
    const { ints } = node.attributes["perm"] as { ints: readonly number[] };
    return g.transpose(
      dy,
      ints.map((_, axis) => ints.indexOf(axis)),
    );
  }),
  Unsqueeze: vjp(({ g, x, dy }) => [g.reshape(dy, x[0]!.shape), undefined]),
  Where: vjp(({ g, x, dy, wanted }) => [
    undefined,
    wanted[1] ? g.where(x[0]!, dy, 0) : undefined,
    wanted[2] ? g.where(x[0]!, 0, dy) : undefined,
  ]),
} as const satisfies Record<OpName, GradientRule>;

/** 1 strictly inside the bounds and at them, 0 outside; bounds themselves take no gradient. */
function clip({ g, x, y, dy }: RuleContext): Gradients {
  const inside = g.equal(x[0]!, y);
  return [g.where(inside, dy, 0), undefined, undefined];
}

function choose({ g, x, dy, wanted }: RuleContext, pick: "larger" | "smaller"): Gradients {
  const [a, b] = x as readonly [Value, Value];
  const second = pick === "larger" ? g.less(a, b) : g.greater(a, b);
  return [wanted[0] ? g.where(second, 0, dy) : undefined, wanted[1] ? g.where(second, dy, 0) : undefined];
}

function concat({ g, node, x, dy }: RuleContext): Gradients {
  const axis = axisOf(node, dy);
  return g.split(
    dy,
    x.map(({ shape }) => fixedSize(shape[axis], node.name)),
    axis,
  );
}

/** The parts' gradients side by side, zeros for parts that reach no loss. */
function split({ g, node, grads }: RuleContext): Gradients {
  const axis = axisOf(node, node.outputs[0]!);
  const parts = node.outputs.map((output, index) => grads[index] ?? zerosOf(g, output, output.shape));
  return [g.concat(parts, axis), undefined];
}

function zerosOf(g: GraphBuilder, { dtype }: Value, shape: Shape): Value {
  return g.expand(g.scalar(0, dtype), shape);
}

/** Zeros around the gradient of the slice. */
function slice({ g, node, x, dy }: RuleContext): Gradients {
  const [start, end, axis] = [1, 2, 3].map((index) =>
    Number((x[index]!.constant!.data as BigInt64Array)[0]),
  ) as [number, number, number];
  const { shape } = x[0]!;
  const zeros = (size: number): Value[] => (size === 0 ? [] : [zerosOf(g, dy, shape.with(axis, size))]);
  const after = fixedSize(shape.at(axis), node.name) - end;
  return [g.concat([...zeros(start), dy, ...zeros(after)], axis), undefined, undefined, undefined];
}

/**
 * dA = dY·Bᵀ, dB = Aᵀ·dY. Where a rank-2 weight meets rows on more axes, the rows are flattened first, so that the
 * weight's gradient is one product instead of one an agent and a sum.
 */
function matMul({ g, x, dy, wanted }: RuleContext): Gradients {
  const [a, b] = x as readonly [Value, Value];
  const gradA = wanted[0] ? g.matMul(dy, g.transposeLast(b)) : undefined;
  if (!wanted[1]) return [gradA, undefined];
  if (b.shape.length > 2 || a.shape.length === 2) return [gradA, g.matMul(g.transposeLast(a), dy)];
  const rows = (value: Value): Value => {
    const width = value.shape.at(-1)!;
    return g.reshape(value, [fixedCount(value.shape, "MatMul") / fixedSize(width, "MatMul"), width]);
  };
  return [gradA, g.matMul(g.transposeLast(rows(a)), rows(dy))];
}

/**
 * With x̂ = (x − mean)·inv, dx̂ = dy·gain and means over the last axis:
 * dx = inv·(dx̂ − mean(dx̂) − x̂·mean(dx̂·x̂)), dgain = Σ dy·x̂, dbias = Σ dy.
 */
function layerNormalization({ g, node, x, dy, wanted }: RuleContext): Gradients {
  const [input, gain] = x as readonly [Value, Value];
  const [, mean, inverse] = node.outputs as readonly [Value, Value, Value];
  const last = [input.shape.length - 1];
  const normal = g.mul(g.sub(input, mean), inverse);
  const gradNormal = g.mul(dy, gain);
  const gradInput = (): Value => {
    const centred = g.sub(gradNormal, g.reduceMean(gradNormal, last, true));
    const along = g.mul(normal, g.reduceMean(g.mul(gradNormal, normal), last, true));
    return g.mul(g.sub(centred, along), inverse);
  };
  return [wanted[0] ? gradInput() : undefined, wanted[1] ? g.mul(dy, normal) : undefined, dy];
}

function axisOf(node: Node, value: Value): number {
  return normaliseAxis((node.attributes["axis"] as { int: number }).int, value.shape.length, node.name);
}

/** The gradient of a reduction with the reduced axes back as size 1. */
function keepAxes(g: GraphBuilder, node: Node, input: Value, dy: Value): Value {
  const constant = node.inputs[1]?.constant?.data as BigInt64Array | undefined;
  const axes = constant
    ? Array.from(constant, Number)
    : (node.attributes["axes"] as { ints: readonly number[] }).ints;
  const over = new Set(axes.map((axis) => normaliseAxis(axis, input.shape.length, node.name)));
  return g.reshape(
    dy,
    input.shape.map((size, axis) => (over.has(axis) ? 1 : size)),
  );
}
