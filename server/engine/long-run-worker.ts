/** The thread of `long-runs.ts`: keeps a session for each graph and runs what it is sent, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import type { HostTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import type { LongRunReply, LongRunRequest, LongRunSettings } from "./long-runs.ts";

type Run = Extract<LongRunRequest, { kind: "run" }>;
type Load = Extract<LongRunRequest, { kind: "load" }>;

// Given by `LongRuns`.
const { threads } = workerData as LongRunSettings;
/** By SHA-256 of the graph's file: what was sent until its first run, then the session. */
const graphs = new Map<string, Load | Session>();

parentPort?.on("message", (request: LongRunRequest) => {
  if (request.kind === "load") graphs.set(request.sha256, request);
  else if (request.kind === "forget") forget(request.sha256);
  else parentPort?.postMessage(run(request));
});

function run({ id, sha256, feeds }: Run): LongRunReply {
  try {
    const session = open(sha256);
    const started = performance.now();
    // Outputs are on the host: none was asked to stay on a device.
    const outputs = session.run(feeds) as Record<string, HostTensor>;
    return { id, outputs, inferMs: performance.now() - started };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

function open(sha256: string): Session {
  // `LongRuns` sends a graph before its first run.
  const known = graphs.get(sha256)!;
  if (!("bytes" in known)) return known;
  const session = createRuntime(known.device).createSession(known.bytes, { threads, untrusted: true });
  graphs.set(sha256, session);
  return session;
}

function forget(sha256: string): void {
  const known = graphs.get(sha256);
  if (known && !("bytes" in known)) known.dispose();
  graphs.delete(sha256);
}
