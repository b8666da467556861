/**
 * When the requests of a model run: those that wait in the same turn of the event loop become one batch, across
 * clients and agents. Not what a batch does: see `batch.ts`.
 *
 * Batches that would hold the event loop for long go to a worker thread, so that health and metrics stay quick.
 */
import { LorasaError } from "../../src/base/errors.ts";
import { isDeviceError } from "../../src/runtime/probe.ts";
import type { BatchPlan, PolicyAnswer, PolicyRows } from "./batch.ts";
import type { EngineEvents } from "./events.ts";
import type { LongRuns } from "./long-runs.ts";
import type { BatchLayout } from "./placed-model.ts";
import { rowCount } from "./placement.ts";
import type { PolicyModel, PreparedRequest } from "./policy-model.ts";
import type { BatchTimes, EndpointStatistics } from "./statistics.ts";

export interface SchedulerOptions {
  /** Most rows of a batch of several requests. */
  readonly maxBatchRows: number;
  /** How long the first request of a batch waits for others, in microseconds. */
  readonly queueDelayUs: number;
  /** Expected run time from which a batch goes to a worker, in milliseconds. */
  readonly longRunMs: number;
  readonly longRuns: LongRuns;
  readonly events: EngineEvents;
}

/** A request that waits for its batch. */
export interface QueuedRequest {
  readonly prepared: PreparedRequest;
  /** 1 is the most urgent. */
  readonly priority: number;
  /** On the clock of `performance.now()`. */
  readonly queuedAt: number;
  /** When waiting any longer is of no use; infinite for never. */
  readonly deadline: number;
  cancelled(): boolean;
  /** @param startedAt when its batch began. */
  answered(answer: PolicyAnswer, startedAt: number): void;
  failed(error: unknown): void;
}

export class Scheduler {
  readonly #model: PolicyModel;
  readonly #options: SchedulerOptions;
  #queue: QueuedRequest[] = [];
  #scheduled = false;
  /** While a batch waits for others to join it. */
  #timer: NodeJS.Timeout | undefined;
  /** Requests of batches in the worker. */
  #away = 0;

  constructor(model: PolicyModel, options: SchedulerOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Requests that wait or run. */
  get pending(): number {
    return this.#queue.length + this.#away;
  }

  submit(request: QueuedRequest): void {
    this.#queue.push(request);
    if (this.#timer && this.#isFull()) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    } else if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    const leftMs = this.#delayLeftMs(now);
    if (leftMs > 0) {
      // Timers are a millisecond late at worst: the rest is waited for turn by turn.
      if (leftMs < 2) setImmediate(this.#turn);
      else this.#timer = setTimeout(this.#turn, leftMs - 1);
      return;
    }
    const batch = this.#takeBatch(now);
    if (batch.length > 0) this.#run(batch, now);
    this.#scheduled = this.#queue.length > 0;
    if (this.#scheduled) setImmediate(this.#turn);
  };

  /** How much longer a batch may wait for others to join it. */
  #delayLeftMs(now: number): number {
    const { queueDelayUs } = this.#options;
    const oldest = this.#queue[0];
    if (queueDelayUs === 0 || !oldest || this.#isFull()) return 0;
    return oldest.queuedAt + queueDelayUs / 1000 - now;
  }

  #isFull(): boolean {
    const rows = this.#queue.reduce((sum, request) => sum + rowsOf(request), 0);
    return rows >= this.#options.maxBatchRows;
  }

  /** The most urgent requests that fit into one batch; those that nobody waits for are answered here. */
  #takeBatch(now: number): QueuedRequest[] {
    const { maxBatchRows } = this.#options;
    const waiting = this.#inOrder();
    const batch: QueuedRequest[] = [];
    let rows = 0;
    let at = 0;
    for (; at < waiting.length; at++) {
      const request = waiting[at]!;
      if (request.cancelled()) this.#fail(request, gaveUp());
      else if (request.deadline < now) this.#fail(request, timedOut());
      else {
        rows += rowsOf(request);
        if (rows > maxBatchRows && batch.length > 0) break;
        batch.push(request);
      }
    }
    this.#queue = at === waiting.length ? [] : waiting.slice(at);
    return batch;
  }

  #inOrder(): QueuedRequest[] {
    const queue = this.#queue;
    const priority = queue[0]?.priority;
    if (queue.every((request) => request.priority === priority)) return queue;
    // The sort is stable: equals stay in the order of their arrival.
    return queue.sort((a, b) => a.priority - b.priority);
  }

  #run(batch: readonly QueuedRequest[], startedAt: number): void {
    const rows = batch.map(({ prepared }) => prepared.rows);
    try {
      const { placed } = this.#model;
      const layout = placed.layout(rows);
      // What lies in WebGPU's memory is this thread's.
      const canLeave = placed.device !== "webgpu";
      if (canLeave && layout.ms >= this.#options.longRunMs) this.#runAway(batch, rows, layout, startedAt);
      else this.#runHere(batch, rows, layout, startedAt);
    } catch (error) {
      this.#runApart(batch, error);
    }
  }

  #runHere(
    batch: readonly QueuedRequest[],
    rows: readonly PolicyRows[],
    layout: BatchLayout,
    startedAt: number,
  ): void {
    const plan = this.#model.placed.plan(rows, layout);
    const times = { input: 0, infer: 0, output: 0 };
    let before = performance.now();
    const lap = (): number => {
      const now = performance.now();
      const passed = now - before;
      before = now;
      return passed;
    };
    for (const { graph, leading, fixed, wanted, fill, read } of plan.runs) {
      const binding = graph.bind(leading, fixed, wanted);
      fill(binding);
      times.input += lap();
      binding.run();
      times.infer += lap();
      read(binding.outputs);
      times.output += lap();
    }
    this.#answer(batch, plan, times, startedAt);
  }

