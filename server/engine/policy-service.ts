/** The engine behind the server's doors: names, requests on their way through sequences and batches, statistics. */
import { LorasaError } from "../../src/base/errors.ts";
import { firstNonFinite } from "../../src/base/tensor.ts";
import type { InferRequest, ParameterValue } from "../protocol/request.ts";
import type { PolicyAnswer } from "./batch.ts";
import { type EngineEvents, NO_EVENTS } from "./events.ts";
import { LongRuns } from "./long-runs.ts";
import { type MemoryUse, totalBytes } from "./model-memory.ts";
import type { RowAgents } from "./placement.ts";
import type { Endpoint } from "./policy-model.ts";
import type { HeldState } from "./policy-request.ts";
import { type LoadedModel, ModelRepository, type RepositoryOptions } from "./repository.ts";
import { type SequenceCall, SequenceStore, sequenceOf } from "./sequences.ts";
import type {
  Adapters,
  IndexEntry,
  InferCall,
  InferResult,
  ModelStatistics,
  PolicyService,
  ServedModel,
} from "./service.ts";

export interface ServiceOptions extends Omit<RepositoryOptions, "scheduler" | "events"> {
  readonly events?: EngineEvents;
  /** Most requests of a model that wait or run. Default 4,096. */
  readonly queueLimit?: number;
  /** Most rows of a batch of several requests. Default 1,024. */
  readonly maxBatchRows?: number;
  /** How long the first request of a batch waits for others, in microseconds. Default 0: for the turn alone. */
  readonly queueDelayUs?: number;
  /** Expected run time from which a batch goes to a worker thread, in milliseconds. Default 5; none do on WebGPU. */
  readonly longRunMs?: number;
  /** Most live sequences. Default 65,536. */
  readonly sequenceLimit?: number;
  /** How long a sequence is kept without a request, in milliseconds. Default 60,000. */
  readonly sequenceIdleMs?: number;
}

/** Settings that clients are told of. */
export interface ServiceSettings {
  readonly queueLimit: number;
  readonly maxBatchRows: number;
  readonly queueDelayUs: number;
  readonly sequenceLimit: number;
  readonly sequenceIdleMs: number;
}

/** A request that says nothing, or 0, waits among those of level 2; 1 is more urgent, 3 and on less. */
const DEFAULT_PRIORITY = 2;

/** What a request was answered, and the wait before its batch began. */
interface Ran {
  readonly result: InferResult;
  /** `hidden_out`, whether it was asked for or not. */
  readonly hidden: Float32Array | undefined;
  readonly agents: RowAgents;
  readonly queuedMs: number;
}

/** A request on its way through the engine. */
interface Arrival {
  readonly endpoint: Endpoint;
  readonly loaded: LoadedModel;
  readonly request: InferRequest;
  readonly call: InferCall;
  /** On the clock of `performance.now()`. */
  readonly arrivedAt: number;
}

interface Answered extends Pick<Ran, "queuedMs"> {
  readonly answer: PolicyAnswer;
}

/** Owns the loaded models until `close`. */
export class LocalPolicyService implements PolicyService {
  readonly repository: ModelRepository;
  readonly settings: ServiceSettings;
  readonly sequences: SequenceStore;
  readonly #longRuns: LongRuns;
  readonly #sweep: NodeJS.Timeout;
  #ready = true;
  /** Requests that began and are not answered, wherever they wait. */
  #begun = 0;
  #idle: (() => void)[] = [];

  private constructor(
    repository: ModelRepository,
    settings: ServiceSettings,
    sequences: SequenceStore,
    longRuns: LongRuns,
  ) {
    this.repository = repository;
    this.settings = settings;
    this.sequences = sequences;
    this.#longRuns = longRuns;
    const everyMs = Math.min(Math.max(settings.sequenceIdleMs / 4, 10), 10_000);
    this.#sweep = setInterval(() => sequences.sweep(), everyMs).unref();
  }

