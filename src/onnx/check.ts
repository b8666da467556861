/** Checks that a model is sound as a graph: names, order, sizes. Operators' own rules are checked where it is built. */
import { LorasaError } from "../base/errors.ts";
import { DTYPES, elementCount, formatDims, type HostTensor } from "../base/tensor.ts";
import type { OnnxModel, OnnxNode } from "./model.ts";

/**
 * Every value has one definition and is defined before it is read, outputs exist, and tensors hold what they say.
 * @throws LORASA_GRAPH naming the first fault.
 */
export function checkModel(model: OnnxModel): void {
  if (!Number.isInteger(model.opset) || model.opset < 1) {
    throw fault("operator set of ai.onnx", "a version from 1", `${model.opset}`);
  }
  const defined = new Set<string>();
  for (const { name } of model.inputs) define(defined, name, "input");
  for (const [name, tensor] of model.initializers) {
    define(defined, name, "initializer");
    checkTensor(`initializer ${name}`, tensor);
  }
  const nodeNames = new Set<string>();
  for (const node of model.nodes) {
    if (nodeNames.has(node.name)) throw fault(`node ${node.name}`, "a name of its own", "one that is taken");
    nodeNames.add(node.name);
    checkNode(node, defined);
  }
  checkOutputs(model, defined);
}

function checkNode(node: OnnxNode, defined: Set<string>): void {
  if (node.op === "") throw fault(`node ${node.name}`, "an operator", "none");
  for (const input of node.inputs) {
    if (input !== "" && !defined.has(input)) {
      throw fault(`node ${node.name}`, `input ${input} to be defined before it`, "no such value");
    }
  }
  for (const output of node.outputs) {
    if (output !== "") define(defined, output, `node ${node.name}, output`);
  }
  for (const [name, attribute] of Object.entries(node.attributes)) {
    if ("tensor" in attribute) checkTensor(`node ${node.name}, attribute ${name}`, attribute.tensor);
  }
}

function checkOutputs(model: OnnxModel, defined: ReadonlySet<string>): void {
  if (model.outputs.length === 0) throw fault(`graph ${model.name}`, "at least one output", "none");
  const seen = new Set<string>();
  for (const { name } of model.outputs) {
    if (seen.has(name)) throw fault(`output ${name}`, "one", "two of that name");
    if (!defined.has(name)) throw fault(`output ${name}`, "a value of the graph", "no such value");
    seen.add(name);
  }
}

function define(defined: Set<string>, name: string, what: string): void {
  if (name === "") throw fault(what, "a name", "none");
  if (defined.has(name)) throw fault(`${what} ${name}`, "a name of its own", "one that is taken");
  defined.add(name);
}

function checkTensor(asked: string, { dtype, dims, data }: HostTensor): void {
  const { array } = DTYPES[dtype];
  if (!(data instanceof array)) throw fault(asked, `${array.name} for ${dtype}`, data.constructor.name);
  if (data.length !== elementCount(dims)) {
    throw fault(asked, `${elementCount(dims)} values for ${formatDims(dims)}`, `${data.length}`);
  }
}

function fault(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_GRAPH", { asked, expected, received });
}
