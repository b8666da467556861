/** Counts and times of one served name since it was loaded, as the statistics extension reports them. */
import type { Duration, ModelStatistics } from "./service.ts";

/** How long each part of a batch took, in milliseconds. */
export interface BatchTimes {
  readonly input: number;
  readonly infer: number;
  readonly output: number;
}

/** Sizes of batches that are told apart; later ones are counted in the totals alone. */
const BATCH_SIZE_LIMIT = 64;

class Counter {
  count = 0;
  ms = 0;

  add(ms: number, count = 1): void {
    this.count += count;
    this.ms += ms * count;
  }

  get duration(): Duration {
    return { count: this.count, ns: Math.round(this.ms * 1e6) };
  }
}

interface Parts {
  readonly input: Counter;
  readonly infer: Counter;
  readonly output: Counter;
}

export class EndpointStatistics {
  readonly #success = new Counter();
  readonly #fail = new Counter();
  readonly #queue = new Counter();
  readonly #parts = newParts();
  readonly #batches = new Map<number, Parts>();
  #inferences = 0;
  #executions = 0;
  #lastMs = 0;

  /**
   * @param requests of this name that a batch answered, each of which took as long as the batch.
   * @param size their first axes together: environments or rows.
   */
  recordBatch(requests: number, size: number, times: BatchTimes): void {
    this.#executions += 1;
    this.#inferences += size;
    this.#lastMs = Date.now();
    addTimes(this.#parts, times, requests);
    let batch = this.#batches.get(size);
    if (batch === undefined && this.#batches.size < BATCH_SIZE_LIMIT) {
      batch = newParts();
      this.#batches.set(size, batch);
    }
    if (batch) addTimes(batch, times, 1);
  }

  /** @param totalMs from the request's arrival to its answer; @param queueMs the part before its batch began. */
  recordSuccess(totalMs: number, queueMs: number): void {
    this.#success.add(totalMs);
    this.#queue.add(queueMs);
  }

  recordFailure(totalMs: number): void {
    this.#fail.add(totalMs);
  }

  report(name: string, version: string, memory: ModelStatistics["memory_usage"]): ModelStatistics {
    const none = { count: 0, ns: 0 };
    return {
      name,
      version,
      last_inference: this.#lastMs,
      inference_count: this.#inferences,
      execution_count: this.#executions,
      inference_stats: {
        success: this.#success.duration,
        fail: this.#fail.duration,
        queue: this.#queue.duration,
        ...partDurations(this.#parts),
        cache_hit: none,
        cache_miss: none,
      },
      response_stats: {},
      batch_stats: [...this.#batches].map(([size, parts]) => ({ batch_size: size, ...partDurations(parts) })),
      memory_usage: memory,
    };
  }
}

function newParts(): Parts {
  return { input: new Counter(), infer: new Counter(), output: new Counter() };
}

function addTimes(parts: Parts, { input, infer, output }: BatchTimes, count: number): void {
  parts.input.add(input, count);
  parts.infer.add(infer, count);
  parts.output.add(output, count);
}

function partDurations({ input, infer, output }: Parts) {
  return {
    compute_input: input.duration,
    compute_infer: infer.duration,
    compute_output: output.duration,
  };
}
