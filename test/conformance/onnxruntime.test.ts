/** ONNX Runtime on the CPU as an executor. */
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { testExecutor } from "./executor.ts";

testExecutor("onnxruntime cpu", () => createRuntime("cpu"));
