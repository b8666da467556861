/** TensorFlow.js's cpu kernels as an executor. */
import { createTensorflowRuntime } from "../../src/runtime/tensorflow/runtime.ts";
import { testExecutor } from "./executor.ts";

testExecutor("tensorflow cpu", () => createTensorflowRuntime(["cpu"]), {
  skip: { "Cast 3, float16 [2]": "TensorFlow.js has no half precision" },
});
