/** What one model's requests, batches and adapters are recorded with: array writes, no names and no registry. */
import { Histogram } from "./histogram.ts";
import { METRICS } from "./metric-table.ts";
import { RateMeter } from "./rate-meter.ts";

/** One run of a model's graphs. */
export interface BatchRecord {
  readonly requests: number;
  /** Environments times agents, over all requests. */
  readonly rows: number;
  /** How long the one that waited longest did. */
  readonly queueSeconds: number;
  readonly computeSeconds: number;
}

export class ModelMeters {
  readonly request = new Histogram(METRICS.lorasa_request_duration_seconds.buckets);
  readonly queue = new Histogram(METRICS.lorasa_queue_seconds.buckets);
  /** By mode: a model may be exported anew in another one and loaded again. */
  readonly compute = new Map<string, Histogram>();
  reads = 0;
  readonly batchRows = new Histogram(METRICS.lorasa_batch_rows.buckets);
  readonly batchRequests = new Histogram(METRICS.lorasa_batch_requests.buckets);
  readonly swap = new Histogram(METRICS.lorasa_adapter_swap_seconds.buckets);
  readonly loads = { success: 0, failure: 0 };
  evictions = 0;
  readonly deviceFailures = { moved: 0, failed: 0 };
  readonly #requests = new RateMeter();
  readonly #rows = new RateMeter();
  readonly #modeOf: () => string;
  #compute: Histogram | undefined;

  /** @param modeOf how the model's graphs hold its adapters, such as `factored`; asked once a loading. */
  constructor(modeOf: () => string) {
    this.#modeOf = modeOf;
  }

  /** The model was loaded, perhaps in another mode. */
  loaded(): void {
    this.#compute = undefined;
  }

  /** A request answered, from the end of its headers to the reply handed on. */
  recordRequest(seconds: number): void {
    this.request.observe(seconds);
    this.#requests.count(0);
  }

  recordBatch({ requests, rows, queueSeconds, computeSeconds }: BatchRecord): void {
    this.queue.observe(queueSeconds);
    (this.#compute ?? this.#computeOfMode()).observe(computeSeconds);
    this.batchRows.observe(rows);
    this.batchRequests.observe(requests);
    this.#rows.count(rows);
  }

  /** An adapter made visible, from the moment it was checked. */
  recordSwap(seconds: number): void {
    this.swap.observe(seconds);
    this.loads.success += 1;
  }

  /** Hands on what a load of an adapter gives, and counts it when it is refused. */
  async watchLoad<T>(load: Promise<T>): Promise<T> {
    try {
      return await load;
    } catch (error) {
      this.loads.failure += 1;
      throw error;
    }
  }

  /** An adapter read from its files for a request. */
  recordRead(): void {
    this.reads += 1;
  }

  recordDeviceFailure(moved: boolean): void {
    this.deviceFailures[moved ? "moved" : "failed"] += 1;
  }

  recordEviction(): void {
    this.evictions += 1;
  }

  /** Averages over the last ten whole seconds. */
  perSecond(): { readonly requests: number; readonly rows: number } {
    return { requests: this.#requests.perSecond().requests, rows: this.#rows.perSecond().rows };
  }

  #computeOfMode(): Histogram {
    const mode = this.#modeOf();
    const known = this.compute.get(mode) ?? new Histogram(METRICS.lorasa_compute_seconds.buckets);
    this.compute.set(mode, known);
    this.#compute = known;
    return known;
  }
}
