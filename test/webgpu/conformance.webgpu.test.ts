/** ONNX Runtime on WebGPU as an executor: the tests that every executor takes. */
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { testExecutor } from "../conformance/executor.ts";
import { NO_HALF_PRECISION, NO_WEBGPU } from "../helpers/webgpu.ts";

testExecutor("onnxruntime webgpu", () => createRuntime("webgpu"), {
  skipAll: NO_WEBGPU,
  skip: {
    ...(NO_HALF_PRECISION && { "Cast 3, float16 [2]": NO_HALF_PRECISION }),
    "LayerNormalization 2, float32 [3, rows, 4]":
      "WebGPU's kernel takes a gain of the normalised sizes alone: graphs multiply by any other themselves",
    "an index out of range is one line of ours, and the session is still good":
      "WebGPU's kernels check no index: whoever feeds one has checked it",
  },
});
