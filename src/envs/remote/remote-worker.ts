/**
 * The thread that simulators talk to: its HTTP server, what the trainer asks of it, and the clock by which simulators
 * are given up. The trainer's side is `remote-vector.ts`.
 */
import type { AddressInfo } from "node:net";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { type ErrorCode, LorasaError } from "../../base/errors.ts";
import type { EnvSpec } from "../contract.ts";
import { allocateGroups, type GroupMemory, groupViews } from "../vector-memory.ts";
import { type Body, sequenceOf } from "./answer.ts";
import { type Command, encodeCommand } from "./command.ts";
import { createEdge } from "./http-edge.ts";
import { type Layout, layoutOf, numbersInMemory, numbersPerEnvironment } from "./layout.ts";
import { RemoteGroup } from "./remote-group.ts";
import { type RemoteStatus, Simulators } from "./simulators.ts";
import { PROTOCOL, parseRegistration, type Registration } from "./spaces.ts";

/** Given when the thread starts. */
export interface RemoteTask {
  readonly host: string;
  readonly port: number;
  readonly groups: number;
  /** In each group. */
  readonly envs: number;
  readonly token?: string;
  readonly timeoutMs: number;
  readonly pollMs: number;
  readonly noteMs: number;
}

/** What the trainer asks. */
export type RemoteRequest =
  | { readonly kind: "step"; readonly group: number }
  | { readonly kind: "reset"; readonly group: number; readonly seed: number }
  | { readonly kind: "close" };

/** What the thread tells. */
export type RemoteReport =
  | { readonly kind: "listening"; readonly address: string }
  | { readonly kind: "ready"; readonly spec: EnvSpec; readonly memory: RemoteMemory }
  | { readonly kind: "note"; readonly line: string }
  | { readonly kind: "status"; readonly status: RemoteStatus }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

/** Shared with the trainer's thread. */
export interface RemoteMemory {
  readonly groups: readonly GroupMemory[];
  /** int32 [groups + 1]: commands done, a group each; then 1 when the thread has failed. */
  readonly words: SharedArrayBuffer;
  /** float64 [1]: nanoseconds that simulators took, summed. */
  readonly nanoseconds: SharedArrayBuffer;
}

/** Bytes of the trainer's memory that a simulator's sizes may ask for. */
const MEMORY_LIMIT = 2 ** 31;
const BODY_LIMIT = 2 ** 30;
/** Most bytes of a number in JSON with its comma, and room for names and brackets. */
const JSON_BYTES = 32;
const HEADER_BYTES = 1 << 16;
/** How long those that compute are waited for at the end, and a reply that nobody takes. */
const GOODBYE_MS = 2000;
const FLUSH_MS = 200;
/** Between notes of the same wait. */
const NOTE_AGAIN_MS = 60_000;

class RemoteHost {
  readonly #task: RemoteTask;
  readonly #port: MessagePort;
  readonly #edge: ReturnType<typeof createEdge>;
  readonly #clock: NodeJS.Timeout;
  #layout: Layout | undefined;
  #simulators: Simulators | undefined;
  #words: Int32Array | undefined;
  #closing = false;
  #incompleteSince: number | undefined = performance.now();
  #notedAt = Number.NEGATIVE_INFINITY;
  #faultNoted = false;

  constructor(task: RemoteTask, port: MessagePort) {
    this.#task = task;
    this.#port = port;
    this.#edge = createEdge({
      routes: {
        answerLimit: () => this.#answerLimit(),
        status: () => this.#status(),
        register: (body) => this.#register(body),
        next: (name, body, reply, binary) => {
          const write = (command: Command): void => reply(encodeCommand(command, binary, this.#layout!));
          return this.#next(name, body, write);
        },
        leave: (name) => this.#known().leave(name),
      },
      ...(task.token !== undefined && { token: task.token }),
      timeoutMs: task.timeoutMs,
      onFault: (error) => this.#noteFault(error),
    });
    this.#clock = setInterval(() => this.#tick(), Math.min(1000, task.timeoutMs / 4, task.noteMs));
  }

