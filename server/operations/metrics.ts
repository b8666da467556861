/** The server's metrics: recorded as requests pass, read when Prometheus asks. The table says what each means. */
import { ERROR_CODES } from "../../src/base/errors.ts";
import { VERSION } from "../../src/base/version.ts";
import type { AdapterEvent, EngineEvents } from "../engine/events.ts";
import type { MemoryUse } from "../engine/model-memory.ts";
import type { AdapterStatus, ModelStatistics } from "../engine/service.ts";
import { readEventLoop } from "./event-loop.ts";
import {
  type Exposition,
  type Family,
  histogramSamples,
  processFamilies,
  renderMetrics,
  type Sample,
} from "./exposition.ts";
import type { Histogram } from "./histogram.ts";
import { METRICS, type MetricName, type MetricRow } from "./metric-table.ts";
import { ModelMeters } from "./model-meters.ts";
import { readTritonCounters } from "./triton-counters.ts";

/** What of the engine is looked at when the metrics are read. */
export interface WatchedEngine {
  statistics(): readonly ModelStatistics[];
  readonly repository: { readonly models: readonly WatchedModel[] };
  /** Sequences whose state is held. */
  readonly sequences: { readonly size: number };
}

interface WatchedModel {
  readonly model: {
    readonly manifest: { readonly name: string; readonly version: string; readonly mode: string };
    /** Undefined for a model whose adapters are in its graphs. */
    readonly registry:
      | {
          list(): readonly AdapterStatus[];
          readonly residentCount: number;
          /** Bytes of one adapter. */
          readonly adapterBytes: number;
        }
      | undefined;
    readonly memory: readonly MemoryUse[];
    readonly cpuNodes: number;
  };
  /** `pending`: requests that wait or run. */
  readonly scheduler: { readonly pending: number };
}

/** Metrics of one server; several servers in a process share only what is the process's own. */
export interface Metrics {
  /** What a model of the repository is recorded with: one object a name, to be looked up once. */
  model(name: string): ModelMeters;
  /** What the engine is given to tell. */
  readonly events: EngineEvents;
  /** A request answered with an error. */
  recordRejected(code: string): void;
  requestBegan(): void;
  requestEnded(): void;
  /** Requests begun and not yet answered. */
  readonly inflight: number;
  /** Whose states are read; before that there are none. */
  watch(engine: WatchedEngine): void;
  /** Where the number of open connections is read. */
  watchConnections(open: () => number): void;
  /** @param accept the request's Accept header. */
  scrape(accept: string | undefined): Promise<Exposition>;
}

/** Most adapters of a model that are labels; all of them are counted. */
const LABEL_LIMIT = 256;

/** Codes that a client can bring about, and what has none: a rate sees the first of a reason only from a zero. */
const KNOWN_REASONS: readonly string[] = [
  ...Object.entries(ERROR_CODES).flatMap(([code, { status }]) =>
    status < 500 || status === 503 ? [code] : [],
  ),
  "internal",
];

interface Watched {
  engine: WatchedEngine | undefined;
  connections: (() => number) | undefined;
}

interface Recorded {
  readonly meters: ReadonlyMap<string, ModelMeters>;
  readonly rejected: ReadonlyMap<string, number>;
  readonly inflight: number;
}

export function createMetrics(): Metrics {
  const meters = new Map<string, ModelMeters>();
  const rejected = new Map(KNOWN_REASONS.map((code) => [code, 0]));
  const watched: Watched = { engine: undefined, connections: undefined };
  let inflight = 0;
  const model = (name: string): ModelMeters => {
    const modeOf = (): string => {
      const manifests = watched.engine?.repository.models.map((one) => one.model.manifest) ?? [];
      return manifests.find((manifest) => manifest.name === name)?.mode ?? "";
    };
    const known = meters.get(name) ?? new ModelMeters(modeOf);
    meters.set(name, known);
    return known;
  };
  readEventLoop();
  return {
    model,
    events: engineEvents(model),
    recordRejected: (code) => {
      rejected.set(code, (rejected.get(code) ?? 0) + 1);
    },
    requestBegan: () => {
      inflight += 1;
    },
    requestEnded: () => {
      inflight -= 1;
    },
    get inflight() {
      return inflight;
    },
    watch: (engine) => {
      watched.engine = engine;
    },
    watchConnections: (open) => {
      watched.connections = open;
    },
    scrape: async (accept) => {
      const own = readFamilies(watched, { meters, rejected, inflight });
      return renderMetrics([...own, ...(await processFamilies())], accept);
    },
  };
}

function engineEvents(model: Metrics["model"]): EngineEvents {
  const adapter = {
    loaded: (meters, { seconds }) => meters.recordSwap(seconds),
    replaced: (meters, { seconds }) => meters.recordSwap(seconds),
    "rolled back": (meters, { seconds }) => meters.recordSwap(seconds),
    read: (meters) => meters.recordRead(),
    evicted: (meters) => meters.recordEviction(),
    unloaded() {},
  } satisfies Record<AdapterEvent["kind"], (meters: ModelMeters, event: AdapterEvent) => void>;
  return {
    batch: (event) => model(event.model).recordBatch(event),
    adapter: (event) => adapter[event.kind](model(event.model), event),
    model: (event) => model(event.model).loaded(),
    device: (event) => model(event.model).recordDeviceFailure(event.moved),
    cpuNodes() {},
    fault() {},
  };
}

