/** Runs graphs in a worker thread, for batches that would hold the event loop for long. Not which those are. */
import { readFile } from "node:fs/promises";
import type { Worker } from "node:worker_threads";
import { LorasaError } from "../../src/base/errors.ts";
import { sha256 } from "../../src/base/files.ts";
import type { HostTensor } from "../../src/base/tensor.ts";
import { startWorker } from "../../src/base/worker.ts";
import type { Device } from "../../src/runtime/session.ts";
import type { GraphRun } from "./batch.ts";
import type { BoundGraph, GraphFile } from "./bound-graph.ts";
import type { RowBlock } from "./placement.ts";
import type { BatchTimes } from "./statistics.ts";

/** What the worker is asked of the graph whose file has a SHA-256: load it, run it, or forget it. */
export type LongRunRequest =
  | {
      readonly kind: "run";
      readonly id: number;
      readonly sha256: string;
      readonly feeds: Readonly<Record<string, HostTensor>>;
    }
  | {
      readonly kind: "load";
      readonly sha256: string;
      readonly bytes: Uint8Array;
      readonly device: Device;
    }
  | { readonly kind: "forget"; readonly sha256: string };

export type LongRunReply =
  | {
      readonly id: number;
      readonly outputs: Readonly<Record<string, HostTensor>>;
      readonly inferMs: number;
    }
  | { readonly id: number; readonly error: string };

export interface LongRunSettings {
  readonly threads: number;
}

interface Waiting {
  resolve(reply: Extract<LongRunReply, { outputs: unknown }>): void;
  reject(error: unknown): void;
}

/** Owns its thread, which starts with the first run, until `close`. */
export class LongRuns {
  readonly #settings: LongRunSettings;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  /** SHA-256 of the graphs that the worker has. */
  readonly #sent = new Set<string>();
  #lastId = 0;

  constructor(settings: LongRunSettings) {
    this.#settings = settings;
  }

  /**
   * Fills and runs the runs of a plan; their answers are read when it settles.
   * @throws LORASA_CHECKSUM when a graph's file is not the one any more, LORASA_GRAPH when it cannot be run,
   *   LORASA_UNAVAILABLE when the thread ended.
   */
  async run(runs: readonly GraphRun[]): Promise<BatchTimes> {
    let [input, infer, output] = [0, 0, 0];
    for (const run of runs) {
      const started = performance.now();
      const feeds = fillFeeds(run);
      input += performance.now() - started;
      const reply = await this.#ask(run.graph, feeds);
      infer += reply.inferMs;
      const answered = performance.now();
      run.read(outputBlocks(reply.outputs));
      output += performance.now() - answered;
    }
    return { input, infer, output };
  }

  /** Frees the session of a graph; another model's run of the same one loads it again. */
  forget(sha256: string): void {
    if (this.#sent.delete(sha256))
      this.#worker?.postMessage({ kind: "forget", sha256 } satisfies LongRunRequest);
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
    this.#failAll(ended());
  }

  async #ask({ file, session }: BoundGraph, feeds: Readonly<Record<string, HostTensor>>) {
    const worker = await this.#workerWith(file, session.device);
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise<Extract<LongRunReply, { outputs: unknown }>>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      worker.postMessage({ kind: "run", id, sha256: file.sha256, feeds } satisfies LongRunRequest);
    });
  }

  /** The thread, once it has the graph; another one when it ends while the graph's file is read. */
  async #workerWith(file: GraphFile, device: Device): Promise<Worker> {
    const { sha256 } = file;
    this.#worker ??= this.#start();
    const worker = this.#worker;
    if (this.#sent.has(sha256)) return worker;
    const bytes = await readGraph(file);
    if (this.#worker !== worker) return this.#workerWith(file, device);
    if (!this.#sent.has(sha256)) {
      worker.postMessage({ kind: "load", sha256, bytes, device } satisfies LongRunRequest);
      this.#sent.add(sha256);
    }
    return worker;
  }

  #start(): Worker {
    this.#sent.clear();
    const worker = startWorker(import.meta.url, "./long-run-worker", this.#settings);
    worker.unref();
    worker.on("message", (reply: LongRunReply) => this.#receive(reply));
    // The next long batch starts another thread.
    const lost = (): void => {
      if (this.#worker === worker) this.#worker = undefined;
      this.#failAll(ended());
    };
    worker.on("error", lost);
    worker.on("exit", lost);
    return worker;
  }

  #receive(reply: LongRunReply): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (!waiting) return;
    if ("outputs" in reply) waiting.resolve(reply);
    else waiting.reject(new LorasaError("LORASA_GRAPH", { asked: "a long run", received: reply.error }));
  }

  #failAll(error: unknown): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** The graph as it was loaded; another export may have taken its place. */
async function readGraph({ path, sha256: expected }: GraphFile): Promise<Uint8Array> {
  const bytes = await readFile(path).catch(() => undefined);
  if (bytes && sha256(bytes) === expected) return bytes;
  throw new LorasaError("LORASA_CHECKSUM", {
    asked: "the graph of a long run",
    expected: "the file that it was loaded from",
    received: bytes ? "another" : "none",
  });
}

/** The run's inputs in buffers of their own, and its adapters. */
function fillFeeds({ graph, leading, fixed, fill }: GraphRun): Record<string, HostTensor> {
  const buffers = graph.buffers(leading);
  fill(buffers);
  // Long runs are of graphs that read the host's memory.
  const feeds = { ...fixed } as Record<string, HostTensor>;
  for (const [name, { data, width }] of Object.entries(buffers.inputs)) {
    feeds[name] = { dtype: "float32", dims: [...leading, width], data };
  }
  for (const [name, data] of Object.entries(buffers.indices))
    feeds[name] = { dtype: "int64", dims: leading, data };
  return feeds;
}

function outputBlocks(
  outputs: Readonly<Record<string, HostTensor>>,
): Record<string, RowBlock<Float32Array | BigInt64Array>> {
  return Object.fromEntries(
    Object.entries(outputs).map(([name, { data, dims }]) => [
      name,
      // BoundGraph refused outputs of any other type when the model was loaded.
      { data: data as Float32Array | BigInt64Array, width: dims.at(-1)! },
    ]),
  );
}

function ended(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "a long run",
    expected: "a thread that runs it",
    received: "one that ended",
    mend: "try again",
  });
}
