/**
 * Rewrites what WebGPU has no kernel for, or one of bounded size, into operators that it runs. Values stay the same
 * to rounding. Not constants: see `shared-weights.ts`.
 */
import type { HostTensor } from "../../base/tensor.ts";
import type { OnnxModel, OnnxNode } from "../../onnx/model.ts";

/** Outputs of a Split that every device can bind beside its input: WebGPU guarantees eight storage buffers a shader. */
const SPLIT_OUTPUTS = 7;

/** A rewritten node: what takes its place, and the constants that this reads. */
interface Rewriting {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly (readonly [string, HostTensor])[];
}

type Rewrite = (node: OnnxNode, model: OnnxModel) => Rewriting | undefined;

const REWRITES: Readonly<Record<string, Rewrite>> = {
  LayerNormalization: layerNormalization,
  LogSoftmax: logSoftmax,
  Sign: sign,
  Split: wideSplit,
};

export function lowerForWebGpu(model: OnnxModel): OnnxModel {
  const nodes: OnnxNode[] = [];
  const initializers = new Map(model.initializers);
  for (const node of model.nodes) {
    const rewriting = Object.hasOwn(REWRITES, node.op) ? REWRITES[node.op]!(node, model) : undefined;
    nodes.push(...(rewriting?.nodes ?? [node]));
    for (const [name, tensor] of rewriting?.constants ?? []) initializers.set(name, tensor);
  }
  return { ...model, nodes, initializers };
}

/** A Slice for each output. */
function wideSplit(node: OnnxNode, { initializers }: OnnxModel): Rewriting | undefined {
  const sizes = initializers.get(node.inputs[1] ?? "");
  if (node.outputs.length <= SPLIT_OUTPUTS || !sizes) return undefined;
  const axis = intAttribute(node, "axis", 0);
  const constants: [string, HostTensor][] = [[`${node.name}/axis`, int64(axis)]];
  let start = 0;
  const nodes = Array.from(sizes.data, Number).map((size, at): OnnxNode => {
    const [from, to] = [`${node.name}/${at}/from`, `${node.name}/${at}/to`];
    constants.push([from, int64(start)], [to, int64(start + size)]);
    start += size;
    const inputs = [node.inputs[0]!, from, to, `${node.name}/axis`];
    return { name: `${node.name}/${at}`, op: "Slice", inputs, outputs: [node.outputs[at]!], attributes: {} };
  });
  return { nodes, constants };
}

/** x − max − ln Σ exp(x − max): the maximum is taken off first, so that no exponential overflows. */
function logSoftmax(node: OnnxNode): Rewriting {
  const axis = intAttribute(node, "axis", -1);
  const own = (name: string): string => `${node.name}/${name}`;
  const [x] = node.inputs as readonly [string];
  const step = (op: string, inputs: readonly string[], output: string): OnnxNode => ({
    name: own(op),
    op,
    inputs,
    outputs: [output],
    attributes: {},
  });
  const nodes: OnnxNode[] = [
    { ...step("ReduceMax", [x], own("max")), attributes: { axes: { ints: [axis] }, keepdims: { int: 1 } } },
    step("Sub", [x, own("max")], own("shifted")),
    step("Exp", [own("shifted")], own("exp")),
    { ...step("ReduceSum", [own("exp"), own("axes")], own("sum")), attributes: { keepdims: { int: 1 } } },
    step("Log", [own("sum")], own("log")),
    { ...step("Sub", [own("shifted"), own("log")], node.outputs[0]!), name: own("Sub_log") },
  ];
  return { nodes, constants: [[own("axes"), int64(axis)]] };
}

/**
 * Of x − mean instead of x: WebGPU's kernel takes the variance as a difference of squares, of which nothing is left
 * where a row's mean is much larger than its spread.
 */
function layerNormalization(node: OnnxNode): Rewriting | undefined {
  // Counted from the front it may be the first of several, which the shapes alone would tell.
  if (intAttribute(node, "axis", -1) !== -1) return undefined;
  const [x, ...scales] = node.inputs as readonly [string, ...string[]];
  const [y, mean, ...deviation] = node.outputs as readonly [string, ...string[]];
  const [average, centred] = [mean || `${node.name}/mean`, `${node.name}/centred`];
  const attributes = { axes: { ints: [-1] }, keepdims: { int: 1 } };
  const nodes: OnnxNode[] = [
    { name: `${node.name}/ReduceMean`, op: "ReduceMean", inputs: [x], outputs: [average], attributes },
    { name: `${node.name}/Sub`, op: "Sub", inputs: [x, average], outputs: [centred], attributes: {} },
    { ...node, inputs: [centred, ...scales], outputs: deviation.length > 0 ? [y, "", ...deviation] : [y] },
  ];
  return { nodes, constants: [] };
}

/** [x > −x] − [x < −x]: comparisons that need no constant, whose type would have to be x's. */
function sign(node: OnnxNode): Rewriting {
  const own = (name: string): string => `${node.name}/${name}`;
  const [x] = node.inputs as readonly [string];
  const step = (op: string, inputs: readonly string[], output: string): OnnxNode => {
    return { name: own(output), op, inputs, outputs: [own(output)], attributes: {} };
  };
  const nodes: OnnxNode[] = [
    step("Neg", [x], "negative"),
    step("Greater", [x, own("negative")], "isAbove"),
    step("Less", [x, own("negative")], "isBelow"),
    step("CastLike", [own("isAbove"), x], "above"),
    step("CastLike", [own("isBelow"), x], "below"),
    { ...step("Sub", [own("above"), own("below")], "sign"), outputs: [node.outputs[0]!] },
  ];
  return { nodes, constants: [] };
}

function intAttribute(node: OnnxNode, name: string, otherwise: number): number {
  const attribute = node.attributes[name];
  return attribute && "int" in attribute ? attribute.int : otherwise;
}

function int64(value: number): HostTensor {
  return { dtype: "int64", dims: [1], data: BigInt64Array.of(BigInt(value)) };
}