/** Every metric of the table with its numbers: one without does not compile. */
function readFamilies(watched: Watched, recorded: Recorded): Family[] {
  const { engine } = watched;
  const samples: Readonly<Record<MetricName, readonly Sample[]>> = {
    ...readServer(watched, recorded),
    ...readMeters(recorded.meters),
    ...readModels(engine?.repository.models ?? []),
    ...readTritonCounters(engine?.statistics() ?? []),
  };
  // The table's keys are the names.
  const rows = Object.entries(METRICS) as [MetricName, MetricRow][];
  return rows.map(([name, { help, kind }]) => ({ name, help, kind, samples: samples[name] }));
}

function readServer({ engine, connections }: Watched, { rejected, inflight }: Recorded) {
  const { lag, busySeconds } = readEventLoop();
  return {
    lorasa_build_info: [sample({ version: VERSION }, 1)],
    lorasa_inflight: [sample({}, inflight)],
    lorasa_connections: connections ? [sample({}, connections())] : [],
    lorasa_rejected_total: [...rejected].map(([reason, count]) => sample({ reason }, count)),
    lorasa_sequences: engine ? [sample({}, engine.sequences.size)] : [],
    lorasa_event_loop_lag_seconds: lag.map(({ quantile, seconds }) => sample({ quantile }, seconds)),
    lorasa_event_loop_busy_seconds_total: [sample({}, busySeconds)],
  };
}

function readMeters(meters: Recorded["meters"]) {
  const all = [...meters];
  const histogram = (name: MetricName, of: (meters: ModelMeters) => Histogram): Sample[] =>
    all.flatMap(([model, one]) => histogramSamples(name, { model }, of(one).state()));
  return {
    lorasa_request_duration_seconds: histogram("lorasa_request_duration_seconds", ({ request }) => request),
    lorasa_queue_seconds: histogram("lorasa_queue_seconds", ({ queue }) => queue),
    lorasa_compute_seconds: all.flatMap(([model, { compute }]) =>
      [...compute].flatMap(([mode, one]) =>
        histogramSamples("lorasa_compute_seconds", { model, mode }, one.state()),
      ),
    ),
    lorasa_batch_rows: histogram("lorasa_batch_rows", ({ batchRows }) => batchRows),
    lorasa_batch_requests: histogram("lorasa_batch_requests", ({ batchRequests }) => batchRequests),
    lorasa_adapter_swap_seconds: histogram("lorasa_adapter_swap_seconds", ({ swap }) => swap),
    lorasa_adapter_loads_total: all.flatMap(([model, { loads }]) =>
      Object.entries(loads).map(([result, count]) => sample({ model, result }, count)),
    ),
    lorasa_device_failures_total: all.flatMap(([model, { deviceFailures }]) =>
      Object.entries(deviceFailures).map(([result, count]) => sample({ model, result }, count)),
    ),
    lorasa_adapter_reads_total: all.map(([model, { reads }]) => sample({ model }, reads)),
    lorasa_adapter_evictions_total: all.map(([model, { evictions }]) => sample({ model }, evictions)),
  };
}

function readModels(models: readonly WatchedModel[]) {
  const adapted = models.flatMap(({ model: { manifest, registry } }) =>
    registry ? [{ model: manifest.name, registry, adapters: registry.list() }] : [],
  );
  return {
    lorasa_queue_requests: models.map(({ model, scheduler }) =>
      sample({ model: model.manifest.name }, scheduler.pending),
    ),
    nv_inference_pending_request_count: models.map(({ model: { manifest }, scheduler }) =>
      sample({ model: manifest.name, version: manifest.version }, scheduler.pending),
    ),
    lorasa_adapter_info: adapted.flatMap(({ model, adapters }) =>
      adapters
        .slice(0, LABEL_LIMIT)
        .map(({ name, version, state }) => sample({ model, adapter: name, version: `${version}`, state }, 1)),
    ),
    lorasa_adapters: adapted.flatMap(({ model, adapters }) =>
      (["READY", "UNAVAILABLE"] as const).map((state) =>
        sample({ model, state }, adapters.filter((adapter) => adapter.state === state).length),
      ),
    ),
    lorasa_adapters_resident: adapted.map(({ model, registry }) => sample({ model }, registry.residentCount)),
    lorasa_adapter_bytes: adapted.map(({ model, registry }) =>
      sample({ model }, registry.residentCount * registry.adapterBytes),
    ),
    lorasa_adapter_size_bytes: adapted.map(({ model, registry }) => sample({ model }, registry.adapterBytes)),
    lorasa_cpu_nodes: models.map(({ model: { manifest, cpuNodes } }) =>
      sample({ model: manifest.name }, cpuNodes),
    ),
    lorasa_model_memory_bytes: models.flatMap(({ model: { manifest, memory } }) =>
      memory.map(({ part, place, bytes }) => sample({ model: manifest.name, part, place }, bytes)),
    ),
  };
}

function sample(labels: Sample["labels"], value: number): Sample {
  return { labels, value };
}
