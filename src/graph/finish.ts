/** Turns a built graph into a model: only what the outputs need, in order; and prints it. */
import type { OnnxModel, OnnxNode } from "../onnx/model.ts";
import type { GraphBuilder } from "./builder.ts";
import { formatType, graphError, type Node, type Value } from "./value.ts";

/** IR version that opset 15 to 17 runtimes read; game engines refuse newer ones. */
const IR_VERSION = 8;

/**
 * The model of everything that outputs depend on. Inputs stay even when unused: they are the contract.
 * @throws LORASA_GRAPH when there is no output.
 */
export function finishGraph(
  g: GraphBuilder,
  name: string,
  metadata: Readonly<Record<string, string>> = {},
): OnnxModel {
  if (g.outputs.size === 0) throw graphError(`graph ${name}`, "at least one output", "none");
  const { nodes, constants, needed } = reachable(g);
  const named = nameOutputs(g);
  const label = (value: Value): string => named.renamed.get(value) ?? value.name;
  return {
    irVersion: IR_VERSION,
    opset: g.opset,
    name,
    metadata,
    inputs: g.inputs.map(({ name: inputName, dtype, shape }) => ({ name: inputName, dtype, shape })),
    outputs: [...g.outputs].map(([outputName, { dtype, shape }]) => ({ name: outputName, dtype, shape })),
    initializers: new Map(constants.map((value) => [value.name, value.constant!])),
    nodes: [...nodes.map((node) => onnxNode(node, needed, label)), ...named.copies],
  };
}

/** One line a node, the same text for the same graph. */
export function printModel(model: OnnxModel): string {
  const shapes = (infos: OnnxModel["inputs"]): string =>
    infos.map((info) => `  ${info.name}: ${formatType(info)}`).join("\n");
  const nodes = model.nodes.map((node) => {
    const attributes = Object.entries(node.attributes)
      .map(([key, value]) => ` ${key}=${JSON.stringify(Object.values(value)[0])}`)
      .join("");
    return `  ${node.outputs.join(", ")} = ${node.op}(${node.inputs.join(", ")})${attributes}`;
  });
  const constants = [...model.initializers].map(
    ([name, { dtype, dims }]) => `  ${name}: ${formatType({ dtype, shape: dims })}`,
  );
  return [
    `graph ${model.name} (opset ${model.opset})`,
    `inputs\n${shapes(model.inputs)}`,
    `constants\n${constants.join("\n")}`,
    `nodes\n${nodes.join("\n")}`,
    `outputs\n${shapes(model.outputs)}`,
  ].join("\n");
}

function reachable(g: GraphBuilder): { nodes: Node[]; constants: Value[]; needed: ReadonlySet<Value> } {
  const needed = new Set<Value>(g.outputs.values());
  const nodes: Node[] = [];
  for (const node of g.nodes.toReversed()) {
    if (!node.outputs.some((output) => needed.has(output))) continue;
    nodes.push(node);
    for (const input of node.inputs) needed.add(input);
  }
  return { nodes: nodes.reverse(), constants: [...needed].filter((value) => value.constant), needed };
}

/**
 * A computed value takes its output's name; an input, a constant, or a value that is an output twice is copied
 * by an Identity node.
 */
function nameOutputs(g: GraphBuilder): { renamed: Map<Value, string>; copies: OnnxNode[] } {
  const computed = new Set(g.nodes.flatMap((node) => node.outputs));
  const renamed = new Map<Value, string>();
  const copies: OnnxNode[] = [];
  for (const [name, value] of g.outputs) {
    if (computed.has(value) && !renamed.has(value)) renamed.set(value, name);
    else
      copies.push({
        name: `output/${name}`,
        op: "Identity",
        inputs: [renamed.get(value) ?? value.name],
        outputs: [name],
        attributes: {},
      });
  }
  return { renamed, copies };
}

/** LayerNormalization's moments are optional and left out where nothing reads them: some engines know only one output. */
function onnxNode(node: Node, needed: ReadonlySet<Value>, label: (value: Value) => string): OnnxNode {
  const last = node.outputs.findLastIndex((output) => needed.has(output));
  const outputs = node.op === "LayerNormalization" ? node.outputs.slice(0, last + 1) : node.outputs;
  return {
    name: node.name,
    op: node.op,
    inputs: node.inputs.map(label),
    outputs: outputs.map(label),
    attributes: node.attributes,
  };
}
