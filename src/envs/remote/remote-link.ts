/** The trainer's end of the thread that simulators talk to: its messages, its failure, its end. Not the steps. */
import { once } from "node:events";
import { type MessagePort, receiveMessageOnPort, type Worker } from "node:worker_threads";
import { LorasaError } from "../../base/errors.ts";
import type { RemoteVectorEnvOptions } from "./remote-options.ts";
import type { RemoteReport, RemoteRequest } from "./remote-worker.ts";
import type { RemoteStatus } from "./simulators.ts";

/** How long the thread may take to end by itself. */
const END_MS = 5000;

/** The first simulator has told its spaces. */
export type Ready = Extract<RemoteReport, { kind: "ready" }>;

/** The thread's messages, read by the event loop or, while that is blocked, by {@link Link.drain}. */
export class Link {
  ready: Ready | undefined;
  address = "";
  status: RemoteStatus | undefined;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #options: RemoteVectorEnvOptions;
  #failure: LorasaError | undefined;
  #closing: Promise<void> | undefined;

  constructor(worker: Worker, port: MessagePort, options: RemoteVectorEnvOptions) {
    this.#worker = worker;
    this.#port = port;
    this.#options = options;
    port.on("message", (report: RemoteReport) => this.#take(report));
    worker.on("error", (error) => this.#fail(error.message));
    worker.on("exit", () => this.#fail("it ended"));
    // A forgotten environment does not keep a program alive; its callers' waits do.
    worker.unref();
    port.unref();
  }

  send(request: RemoteRequest): void {
    this.#port.postMessage(request);
  }

  drain(): void {
    for (let each = receiveMessageOnPort(this.#port); each; each = receiveMessageOnPort(this.#port)) {
      // Sent by our own thread alone.
      this.#take(each.message as RemoteReport);
    }
  }

  /** @throws what the thread failed with, LORASA_DISPOSED once closed. */
  expectSound(asked: string): void {
    if (this.#closing !== undefined) throw new LorasaError("LORASA_DISPOSED", { asked, received: "closed" });
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    if (this.#worker.threadId >= 0) {
      this.#worker.ref();
      this.send({ kind: "close" });
      const timer = setTimeout(() => void this.#worker.terminate(), END_MS);
      await once(this.#worker, "exit");
      clearTimeout(timer);
    }
    this.drain();
    this.#port.close();
  }

  #take(report: RemoteReport): void {
    const { onListening, onNote, onStatus } = this.#options;
    if (report.kind === "ready") this.ready = report;
    else if (report.kind === "note") onNote?.(report.line);
    else if (report.kind === "failed")
      this.#failure ??= new LorasaError(report.code, { asked: report.message });
    else if (report.kind === "listening") {
      this.address = report.address;
      onNote?.(`waiting for simulators on ${report.address}`);
      onListening?.(report.address);
    } else {
      this.status = report.status;
      onStatus?.(report.status);
    }
  }

  #fail(received: string): void {
    this.#failure ??= new LorasaError("LORASA_SIMULATOR", {
      asked: "the thread that simulators talk to",
      received,
      mend: "start training again from its checkpoint",
    });
  }
}
