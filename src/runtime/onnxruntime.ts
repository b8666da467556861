/** ONNX Runtime as a {@link Runtime}: this file and its folder are the only importers of onnxruntime-node. */
import { LorasaError } from "../base/errors.ts";
import { OnnxSession } from "./onnxruntime/graph-session.ts";
import { HostResident, hostZeros } from "./onnxruntime/host-memory.ts";
import { WeightPool } from "./onnxruntime/shared-weights.ts";
import { WebGpuMemory } from "./onnxruntime/webgpu-memory.ts";
import { DEVICES, type Device, type Runtime } from "./session.ts";

/**
 * A runtime on the device. Runtimes on `webgpu` are one and the same: a process has one such device.
 * @throws LORASA_DEVICE for a device of another name; whether it is there shows when a session or tensor is created.
 */
export function createRuntime(device: Device = "cpu"): Runtime {
  if (!DEVICES.includes(device)) {
    throw new LorasaError("LORASA_DEVICE", {
      asked: "creating a runtime",
      expected: `a device of ${DEVICES.join(", ")}`,
      received: `${device}`,
    });
  }
  if (device !== "webgpu") return hostRuntime(device);
  webGpu ??= webGpuRuntime();
  return webGpu;
}

let webGpu: Runtime | undefined;

/** Sessions read the host's memory; those on CUDA copy it at each run. */
function hostRuntime(device: Exclude<Device, "webgpu">): Runtime {
  return {
    backend: "onnxruntime",
    device,
    residentBytes: 0,
    createSession: (model, options = {}) => new OnnxSession(model, { device }, options),
    upload: (tensor) => new HostResident(tensor, device),
    allocate: (dtype, dims) => new HostResident(hostZeros(dtype, dims), device),
  };
}

function webGpuRuntime(): Runtime {
  const memory = new WebGpuMemory();
  const weights = new WeightPool((tensor) => memory.upload(tensor));
  return {
    backend: "onnxruntime",
    device: "webgpu",
    get residentBytes() {
      return memory.bytes;
    },
    createSession: (model, options = {}) => new OnnxSession(model, { device: "webgpu", weights }, options),
    upload: (tensor) => memory.upload(tensor),
    allocate: (dtype, dims) => memory.allocate(dtype, dims),
  };
}
