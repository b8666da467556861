/** Whether a device runs graphs at this moment: the smallest one, from loading to its answer. Not how fast. */
import { LorasaError } from "../base/errors.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { Runtime } from "./session.ts";

/** Nothing where the device works, else what it says. */
export function deviceFault(runtime: Runtime): LorasaError | undefined {
  try {
    const session = runtime.createSession(encodeModel(doubling()));
    session.run({ x: { dtype: "float32", dims: [1], data: Float32Array.of(1) } });
    session.dispose();
    return undefined;
  } catch (error) {
    if (error instanceof LorasaError) return error;
    throw error;
  }
}

/** Whether a device, and not what it was asked for, is at fault. */
export function isDeviceError(error: unknown): error is LorasaError {
  return error instanceof LorasaError && error.code === "LORASA_DEVICE";
}

/** `y` = `x` + `x`. */
function doubling() {
  const value = (name: string) => ({ name, dtype: "float32" as const, shape: [1] });
  return {
    irVersion: 8,
    opset: 15,
    name: "probe",
    inputs: [value("x")],
    outputs: [value("y")],
    initializers: new Map(),
    nodes: [{ name: "add", op: "Add", inputs: ["x", "x"], outputs: ["y"], attributes: {} }],
    metadata: {},
  };
}