  listen(): void {
    const { host, port } = this.#task;
    this.#edge.once("error", (cause: NodeJS.ErrnoException) => {
      const asked = `listening for simulators on ${host}:${port}`;
      const taken = cause.code === "EADDRINUSE";
      const error = new LorasaError("LORASA_PORT", {
        asked,
        received: taken ? "an address in use" : (cause.code ?? "an error"),
        mend: taken ? "end what uses it, or give another --listen" : "give another --listen",
      });
      this.fail(error);
    });
    this.#edge.listen(port, host, () => {
      // A server that listens on a port has an address of this form.
      const { address, family, port: actual } = this.#edge.address() as AddressInfo;
      const url = `http://${family === "IPv6" ? `[${address}]` : address}:${actual}`;
      this.#report({ kind: "listening", address: url });
    });
  }

  /** Does what the trainer asks. */
  take(request: RemoteRequest): void {
    if (request.kind === "close") this.#close();
    else if (request.kind === "step") this.#simulators!.step(request.group);
    else this.#simulators!.reset(request.group, request.seed);
  }

  /** Tells the trainer, even where it blocks, that nothing more will come. */
  fail(error: unknown): void {
    const code = error instanceof LorasaError ? error.code : "LORASA_SIMULATOR";
    this.#report({ kind: "failed", code, message: (error as Error).message });
    const words = this.#words;
    if (words === undefined) return;
    Atomics.store(words, this.#task.groups, 1);
    for (let word = 0; word < words.length; word++) Atomics.notify(words, word);
  }

  /** A request that we fail to answer is no reason to end a training. One note: a client may send it again and again. */
  #noteFault(error: unknown): void {
    if (this.#faultNoted) return;
    this.#faultNoted = true;
    const line = `a simulator's request failed and was answered 500: ${(error as Error).message}; others that fail are not noted`;
    this.#report({ kind: "note", line });
  }

  #register(body: unknown): object {
    if (this.#closing) throw over();
    const registration = parseRegistration(body);
    this.#simulators ??= this.#start(registration);
    const { name, environments } = this.#simulators.register(registration);
    if (registration.environments > environments && environments > 0) {
      const line = `simulator ${name} runs ${environments} of its ${registration.environments} environments: no more are needed`;
      this.#report({ kind: "note", line });
    }
    return { simulator: name, environments };
  }

  /** Takes the memory that the first simulator's spaces need, and lets the trainer start. */
  #start(registration: Registration): Simulators {
    const { groups, envs, timeoutMs } = this.#task;
    const layout = layoutOf(registration);
    const bytes = 4 * groups * envs * numbersInMemory(layout);
    if (bytes > MEMORY_LIMIT) {
      throw new LorasaError("LORASA_TOO_LARGE", {
        asked: `${groups * envs} environments of these sizes`,
        expected: `at most ${MEMORY_LIMIT} bytes for their observations and states`,
        received: `${bytes} bytes`,
      });
    }
    const memory: RemoteMemory = {
      groups: allocateGroups(registration.spec, groups, envs),
      words: new SharedArrayBuffer(4 * (groups + 1)),
      nanoseconds: new SharedArrayBuffer(8),
    };
    const words = new Int32Array(memory.words);
    const nanoseconds = new Float64Array(memory.nanoseconds);
    const complete = (group: number): void => {
      Atomics.add(words, group, 1);
      Atomics.notify(words, group);
    };
    this.#words = words;
    this.#layout = layout;
    this.#report({ kind: "ready", spec: registration.spec, memory });
    return new Simulators({
      registration,
      layout,
      groups: memory.groups.map(
        (group, index) => new RemoteGroup(layout, groupViews(layout.spec, group), () => complete(index)),
      ),
      envs,
      timeoutMs,
      now: () => performance.now(),
      onNote: (line) => this.#report({ kind: "note", line }),
      onStatus: (status) => this.#told(status),
      onSpent: (ms) => {
        nanoseconds[0]! += ms * 1e6;
      },
    });
  }

  /** A request waits for its command for so long, then is told to ask again: no proxy ends it. */
  #next(name: string, body: Body, write: (command: Command) => void): () => void {
    const simulators = this.#known();
    if (this.#closing) {
      simulators.goodbye(name);
      write({ kind: "close", sequence: 0 });
      return () => {};
    }
    const sequence = sequenceOf(body);
    let cancel = (): void => {};
    const timer = setTimeout(() => {
      cancel();
      write({ kind: "wait", sequence });
    }, this.#task.pollMs);
    try {
      cancel = simulators.next(name, sequence, body, (command) => {
        clearTimeout(timer);
        write(command);
      });
    } catch (error) {
      clearTimeout(timer);
      throw error;
    }
    return () => {
      clearTimeout(timer);
      cancel();
    };
  }

  #known(): Simulators {
    if (this.#simulators !== undefined) return this.#simulators;
    throw new LorasaError("LORASA_SIMULATOR", {
      asked: "simulator",
      expected: "one that is registered",
      received: "an unknown one",
      mend: "register again",
    });
  }

  #answerLimit(): number {
    if (this.#layout === undefined) return HEADER_BYTES;
    const { groups, envs } = this.#task;
    const numbers = groups * envs * numbersPerEnvironment(this.#layout);
    return Math.min(BODY_LIMIT, HEADER_BYTES + JSON_BYTES * numbers);
  }

  #status(): object {
    const status = this.#simulators?.status;
    const environments = this.#task.groups * this.#task.envs;
    return {
      protocol: PROTOCOL,
      task: this.#layout?.spec.name ?? null,
      environments,
      connected: status?.connected ?? 0,
      simulators: status?.simulators ?? 0,
      in_line: status?.inLine ?? 0,
    };
  }

  #told(status: RemoteStatus): void {
    this.#report({ kind: "status", status });
    const complete = status.connected === status.environments;
    if (complete && this.#notedAt > Number.NEGATIVE_INFINITY)
      this.#report({ kind: "note", line: `all ${status.environments} environments are connected` });
    if (complete) this.#notedAt = Number.NEGATIVE_INFINITY;
    this.#incompleteSince = complete ? undefined : (this.#incompleteSince ?? performance.now());
  }

  #tick(): void {
    this.#simulators?.expire();
    const now = performance.now();
    if (this.#closing || this.#incompleteSince === undefined) return;
    if (now - this.#incompleteSince < this.#task.noteMs || now - this.#notedAt < NOTE_AGAIN_MS) return;
    this.#notedAt = now;
    const environments = this.#task.groups * this.#task.envs;
    const connected = this.#simulators?.status.connected ?? 0;
    const line = `waiting for a simulator: ${connected} of ${environments} environments are connected`;
    this.#report({ kind: "note", line });
  }

  /** Simulators that wait are told at once, those that compute when they ask, for a while; then the thread ends. */
  #close(): void {
    if (this.#closing) return;
    this.#closing = true;
    clearInterval(this.#clock);
    const begun = performance.now();
    this.#simulators?.close();
    const end = setInterval(() => {
      const left = this.#simulators?.status.simulators ?? 0;
      if (left > 0 && performance.now() - begun < GOODBYE_MS) return;
      clearInterval(end);
      this.#edge.close();
      this.#edge.closeIdleConnections();
      setTimeout(() => this.#edge.closeAllConnections(), FLUSH_MS).unref();
      this.#port.close();
    }, 10);
  }

  #report(report: RemoteReport): void {
    this.#port.postMessage(report);
  }
}

function over(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", { asked: "registration", received: "training is over" });
}

parentPort?.once("message", (port: MessagePort) => {
  const host = new RemoteHost(workerData as RemoteTask, port);
  process.on("uncaughtException", (error) => host.fail(error));
  port.on("message", (request: RemoteRequest) => {
    try {
      host.take(request);
    } catch (error) {
      host.fail(error);
    }
  });
  host.listen();
});
