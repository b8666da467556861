/** A runtime that notes what each run carries between the host's memory and the device's. Nothing else is changed. */
import { DTYPES } from "../../src/base/tensor.ts";
import type { RunTensor, Runtime, Session } from "../../src/runtime/session.ts";

type Tensors = Readonly<Record<string, RunTensor | null>>;

/** The host's tensors of a run by name, with their bytes: what is on the device already costs nothing. */
export interface Traffic {
  readonly up: Readonly<Record<string, number>>;
  /** A fetch that nothing is given for comes down too: its bytes are not known and told as 0. */
  readonly down: Readonly<Record<string, number>>;
}

export interface TrafficRuntime extends Runtime {
  readonly runs: Traffic[];
  /** Tensors that were uploaded or allocated. */
  made: number;
}

export function trafficRuntime(runtime: Runtime): TrafficRuntime {
  const noted: TrafficRuntime = {
    backend: runtime.backend,
    device: runtime.device,
    get residentBytes() {
      return runtime.residentBytes;
    },
    runs: [],
    made: 0,
    createSession: (model, options) => noteRuns(runtime.createSession(model, options), noted.runs),
    upload: (tensor) => {
      noted.made += 1;
      return runtime.upload(tensor);
    },
    allocate: (dtype, dims) => {
      noted.made += 1;
      return runtime.allocate(dtype, dims);
    },
  };
  return noted;
}

function noteRuns(session: Session, runs: Traffic[]): Session {
  const { device, inputs, outputs, cpuNodes, sharedWeights } = session;
  const all = Object.fromEntries(outputs.map(({ name }) => [name, null]));
  return {
    device,
    inputs,
    outputs,
    cpuNodes,
    sharedWeights,
    run: (feeds, fetches) => {
      runs.push({ up: hostBytes(feeds), down: hostBytes(fetches ?? all) });
      return session.run(feeds, fetches);
    },
    bind: (feeds, fetches) => {
      const bound = session.bind(feeds, fetches);
      const traffic = { up: hostBytes(feeds), down: hostBytes(fetches) };
      return {
        run: () => {
          runs.push(traffic);
          bound.run();
        },
      };
    },
    dispose: () => session.dispose(),
  };
}

function hostBytes(tensors: Tensors): Record<string, number> {
  const host: Record<string, number> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor === null) host[name] = 0;
    else if ("data" in tensor) host[name] = tensor.data.length * DTYPES[tensor.dtype].bytes;
  }
  return host;
}