  /** @throws what `ModelRepository.open` throws. */
  static async open(folder: string, options: ServiceOptions): Promise<LocalPolicyService> {
    const settings = {
      queueLimit: options.queueLimit ?? 4096,
      maxBatchRows: options.maxBatchRows ?? 1024,
      queueDelayUs: options.queueDelayUs ?? 0,
      sequenceLimit: options.sequenceLimit ?? 65_536,
      sequenceIdleMs: options.sequenceIdleMs ?? 60_000,
    };
    const events: EngineEvents = options.events ?? NO_EVENTS;
    const longRuns = new LongRuns({ threads: options.threads });
    const scheduler = { ...settings, longRunMs: options.longRunMs ?? 5, longRuns, events };
    const repository = await ModelRepository.open(folder, { ...options, events, scheduler });
    const sequences = new SequenceStore({
      count: settings.sequenceLimit,
      idleMs: settings.sequenceIdleMs,
    });
    return new LocalPolicyService(repository, settings, sequences, longRuns);
  }

  /** Not while a model's device is gone either: requests would only fail. */
  isReady(): boolean {
    return this.#ready && !this.repository.models.some(({ model }) => model.isLost);
  }

  /** Refuses inference from now on; what began is answered. */
  stop(): void {
    this.#ready = false;
  }

