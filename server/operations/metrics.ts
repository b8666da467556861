/** The server's metrics for Prometheus, and request rates for its page. Agents are never labels of hot metrics. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { EngineEvents } from "../engine/events.ts";
import type { LocalPolicyService } from "../engine/policy-service.ts";
import { RateMeter } from "./rate-meter.ts";

interface MetricRow {
  readonly kind: "histogram" | "counter" | "gauge";
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds; seconds unless the name says rows. */
  readonly buckets?: readonly number[];
}

export const METRICS = {
  lorasa_request_duration_seconds: {
    kind: "histogram",
    help: "From the end of an inference request's headers to the reply handed to the socket.",
    labels: ["model"],
    buckets: [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1],
  },
  lorasa_compute_seconds: {
    kind: "histogram",
    help: "In the graphs and in ordering their rows.",
    labels: ["model", "mode"],
    buckets: [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2],
  },
  lorasa_batch_rows: {
    kind: "histogram",
    help: "Rows of an inference: environments times agents.",
    labels: ["model"],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096],
  },
  lorasa_rejected_total: {
    kind: "counter",
    help: "Requests answered with an error, by its code.",
    labels: ["reason"],
  },
  lorasa_inflight: { kind: "gauge", help: "Requests begun and not yet answered.", labels: [] },
  lorasa_adapter_info: {
    kind: "gauge",
    help: "1 for each adapter slot, with its version and state.",
    labels: ["model", "adapter", "version", "state"],
  },
  lorasa_adapter_bytes: {
    kind: "gauge",
    help: "Memory of a model's adapter bank.",
    labels: ["model"],
  },
  lorasa_adapter_swap_seconds: {
    kind: "histogram",
    help: "From a checked adapter to the new version being visible.",
    labels: ["model"],
    buckets: [1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 0.1, 1, 10],
  },
} as const satisfies Record<string, MetricRow>;

type MetricName = keyof typeof METRICS;
type NamesOf<K extends MetricRow["kind"]> = {
  [N in MetricName]: (typeof METRICS)[N]["kind"] extends K ? N : never;
}[MetricName];

/** What a model's requests are recorded with; label children are looked up once. */
interface ModelMeters {
  recordRequest(seconds: number): void;
  recordBatch(computeSeconds: number, rows: number): void;
  readonly rate: RateMeter;
}

export interface Metrics {
  model(name: string): ModelMeters;
  recordRejected(reason: string): void;
  /** What the engine is given to tell. */
  readonly events: EngineEvents;
  /** Reads states from the engine at each scrape. */
  watch(service: LocalPolicyService): void;
  requestBegan(): void;
  requestEnded(): void;
  /** The Prometheus text format. */
  text(): Promise<string>;
  readonly contentType: string;
}

/** Metrics of one server; several servers in a process do not share any. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const { histograms, counters, gauges } = register(registry);
  const meters = new Map<string, ModelMeters>();
  const model = (name: string): ModelMeters => {
    const known = meters.get(name) ?? modelMeters(histograms, name);
    meters.set(name, known);
    return known;
  };
  const inflight = gauges.lorasa_inflight;
  let open = 0;
  let service: LocalPolicyService | undefined;
  return {
    model,
    recordRejected: (reason) => counters.lorasa_rejected_total.inc({ reason }),
    events: {
      batch: (event) => model(event.model).recordBatch(event.computeSeconds, event.rows),
      adapter: (event) => {
        if (event.seconds > 0) histograms.lorasa_adapter_swap_seconds.observe({ model: event.model }, event.seconds);
      },
      model() {},
      fault() {},
    },
    watch: (watched) => {
      service = watched;
    },
    requestBegan: () => {
      open += 1;
    },
    requestEnded: () => {
      open -= 1;
    },
    text: () => {
      inflight.set(open);
      if (service) describeAdapters(service, gauges);
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}

type Registered = {
  readonly histograms: Readonly<Record<NamesOf<"histogram">, Histogram>>;
  readonly counters: Readonly<Record<NamesOf<"counter">, Counter>>;
  readonly gauges: Readonly<Record<NamesOf<"gauge">, Gauge>>;
};

function register(registry: Registry): Registered {
  const made = { histogram: {}, counter: {}, gauge: {} } as Record<
    MetricRow["kind"],
    Record<string, unknown>
  >;
  for (const [name, row] of Object.entries(METRICS) as [MetricName, MetricRow][]) {
    const settings = { name, help: row.help, labelNames: [...row.labels], registers: [registry] };
    if (row.kind === "histogram") {
      made.histogram[name] = new Histogram({ ...settings, buckets: [...(row.buckets ?? [])] });
    } else made[row.kind][name] = row.kind === "counter" ? new Counter(settings) : new Gauge(settings);
  }
  // Each name of the table was put under its own kind.
  return { histograms: made.histogram, counters: made.counter, gauges: made.gauge } as Registered;
}

function modelMeters(histograms: Registered["histograms"], model: string): ModelMeters {
  const request = histograms.lorasa_request_duration_seconds.labels({ model });
  const compute = histograms.lorasa_compute_seconds.labels({ model, mode: "" });
  const batch = histograms.lorasa_batch_rows.labels({ model });
  const rate = new RateMeter();
  return {
    rate,
    recordRequest: (seconds) => request.observe(seconds),
    recordBatch(computeSeconds, rows) {
      compute.observe(computeSeconds);
      batch.observe(rows);
      rate.count(rows);
    },
  };
}

function describeAdapters({ repository }: LocalPolicyService, gauges: Registered["gauges"]): void {
  gauges.lorasa_adapter_info.reset();
  for (const { model } of repository.models) {
    const { registry, manifest } = model;
    if (!registry) continue;
    gauges.lorasa_adapter_bytes.set({ model: manifest.name }, registry.residentCount * registry.adapterBytes);
    for (const { name: adapter, version, state } of registry.list()) {
      gauges.lorasa_adapter_info.set({ model: manifest.name, adapter, version: `${version}`, state }, 1);
    }
  }
}
