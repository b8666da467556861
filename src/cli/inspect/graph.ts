/** What an ONNX graph takes, gives and says of itself. */
import { readFile } from "../../base/files.ts";
import { formatDims } from "../../base/tensor.ts";
import { printModel } from "../../graph/finish.ts";
import { decodeModel } from "../../onnx/decode.ts";
import type { OnnxValueInfo } from "../../onnx/model.ts";
import { exactBytes, exactCount, factLines, type Inspection, paragraphs, textTable } from "./inspection.ts";

/** Metadata longer than this is cut on the terminal; `--json` has it whole. */
const LONGEST_VALUE = 90;

/**
 * @param print whether every node is written out.
 * @throws LORASA_FILE for what is no ONNX model, or one with parts that lorasa does not use.
 */
export function inspectGraph(path: string, print: boolean): Inspection {
  const bytes = readFile(path, "graph");
  const model = decodeModel(bytes, path);
  const constants = [...model.initializers.values()];
  const parameters = constants
    .filter(({ dtype }) => dtype.startsWith("float"))
    .reduce((sum, { data }) => sum + data.length, 0);
  const operators = countOperators(model.nodes.map(({ op }) => op));
  const info = ({ name, dtype, shape }: OnnxValueInfo) => ({ name, dtype, shape });
  const [inputs, outputs] = [model.inputs.map(info), model.outputs.map(info)];
  const table = (title: string, infos: typeof inputs): string =>
    textTable(
      [title, "type", "shape"],
      infos.map(({ name, dtype, shape }) => [name, dtype, formatDims(shape)]),
    );
  const metadata = Object.entries(model.metadata).map(([name, value]) => [name, shortened(value)]);
  const text = paragraphs(
    factLines({
      "an ONNX graph": model.name,
      size: exactBytes(bytes.length),
      format: `operator set ${model.opset}, IR ${model.irVersion}`,
      constants: `${constants.length}, ${exactCount(parameters)} floating-point numbers`,
      nodes: `${model.nodes.length}: ${Object.entries(operators)
        .map(([op, count]) => `${op} ${count}`)
        .join(", ")}`,
    }),
    table("input", inputs),
    table("output", outputs),
    metadata.length === 0 ? "" : factLines(Object.fromEntries(metadata)),
    print ? printModel(model) : "",
  );
  const { name, opset, irVersion } = model;
  return {
    json: {
      kind: "onnx",
      name,
      bytes: bytes.length,
      opset,
      irVersion,
      parameters,
      inputs,
      outputs,
      operators,
      metadata: model.metadata,
      ...(print && { graph: printModel(model) }),
    },
    text,
  };
}

/** Most frequent first. */
function countOperators(operators: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const op of operators) counts.set(op, (counts.get(op) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1)));
}

function shortened(value: string): string {
  return value.length <= LONGEST_VALUE ? value : `${value.slice(0, LONGEST_VALUE)}…`;
}