  async close(): Promise<void> {
    this.stop();
    clearInterval(this.#sweep);
    if (this.#begun > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    await this.#longRuns.close();
    await this.repository.close();
  }

  endpoint(name: string, version?: string): Endpoint {
    return this.repository.endpoint(name, version);
  }

  async infer(served: ServedModel, request: InferRequest, call: InferCall): Promise<InferResult> {
    if (!this.#ready) throw stopping();
    const arrivedAt = performance.now();
    const { endpoint, loaded } = this.#live(served);
    loaded.users += 1;
    this.#begun += 1;
    try {
      const { queueLimit } = this.settings;
      if (loaded.users > queueLimit) throw queueFull(loaded.model.manifest.name, queueLimit);
      const arrival = { endpoint, loaded, request, call, arrivedAt };
      const sequence = endpoint.model.recurrent ? sequenceOf(request.parameters) : undefined;
      const ran = sequence ? await this.#runInSequence(arrival, sequence) : await this.#run(arrival);
      endpoint.statistics.recordSuccess(performance.now() - arrivedAt, ran.queuedMs);
      return ran.result;
    } catch (error) {
      endpoint.statistics.recordFailure(performance.now() - arrivedAt);
      throw error;
    } finally {
      this.repository.leave(loaded);
      this.#begun -= 1;
      if (this.#begun === 0) for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  statistics(name?: string, version?: string): readonly ModelStatistics[] {
    const endpoints =
      name === undefined ? [...this.repository.endpoints.values()] : [this.endpoint(name, version)];
    return endpoints.map((endpoint) => {
      const { model, statistics } = endpoint;
      // Once a model: its agents share the memory.
      const memory = endpoint.name === model.manifest.name ? memoryUsage(model.memory) : [];
      return statistics.report(endpoint.name, model.manifest.version, memory);
    });
  }

  index(): readonly IndexEntry[] {
    return this.repository.index();
  }

  async load(name: string): Promise<void> {
    await this.repository.load(name);
    this.sequences.forget(name);
  }

  async unload(name: string): Promise<void> {
    await this.repository.unload(name);
    this.sequences.forget(name);
  }

  adapters(model: string): Adapters {
    const { manifest, registry } = this.repository.model(model);
    if (registry) return registry;
    throw new LorasaError("LORASA_ADAPTER", {
      asked: `adapters of ${manifest.name}`,
      expected: "a factored model",
      received: `a ${manifest.mode} one`,
      mend: "export it with --mode factored",
    });
  }

  /** The endpoint of this moment: a model may have been loaded again while a request was on its way. */
  #live(served: ServedModel): { endpoint: Endpoint; loaded: LoadedModel } {
    // Doors only have endpoints that this service gave them.
    const given = served as Endpoint;
    const loaded = this.repository.loadedOf(given.model);
    if (loaded) return { endpoint: given, loaded };
    const endpoint = this.endpoint(served.name);
    return { endpoint, loaded: this.repository.loadedOf(endpoint.model)! };
  }

  async #run({ endpoint, loaded, request, call, arrivedAt }: Arrival, held?: HeldState): Promise<Ran> {
    const { scheduler, model } = loaded;
    const { priority, timeoutMs } = urgency(request.parameters);
    const preparing = model.prepare(endpoint, request, held);
    const prepared = preparing instanceof Promise ? await preparing : preparing;
    const queuedAt = performance.now();
    const { answer, queuedMs } = await new Promise<Answered>((resolve, reject) => {
      scheduler.submit({
        prepared,
        priority,
        queuedAt,
        deadline: arrivedAt + timeoutMs,
        cancelled: call.cancelled,
        answered: (answer, startedAt) => resolve({ answer, queuedMs: startedAt - queuedAt }),
        failed: reject,
      });
    });
    // The policy's graphs give float32 states.
    const hidden = answer["hidden_out"]?.data as Float32Array | undefined;
    const { agents } = prepared.rows;
    return { result: model.result(prepared, request, answer), hidden, agents, queuedMs };
  }

  /** After the sequence's requests before it, with the state that they left. */
  async #runInSequence(arrival: Arrival, asked: SequenceCall): Promise<Ran> {
    const { endpoint } = arrival;
    const sequence = this.sequences.open(endpoint.name, asked);
    const before = sequence.tail;
    let done: () => void = () => {};
    sequence.tail = new Promise((resolve) => {
      done = resolve;
    });
    sequence.waiting += 1;
    try {
      await before;
      const ran = await this.#run(arrival, { hidden: sequence.hidden, agents: sequence.agents });
      this.sequences.keep(endpoint.name, asked, sequence, finiteState(endpoint.name, asked, ran.hidden!));
      sequence.agents = ran.agents;
      return ran;
    } finally {
      sequence.waiting -= 1;
      if (asked.end) this.sequences.end(endpoint.name, asked, sequence);
      done();
    }
  }
}

/** As the statistics extension has it: a device's memory only where there is some. */
function memoryUsage(uses: readonly MemoryUse[]): ModelStatistics["memory_usage"] {
  const device = totalBytes(uses, "device");
  const host = { type: "CPU", id: 0, byte_size: totalBytes(uses, "host") } as const;
  return device === 0 ? [host] : [host, { type: "GPU", id: 0, byte_size: device }];
}

/**
 * Priority level and timeout of a request.
 * @throws LORASA_REQUEST for values that are not whole numbers.
 */
function urgency(parameters: Readonly<Record<string, ParameterValue>>): {
  readonly priority: number;
  readonly timeoutMs: number;
} {
  const priority = wholeNumber(parameters, "priority") || DEFAULT_PRIORITY;
  const timeoutUs = wholeNumber(parameters, "timeout");
  return { priority, timeoutMs: timeoutUs === 0 ? Number.POSITIVE_INFINITY : timeoutUs / 1000 };
}

function wholeNumber(parameters: Readonly<Record<string, ParameterValue>>, name: string): number {
  const value = parameters[name] ?? 0;
  const number = typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new LorasaError("LORASA_REQUEST", {
    asked: `parameters.${name}`,
    expected: "a whole number",
    received: `${value}`.slice(0, 40),
  });
}

/**
 * A state that the next request can go on from; when there is none the sequence keeps the one before.
 * @throws LORASA_NOT_FINITE, also where the reply would not have held the state.
 */
function finiteState(model: string, { id }: SequenceCall, hidden: Float32Array): Float32Array {
  const at = firstNonFinite(hidden);
  // Of its own: the answer's memory holds every output of the request.
  if (at < 0) return hidden.slice();
  throw new LorasaError("LORASA_NOT_FINITE", {
    asked: `state of sequence ${id.slice(0, 80)} of ${model}`,
    expected: "finite numbers",
    received: `${hidden[at]} at element ${at}`,
  });
}

function queueFull(model: string, limit: number): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: `a place in the queue of ${model}`,
    expected: `fewer than ${limit} requests`,
    received: `${limit}`,
    mend: "try again, or start the server with a larger --queue-limit",
  });
}

function stopping(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "inference",
    expected: "a server that is ready",
    received: "one that is starting or stopping",
    mend: "try again",
  });
}
