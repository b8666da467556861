/** The backward walk: appends to a graph the nodes that compute a scalar's gradients. The rules are in `rules.ts`. */
import { LorasaError } from "../base/errors.ts";
import { formatDims } from "../base/tensor.ts";
import type { GraphBuilder } from "../graph/builder.ts";
import type { Node, Value } from "../graph/value.ts";
import { sameShape } from "../graph/value.ts";
import { GRADIENTS, type GradientRule } from "./rules.ts";

/**
 * Gradients of `loss` with respect to each of `targets`, of their shapes. Only nodes between a target and the loss
 * are walked: what is frozen costs nothing.
 * @param loss float32 scalar.
 * @throws LORASA_GRADIENT when the loss is not a scalar, does not depend on a target, or passes an op without a rule.
 */
export function gradients(g: GraphBuilder, loss: Value, targets: readonly Value[]): Value[] {
  if (loss.shape.length > 0) {
    throw new LorasaError("LORASA_GRADIENT", {
      asked: `gradient of ${loss.name}`,
      expected: "a scalar",
      received: formatDims(loss.shape),
    });
  }
  return g.scope("grad", () => {
    const depends = dependents(g, targets);
    const collected = new Map<Value, Value>([[loss, g.scalar(1, loss.dtype)]]);
    for (const node of g.nodes.toReversed()) backward(g, node, depends, collected);
    return targets.map((target) => found(collected, target, loss));
  });
}

/** Values that a small change of a target can move: what is computed from a comparison or an index is not. */
function dependents(g: GraphBuilder, targets: readonly Value[]): Set<Value> {
  const depends = new Set<Value>(targets);
  for (const node of g.nodes) {
    if (GRADIENTS[node.op].kind === "zero" || !node.inputs.some((input) => depends.has(input))) continue;
    for (const output of node.outputs) if (!g.isStopped(output)) depends.add(output);
  }
  return depends;
}

function backward(
  g: GraphBuilder,
  node: Node,
  depends: ReadonlySet<Value>,
  collected: Map<Value, Value>,
): void {
  // A stopped value can be a target itself, and still nothing passes it.
  const passes = (output: Value): boolean => depends.has(output) && !g.isStopped(output);
  const grads = node.outputs.map((output) => (passes(output) ? collected.get(output) : undefined));
  const wanted = node.inputs.map((input) => depends.has(input));
  if (!grads.some((grad) => grad) || !wanted.some((want) => want)) return;
  const rule: GradientRule = GRADIENTS[node.op];
  // Reached only where the node's output is itself a target.
  if (rule.kind === "zero") return;
  if (rule.kind === "forbidden") throw noRule(node, rule.why);
  if (node.op !== "Split" && grads.some((grad, index) => index > 0 && grad)) {
    throw noRule(node, "only its first output may reach the loss");
  }
  const results = rule.vjp({ g, node, x: node.inputs, y: node.outputs[0]!, dy: grads[0]!, grads, wanted });
  for (const [index, input] of node.inputs.entries()) {
    const result = results[index];
    if (!wanted[index] || !result) continue;
    const gradient = unbroadcast(g, result, input);
    const before = collected.get(input);
    collected.set(input, before ? g.add(before, gradient) : gradient);
  }
}

/** Sums over the axes along which the forward operator repeated the input. */
function unbroadcast(g: GraphBuilder, gradient: Value, input: Value): Value {
  if (sameShape(gradient.shape, input.shape)) return gradient;
  const added = gradient.shape.length - input.shape.length;
  // Added axes and repeated ones in one sum, over as few kernels as possible.
  const axes = gradient.shape.flatMap((size, axis) =>
    axis < added || input.shape[axis - added] !== size ? [axis] : [],
  );
  return g.reshape(axes.length === 0 ? gradient : g.reduceSum(gradient, axes, true), input.shape);
}

function found(collected: ReadonlyMap<Value, Value>, target: Value, loss: Value): Value {
  const gradient = collected.get(target);
  if (gradient) return gradient;
  throw new LorasaError("LORASA_GRADIENT", {
    asked: `gradient of ${loss.name} with respect to ${target.name}`,
    expected: "a path between them",
    received: "none",
  });
}

function noRule(node: Node, why: string): LorasaError {
  return new LorasaError("LORASA_GRADIENT", {
    asked: `gradient through ${node.op} ${node.name}`,
    received: why,
  });
}
