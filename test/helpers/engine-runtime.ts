/** ONNX Runtime that tells a test of every run, and fails those that the test says. Nothing else is changed. */
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { RunTensor, Runtime, Session } from "../../src/runtime/session.ts";

type Feeds = Readonly<Record<string, RunTensor>>;

export interface WatchedRuntime extends Runtime {
  /** Sizes in front of the observations of each run, such as `2x3` of a team graph or `6` of rows. */
  readonly runs: string[];
  /** Called before each run with its inputs: what it throws is what the run throws. */
  before: (feeds: Feeds) => void;
}

export function watchedRuntime(): WatchedRuntime {
  const runtime = createRuntime();
  const watched: WatchedRuntime = {
    ...runtime,
    runs: [],
    before: () => {},
    createSession: (model, options) => watchSession(runtime.createSession(model, options), watched),
  };
  return watched;
}

function watchSession(session: Session, watched: WatchedRuntime): Session {
  return {
    device: session.device,
    inputs: session.inputs,
    outputs: session.outputs,
    cpuNodes: session.cpuNodes,
    sharedWeights: session.sharedWeights,
    run: (feeds, fetches) => session.run(feeds, fetches),
    bind: (feeds, fetches) => {
      const bound = session.bind(feeds, fetches);
      const leading = feeds["obs"]!.dims.slice(0, -1).join("x");
      return {
        run: () => {
          watched.runs.push(leading);
          watched.before(feeds);
          bound.run();
        },
      };
    },
    dispose: () => session.dispose(),
  };
}
