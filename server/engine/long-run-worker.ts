/** The thread of `long-runs.ts`: keeps a session for each graph file and runs what it is sent, one after the other. */
import { parentPort, workerData } from "node:worker_threads";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import type { HostTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session } from "../../src/runtime/session.ts";
import type { GraphFile } from "./bound-graph.ts";
import type { LongRunReply, LongRunRequest, LongRunSettings } from "./long-runs.ts";

// Given by `LongRuns`.
const { device, threads } = workerData as LongRunSettings;
const runtime = createRuntime(device);
const sessions = new Map<string, { readonly session: Session; readonly sha256: string }>();

parentPort?.on("message", (request: LongRunRequest) => {
  if (request.kind === "forget") forget(request.path);
  else parentPort?.postMessage(run(request));
});

function run({ id, file, feeds }: Extract<LongRunRequest, { kind: "run" }>): LongRunReply {
  try {
    const session = open(file);
    const started = performance.now();
    // Outputs are on the host: none was asked to stay on a device.
    const outputs = session.run(feeds) as Record<string, HostTensor>;
    return { id, outputs, inferMs: performance.now() - started };
  } catch (error) {
    return { id, error: error instanceof Error ? error.message : String(error) };
  }
}

function open(file: GraphFile): Session {
  const known = sessions.get(file.path);
  if (known?.sha256 === file.sha256) return known.session;
  forget(file.path);
  const bytes = readFile(file.path, "graph");
  if (sha256(bytes) !== file.sha256) {
    throw new LorasaError("LORASA_CHECKSUM", { asked: "the graph's file", received: "other contents" });
  }
  const session = runtime.createSession(bytes, { threads, untrusted: true });
  sessions.set(file.path, { session, sha256: file.sha256 });
  return session;
}

function forget(path: string): void {
  sessions.get(path)?.session.dispose();
  sessions.delete(path);
}
