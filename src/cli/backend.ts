/** Which library runs a command's graphs, and on which device: the flags, and the runtime that they ask for. */
import { type Command, Option } from "commander";
import { LorasaError } from "../base/errors.ts";
import {
  candidates,
  choiceText,
  DEVICE_CHOICES,
  type DeviceChoice,
  type DeviceTime,
  faultText,
  quickest,
} from "../runtime/choose.ts";
import { createRuntime } from "../runtime/onnxruntime.ts";
import { isDeviceError } from "../runtime/probe.ts";
import { BACKENDS, type Backend, type Device, type Runtime } from "../runtime/session.ts";
import type { LibraryName } from "../runtime/tensorflow/load.ts";
import { createTensorflowRuntime } from "../runtime/tensorflow/runtime.ts";

export interface RuntimeFlags {
  readonly backend: Backend;
  readonly device?: DeviceChoice;
}

/** What is measured where the quickest device is asked for. */
export interface DeviceTest {
  /** For a person, such as `an iteration`. */
  readonly what: string;
  /** Milliseconds. */
  measure(runtime: Runtime): number;
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
        "where the graphs run; auto measures it (default: cpu, or with --backend tensorflow the fastest)",
      ).choices(DEVICE_CHOICES),
    )
    .addOption(
      new Option("--backend <name>", "library that runs the graphs").choices(BACKENDS).default("onnxruntime"),
    );
}

/**
 * The runtime that the flags ask for.
 * @param onNote told in one line what was picked and why, where there was a choice.
 * @throws LORASA_DEVICE for a device that the library does not have, or a library that is not installed.
 */
export async function openRuntime(
  { backend, device }: RuntimeFlags,
  test: DeviceTest,
  onNote: (line: string) => void,
): Promise<Runtime> {
  if (backend === "tensorflow") return openTensorflow(device, onNote);
  return device === "auto" ? quickestRuntime(test, onNote) : createRuntime(device);
}

/** @throws LORASA_DEVICE, as {@link openRuntime}. */
export async function openTensorflow(
  device: DeviceChoice | undefined,
  onNote: (line: string) => void,
): Promise<Runtime> {
  if (device === "webgpu") {
    throw new LorasaError("LORASA_DEVICE", {
      asked: "--backend tensorflow",
      expected: "--device cpu or cuda",
      received: "--device webgpu",
      mend: "WebGPU is ONNX Runtime's: leave out --backend",
    });
  }
  const named = device === "auto" ? undefined : device;
  const runtime = await createTensorflowRuntime(named && TENSORFLOW_LIBRARIES[named]);
  onNote(runtime.note);
  return runtime;
}

function quickestRuntime({ what, measure }: DeviceTest, onNote: (line: string) => void): Runtime {
  const runtimes = candidates("auto");
  const times = runtimes.map((runtime): DeviceTime => {
    const { device } = runtime;
    try {
      return { device, ms: measure(runtime) };
    } catch (error) {
      if (!isDeviceError(error)) throw error;
      return { device, fault: faultText(error) };
    }
  });
  onNote(`device ${choiceText(what, times)}`);
  return runtimes.find(({ device }) => device === quickest(times))!;
}
