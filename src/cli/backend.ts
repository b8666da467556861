/** Which library runs a command's graphs, and on which device: the flags, and the runtime that they ask for. */
import { type Command, Option } from "commander";
import { LorasaError } from "../base/errors.ts";
import { createRuntime } from "../runtime/onnxruntime.ts";
import { BACKENDS, type Backend, DEVICES, type Device, type Runtime } from "../runtime/session.ts";
import type { LibraryName } from "../runtime/tensorflow/load.ts";
import { createTensorflowRuntime } from "../runtime/tensorflow/runtime.ts";

export interface RuntimeFlags {
  readonly backend: Backend;
  readonly device?: Device;
}

/** TensorFlow.js's libraries on a device, the fastest first; it has no WebGPU outside a browser. */
const TENSORFLOW_LIBRARIES: Readonly<Record<Device, readonly LibraryName[]>> = {
  cpu: ["node", "wasm", "cpu"],
  cuda: ["node-gpu"],
  webgpu: [],
};

/** Adds `--backend` and `--device`. */
export function addRuntimeOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--device <name>",
        "device (default: cpu, or with --backend tensorflow the fastest)",
      ).choices(DEVICES),
    )
    .addOption(
      new Option("--backend <name>", "library that runs the graphs").choices(BACKENDS).default("onnxruntime"),
    );
}

/**
 * The runtime that the flags ask for.
 * @param onNote told in one line which of TensorFlow.js's libraries was picked.
 * @throws LORASA_DEVICE for a device that the library does not have, or a library that is not installed.
 */
export async function openRuntime(
  { backend, device }: RuntimeFlags,
  onNote: (line: string) => void,
): Promise<Runtime> {
  if (backend === "onnxruntime") return createRuntime(device);
  if (device === "webgpu") {
    throw new LorasaError("LORASA_DEVICE", {
      asked: "--backend tensorflow",
      expected: "--device cpu or cuda",
      received: "--device webgpu",
      mend: "WebGPU is ONNX Runtime's: leave out --backend",
    });
  }
  const runtime = await createTensorflowRuntime(device && TENSORFLOW_LIBRARIES[device]);
  onNote(runtime.note);
  return runtime;
}
