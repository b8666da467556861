/** The `config.pbtxt` of a merged graph, so that Triton's ONNX Runtime backend loads the folder as it is. */
import type { DType } from "../src/base/tensor.ts";
import type { OnnxModel, OnnxValueInfo } from "../src/onnx/model.ts";

const TYPES: Partial<Record<DType, string>> = { float32: "TYPE_FP32", int64: "TYPE_INT64" };

/**
 * Shapes are written whole, the batch as −1: `max_batch_size` 0 says that none is left out, which holds for any
 * number of rows and gives clients the same shapes as every other server of the graph.
 */
export function tritonConfig(model: OnnxModel, name: string): string {
  return [
    `name: "${name}"`,
    `platform: "onnxruntime_onnx"`,
    `backend: "onnxruntime"`,
    `default_model_filename: "model.onnx"`,
    "max_batch_size: 0",
    ...model.inputs.map((info) => tensor("input", info)),
    ...model.outputs.map((info) => tensor("output", info)),
    "version_policy: { latest: { num_versions: 1 } }",
    "",
  ].join("\n");
}

function tensor(kind: "input" | "output", { name, dtype, shape }: OnnxValueInfo): string {
  const dims = shape.map((size) => (typeof size === "number" ? size : -1)).join(", ");
  return `${kind} [ { name: "${name}" data_type: ${TYPES[dtype]} dims: [ ${dims} ] } ]`;
}
