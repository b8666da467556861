/**
 * The graphs of `precision.ts`: one agent's merged network in float32, in float16 as it is exported, and with the 8-bit
 * weights that exports do not write, in the two ways that ONNX's operators have.
 */
import onnxProto from "onnx-proto";
import { mergedGraph } from "../../exporters/graphs.ts";
import type { Team } from "../../models/team.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { randomTeam } from "../helpers/team.ts";

const { onnx } = onnxProto;
type Graph = onnxProto.onnx.IGraphProto;
type Node = onnxProto.onnx.INodeProto;
type Tensor = onnxProto.onnx.ITensorProto;

export const OBSERVATION = 17;
const ACTIONS = 6;
const { FLOAT, INT8 } = onnx.TensorProto.DataType;
const { INT } = onnx.AttributeProto.AttributeType;

/** How weights are held, and what multiplies them. */
export const FORMS = {
  fp32: (team: Team) => encodeModel(mergedGraph(team, 0)),
  fp16: (team: Team) => encodeModel(mergedGraph(team, 0, { precision: "fp16" })),
  /** Weight-only: `DequantizeLinear` and `MatMul`. */
  "int8 weights": (team: Team) => quantised(team, dequantised),
  /** Activations too, by their range in each run: `DynamicQuantizeLinear` and `MatMulInteger`. */
  "int8 products": (team: Team) => quantised(team, integerProduct),
} as const;

export type Form = keyof typeof FORMS;

/** A squashed Gaussian of two hidden layers whose numbers are about as large as trained ones. */
export function benchTeam(hidden: number): Team {
  const team = randomTeam({
    observationSizes: [OBSERVATION],
    actionSizes: [ACTIONS],
    hidden: [hidden, hidden],
    sharing: "shared",
    head: "squashed-gaussian",
  });
  const { backbone } = team.parameters;
  for (const { name, shape } of backbone.specs.filter((spec) => spec.shape.length === 2)) {
    // Random numbers of spread 0.25 at most: a row's product keeps its size.
    const gain = Math.min(1, 4 / Math.sqrt(shape[0]!));
    const { data } = backbone.view(team.backbone, name);
    for (let k = 0; k < data.length; k++) data[k]! *= gain;
  }
  return team;
}

/** Replaces a product whose right side is the weight; gives the nodes that make its output. */
type Product = (node: Node, weight: string, graph: Graph) => Node[];

/** ONNX's 8-bit integers are none of the project's element types: the bytes are changed, not the typed view. */
function quantised(team: Team, product: Product): Uint8Array {
  const model = onnx.ModelProto.decode(FORMS.fp32(team));
  const graph = model.graph!;
  const weights = new Map(graph.initializer!.map((tensor) => [tensor.name!, tensor]));
  graph.node = graph.node!.flatMap((node) => {
    const weight = node.opType === "MatMul" ? weights.get(node.input![1]!) : undefined;
    if (!weight) return [node];
    quantise(weight, graph);
    return product(node, weight.name!, graph);
  });
  return onnx.ModelProto.encode(model).finish();
}

/** W ≈ scale·W8, a scale a column, symmetric; the scales and zero become constants of their own. */
function quantise(weight: Tensor, graph: Graph): void {
  const [rows, columns] = weight.dims!.map(Number) as [number, number];
  const values = new Float32Array(Uint8Array.from(weight.rawData!).buffer);
  const scales = new Float32Array(columns);
  for (let k = 0; k < values.length; k++) {
    scales[k % columns] = Math.max(scales[k % columns]!, Math.abs(values[k]!) / 127);
  }
  const numbers = Int8Array.from(values, (value, k) => Math.round(value / scales[k % columns]!));
  Object.assign(weight, { dataType: INT8, rawData: new Uint8Array(numbers.buffer), dims: [rows, columns] });
  graph.initializer!.push({
    name: `${weight.name}/scale`,
    dims: [columns],
    dataType: FLOAT,
    rawData: new Uint8Array(scales.buffer),
  });
}

function dequantised({ name, input, output }: Node, weight: string): Node[] {
  const axis = [{ name: "axis", type: INT, i: 1 }];
  return [
    node("DequantizeLinear", [weight, `${weight}/scale`], [`${name}/weight`], axis),
    node("MatMul", [input![0]!, `${name}/weight`], output!),
  ];
}

function integerProduct({ name, input, output }: Node, weight: string): Node[] {
  const [x, xScale, xZero] = ["x", "x_scale", "x_zero"].map((part) => `${name}/${part}`) as [
    string,
    string,
    string,
  ];
  return [
    node("DynamicQuantizeLinear", [input![0]!], [x, xScale, xZero]),
    node("MatMulInteger", [x, weight, xZero], [`${name}/integers`]),
    node("Cast", [`${name}/integers`], [`${name}/numbers`], [{ name: "to", type: INT, i: FLOAT }]),
    node("Mul", [xScale, `${weight}/scale`], [`${name}/scale`]),
    node("Mul", [`${name}/numbers`, `${name}/scale`], output!),
  ];
}

function node(
  opType: string,
  input: string[],
  output: string[],
  attribute: onnxProto.onnx.IAttributeProto[] = [],
): Node {
  return { name: `${opType} ${output[0]}`, opType, input, output, attribute };
}
