/** The thread of `async-learner.ts`: answers one request at a time. */
import { parentPort, workerData } from "node:worker_threads";
import { createRuntime } from "../runtime/onnxruntime.ts";
import type { LearnerAnswer, LearnerRequest, ThreadLearnerOptions } from "./async-learner.ts";
import { Learner } from "./learner.ts";

// What a worker is given has no type of its own.
const options = workerData as ThreadLearnerOptions;
const learner = new Learner({ ...options, runtime: createRuntime("cpu") });

parentPort!.on("message", (request: LearnerRequest) => {
  parentPort!.postMessage(answer(request));
});

function answer(request: LearnerRequest): LearnerAnswer {
  try {
    const extra = perform(request);
    const carried = Object.fromEntries(
      Object.keys(options.carried ?? {}).map((name) => [name, learner.carried(name)]),
    );
    // What a worker trains is float32.
    const parameters = learner.parameters.download().data as Float32Array;
    return { parameters, carried, ...extra };
  } catch (error) {
    return { parameters: new Float32Array(), carried: {}, error: (error as Error).message };
  }
}

function perform(request: LearnerRequest): Partial<LearnerAnswer> {
  if (request.kind === "update") return { result: learner.update(request.batch, request.rates) };
  if (request.kind === "state") return { state: learner.state() };
  learner.restore(request.state);
  return {};
}
