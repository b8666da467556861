/** A graph's nodes as steps, and those that some outputs need with what each is the last to read. Runs nothing. */
import { LorasaError, suggestion } from "../../base/errors.ts";
import type { HostTensor } from "../../base/tensor.ts";
import type { OnnxModel, OnnxNode } from "../../onnx/model.ts";
import { castType, HOST_INPUTS, OPERATORS, type Operator } from "./operators.ts";
import { checkType } from "./tensors.ts";

/** A node with its operator and what it reads. */
export interface Step {
  readonly node: OnnxNode;
  readonly run: Operator;
  /** By position: values to read; nothing for what is left out or read from `constants`. */
  readonly reads: readonly (string | undefined)[];
  readonly constants: readonly (HostTensor | undefined)[];
  /** Values but constants, read or made here, that no later node reads and no output is. */
  readonly releases: readonly string[];
}

/** Operator sets whose operators are those of the table. */
const OPSETS = { least: 13, most: 17 } as const;

/**
 * Every node as a step; releases are a plan's.
 * @throws LORASA_GRAPH for an operator, operator set or form of an operator that the table does not have; LORASA_DTYPE.
 */
export function stepsOf(model: OnnxModel): readonly Step[] {
  if (model.opset < OPSETS.least || model.opset > OPSETS.most) {
    throw unsupported("the graph", `operator set ${OPSETS.least} to ${OPSETS.most}`, `${model.opset}`);
  }
  for (const { name, dtype } of [...model.inputs, ...model.outputs]) checkType(dtype, `value ${name}`);
  for (const [name, { dtype }] of model.initializers) checkType(dtype, `constant ${name}`);
  return model.nodes.map((node) => stepOf(node, model));
}

/** The steps that `outputs` need, each with what it releases. */
export function planOf(steps: readonly Step[], outputs: readonly string[]): readonly Step[] {
  const needed = new Set(outputs);
  const planned: Step[] = [];
  for (const step of steps.toReversed()) {
    const made = step.node.outputs.filter((name) => name !== "");
    if (!made.some((name) => needed.has(name))) continue;
    const reads = step.reads.filter((name) => name !== undefined);
    const passing = reads.filter((name) => !step.constants[step.node.inputs.indexOf(name)]);
    const releases = [...new Set([...made, ...passing])].filter((name) => !needed.has(name));
    planned.push({ ...step, releases });
    for (const name of reads) needed.add(name);
  }
  return planned.reverse();
}

function stepOf(node: OnnxNode, model: OnnxModel): Step {
  const known = Object.keys(OPERATORS);
  if (!known.includes(node.op)) throw unsupported(`node ${node.name}`, "a known operator", node.op, known);
  if (node.op === "Cast") checkType(castType(node), `node ${node.name}`);
  requireForm(node);
  const constants = node.inputs.map((name) => model.initializers.get(name));
  const atHost = HOST_INPUTS[node.op] ?? [];
  const open = atHost.find((index) => node.inputs[index] && !constants[index]);
  if (open !== undefined)
    throw unsupported(`node ${node.name}`, `a constant as input ${open}`, node.inputs[open]!);
  return {
    node,
    run: OPERATORS[node.op as keyof typeof OPERATORS],
    reads: node.inputs.map((name, index) => (name === "" || atHost.includes(index) ? undefined : name)),
    constants,
    releases: [],
  };
}

/** What ONNX allows and no graph of lorasa has is refused where it would otherwise be passed over. */
function requireForm({ name, op, inputs, attributes }: OnnxNode): void {
  const mode = attributes["mode"];
  if (op === "Pad" && mode && !("string" in mode && mode.string === "constant"))
    throw unsupported(`node ${name}`, "mode constant", "another mode");
  if (op === "Slice" && inputs.length !== 4)
    throw unsupported(`node ${name}`, "starts, ends and axes", `${inputs.length} inputs`);
}

function unsupported(
  part: string,
  expected: string,
  received: string,
  known: readonly string[] = [],
): LorasaError {
  return new LorasaError("LORASA_GRAPH", {
    asked: `backend tensorflow, ${part}`,
    expected,
    received,
    mend: known.length > 0 ? suggestion(received, known) : "choose --backend onnxruntime",
  });
}