  #runAway(
    batch: readonly QueuedRequest[],
    rows: readonly PolicyRows[],
    layout: BatchLayout,
    startedAt: number,
  ): void {
    const plan = this.#model.placed.plan(rows, layout, true);
    this.#away += batch.length;
    this.#options.longRuns
      .run(plan.runs)
      .then((times) => {
        this.#away -= batch.length;
        this.#answer(batch, plan, times, startedAt);
      })
      .catch((error: unknown) => {
        this.#away -= batch.length;
        const moved = error instanceof LorasaError && error.code === "LORASA_CHECKSUM";
        if (!moved) throw error;
        // Another export took its file's place: the graph in memory still answers.
        this.#runHere(batch, rows, layout, startedAt);
      })
      .catch((error: unknown) => {
        for (const request of batch) this.#fail(request, error);
      });
  }

  /** One request must not fail those that came with it: each is tried alone. */
  #runApart(batch: readonly QueuedRequest[], error: unknown): void {
    if (batch.length > 1) for (const request of batch) this.#run([request], performance.now());
    else if (isDeviceError(error)) this.#recover(batch[0]!, error);
    else this.#fail(batch[0]!, error);
  }

  /** A device that failed may be gone: what it did not answer is run where the model goes on. */
  #recover(request: QueuedRequest, error: LorasaError): void {
    this.#away += 1;
    this.#model
      .recover()
      .catch(() => "lost" as const)
      .then((recovery) => {
        this.#away -= 1;
        if (recovery === "moved") this.#run([request], performance.now());
        else this.#fail(request, error);
      });
  }

  #answer(
    batch: readonly QueuedRequest[],
    { answers }: BatchPlan,
    times: BatchTimes,
    startedAt: number,
  ): void {
    this.#record(batch, times, startedAt);
    for (const [at, request] of batch.entries()) {
      this.#model.release(request.prepared);
      request.answered(answers[at]!, startedAt);
    }
  }

  #record(batch: readonly QueuedRequest[], times: BatchTimes, startedAt: number): void {
    const first = batch[0]!;
    const { statistics } = first.prepared.endpoint;
    if (batch.every(({ prepared }) => prepared.endpoint.statistics === statistics)) {
      statistics.recordBatch(batch.length, batchSize(batch), times);
    } else {
      for (const [each, requests] of byStatistics(batch)) {
        each.recordBatch(requests.length, batchSize(requests), times);
      }
    }
    this.#options.events.batch({
      model: this.#model.manifest.name,
      requests: batch.length,
      rows: batch.reduce((sum, request) => sum + rowsOf(request), 0),
      queueSeconds: (startedAt - first.queuedAt) / 1000,
      computeSeconds: times.infer / 1000,
    });
  }

  #fail(request: QueuedRequest, error: unknown): void {
    this.#model.release(request.prepared);
    request.failed(error);
  }
}

function byStatistics(batch: readonly QueuedRequest[]): Map<EndpointStatistics, QueuedRequest[]> {
  const groups = new Map<EndpointStatistics, QueuedRequest[]>();
  for (const request of batch) {
    const { statistics } = request.prepared.endpoint;
    const group = groups.get(statistics);
    if (group) group.push(request);
    else groups.set(statistics, [request]);
  }
  return groups;
}

/** First axes of the requests together: environments or rows. */
function batchSize(batch: readonly QueuedRequest[]): number {
  return batch.reduce((sum, { prepared }) => sum + prepared.leading[0]!, 0);
}

function rowsOf({ prepared }: QueuedRequest): number {
  return rowCount(prepared.rows.agents, prepared.rows.team);
}

function gaveUp(): LorasaError {
  return new LorasaError("LORASA_CANCELLED", { asked: "inference", received: "a client that went away" });
}

function timedOut(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "inference",
    expected: "a batch within the request's timeout",
    received: "a longer queue",
    mend: "try again, or allow more time",
  });
}
