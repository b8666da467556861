/** Every metric of the server: its kind, meaning, labels and buckets. Not where the numbers come from. */

export interface MetricRow {
  readonly kind: "histogram" | "counter" | "gauge" | "summary";
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram, in the unit of its name. */
  readonly buckets?: readonly number[];
}

/** Triton's labels, so that its dashboards work unchanged. */
const TRITON = ["model", "version"] as const;

const REQUEST_SECONDS = [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1];
const COMPUTE_SECONDS = [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2];

/** Models are those of the repository, adapters at most 256 a model: clients cannot make labels. */
export const METRICS = {
  lorasa_build_info: { kind: "gauge", help: "1, with the version of the server.", labels: ["version"] },
  lorasa_request_duration_seconds: {
    kind: "histogram",
    help: "From an inference request being there whole to its reply handed to the socket.",
    labels: ["model"],
    buckets: REQUEST_SECONDS,
  },
  lorasa_queue_seconds: {
    kind: "histogram",
    help: "How long the request of a batch that waited longest did.",
    labels: ["model"],
    buckets: REQUEST_SECONDS,
  },
  lorasa_compute_seconds: {
    kind: "histogram",
    help: "A batch in the graphs.",
    labels: ["model", "mode"],
    buckets: COMPUTE_SECONDS,
  },
  lorasa_batch_rows: {
    kind: "histogram",
    help: "Rows of a batch: environments times agents, over all its requests.",
    labels: ["model"],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096],
  },
  lorasa_batch_requests: {
    kind: "histogram",
    help: "Requests that a batch answered.",
    labels: ["model"],
    buckets: [1, 2, 4, 8, 16, 32, 64, 128],
  },
  lorasa_rejected_total: {
    kind: "counter",
    help: "Requests answered with an error, by its code.",
    labels: ["reason"],
  },
  lorasa_inflight: { kind: "gauge", help: "Requests begun and not yet answered.", labels: [] },
  lorasa_queue_requests: {
    kind: "gauge",
    help: "Inference requests that wait for a batch or run in a worker.",
    labels: ["model"],
  },
  lorasa_connections: { kind: "gauge", help: "Open connections.", labels: [] },
  lorasa_sequences: { kind: "gauge", help: "Sequences whose recurrent state is held.", labels: [] },
  lorasa_adapter_info: {
    kind: "gauge",
    help: "1 for each of a model's first 256 adapters, with its version and state.",
    labels: ["model", "adapter", "version", "state"],
  },
  lorasa_adapters: { kind: "gauge", help: "All adapters of a model by state.", labels: ["model", "state"] },
  lorasa_adapters_resident: { kind: "gauge", help: "Adapters in memory.", labels: ["model"] },
  lorasa_adapter_bytes: { kind: "gauge", help: "Memory of the adapters in memory.", labels: ["model"] },
  lorasa_adapter_size_bytes: { kind: "gauge", help: "Memory of one adapter.", labels: ["model"] },
  lorasa_device_failures_total: {
    kind: "counter",
    help: "Times that a model's device failed, by what became of the model: moved to the CPU, or failed.",
    labels: ["model", "result"],
  },
  lorasa_cpu_nodes: {
    kind: "gauge",
    help: "Nodes of a model's graphs that its device has no kernel for and the CPU runs.",
    labels: ["model"],
  },
  lorasa_model_memory_bytes: {
    kind: "gauge",
    help: "Memory of a model by part (backbone, bank, adapters) and place (host, device).",
    labels: ["model", "part", "place"],
  },
  lorasa_adapter_swap_seconds: {
    kind: "histogram",
    help: "From a checked adapter to the new version being visible.",
    labels: ["model"],
    buckets: [1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2, 0.1, 1, 10],
  },
  lorasa_adapter_loads_total: {
    kind: "counter",
    help: "Adapters pushed or loaded: success, or failure when one was refused.",
    labels: ["model", "result"],
  },
  lorasa_adapter_reads_total: {
    kind: "counter",
    help: "Adapters read from their files since a request asked for one that was not in memory.",
    labels: ["model"],
  },
  lorasa_adapter_evictions_total: {
    kind: "counter",
    help: "Adapters that left the memory for others.",
    labels: ["model"],
  },
  lorasa_event_loop_lag_seconds: {
    kind: "summary",
    help: "How late the event loop came to its timers in the last minute.",
    labels: ["quantile"],
  },
  lorasa_event_loop_busy_seconds_total: {
    kind: "counter",
    help: "Time in which the event loop did not wait: its rate is the share of one core.",
    labels: [],
  },
  nv_inference_request_success: {
    kind: "counter",
    help: "Inference requests that succeeded.",
    labels: TRITON,
  },
  nv_inference_request_failure: {
    kind: "counter",
    help: "Inference requests that failed.",
    labels: [...TRITON, "reason"],
  },
  nv_inference_count: {
    kind: "counter",
    help: "Inferences: a request counts its batch size.",
    labels: TRITON,
  },
  nv_inference_exec_count: { kind: "counter", help: "Batches that were run.", labels: TRITON },
  nv_inference_request_duration_us: {
    kind: "counter",
    help: "Microseconds in inference requests that succeeded.",
    labels: TRITON,
  },
  nv_inference_queue_duration_us: {
    kind: "counter",
    help: "Microseconds that requests waited.",
    labels: TRITON,
  },
  nv_inference_compute_input_duration_us: {
    kind: "counter",
    help: "Microseconds of ordering inputs.",
    labels: TRITON,
  },
  nv_inference_compute_infer_duration_us: {
    kind: "counter",
    help: "Microseconds in the graphs.",
    labels: TRITON,
  },
  nv_inference_compute_output_duration_us: {
    kind: "counter",
    help: "Microseconds of ordering outputs.",
    labels: TRITON,
  },
  nv_inference_pending_request_count: {
    kind: "gauge",
    help: "Inference requests that wait for a batch or run in a worker.",
    labels: TRITON,
  },
} as const satisfies Record<string, MetricRow>;

export type MetricName = keyof typeof METRICS;
