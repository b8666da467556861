/** A device that is not there: kernels run on the CPU and say `webgpu`, until a test breaks it. */
import { LorasaError } from "../../src/base/errors.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime, Session } from "../../src/runtime/session.ts";

export interface DeviceRuntime extends Runtime {
  /** Whether every run fails, as on a device that was lost. */
  lost: boolean;
  /** Sizes in front of the observations from which a run fails, as without room in memory. */
  rowLimit: number;
  /** How long each bound run takes at least. */
  delayMs: number;
  /** Bound runs that the device did. */
  runs: number;
}

export function deviceRuntime(): DeviceRuntime {
  const cpu = createRuntime();
  const device: DeviceRuntime = {
    ...cpu,
    device: "webgpu",
    lost: false,
    rowLimit: Number.POSITIVE_INFINITY,
    delayMs: 0,
    runs: 0,
    createSession: (model, options) => {
      if (device.lost) throw lostDevice();
      return deviceSession(cpu.createSession(model, options), device);
    },
  };
  return device;
}

export function lostDevice(received = "a device that was lost"): LorasaError {
  return new LorasaError("LORASA_DEVICE", { asked: "running a graph on device webgpu", received });
}

function deviceSession(session: Session, device: DeviceRuntime): Session {
  const check = (rows = 0): void => {
    if (device.lost) throw lostDevice();
    if (rows >= device.rowLimit) throw lostDevice("no room in the device's memory");
  };
  return {
    device: "webgpu",
    inputs: session.inputs,
    outputs: session.outputs,
    cpuNodes: [],
    sharedWeights: [],
    run: (feeds, fetches) => {
      check();
      return session.run(feeds, fetches);
    },
    bind: (feeds, fetches) => {
      const bound = session.bind(feeds, fetches);
      const rows = feeds["obs"]?.dims.slice(0, -1).reduce((product, size) => product * size, 1);
      return {
        run: () => {
          check(rows);
          device.runs += 1;
          const end = performance.now() + device.delayMs;
          while (performance.now() < end);
          bound.run();
        },
      };
    },
    dispose: () => session.dispose(),
  };
}
