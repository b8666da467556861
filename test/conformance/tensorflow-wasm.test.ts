/** TensorFlow.js's wasm kernels as an executor. */
import { createTensorflowRuntime } from "../../src/runtime/tensorflow/runtime.ts";
import { testExecutor } from "./executor.ts";

testExecutor("tensorflow wasm", () => createTensorflowRuntime(["wasm"]), {
  skip: { "Cast 3, float16 [2]": "TensorFlow.js has no half precision" },
});
