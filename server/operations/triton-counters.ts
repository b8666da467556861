/** Triton's `nv_inference_*` metrics, read off the statistics so that dashboards made for it work. Counts nothing. */
import type { Duration, ModelStatistics } from "../engine/service.ts";
import type { Sample } from "./exposition.ts";
import type { MetricName } from "./metric-table.ts";

/** Most names that are labels; those beyond are added up under {@link OTHERS}. */
const NAME_LIMIT = 256;
const OTHERS = { model: "(others)", version: "" };

type Counter = Exclude<Extract<MetricName, `nv_${string}`>, "nv_inference_pending_request_count">;

/** Each counter as a number of one entry. */
const COUNTERS: Readonly<Record<Counter, (entry: ModelStatistics) => number>> = {
  nv_inference_request_success: ({ inference_stats }) => inference_stats.success.count,
  nv_inference_request_failure: ({ inference_stats }) => inference_stats.fail.count,
  nv_inference_count: ({ inference_count }) => inference_count,
  nv_inference_exec_count: ({ execution_count }) => execution_count,
  nv_inference_request_duration_us: ({ inference_stats }) => microseconds(inference_stats.success),
  nv_inference_queue_duration_us: ({ inference_stats }) => microseconds(inference_stats.queue),
  nv_inference_compute_input_duration_us: ({ inference_stats }) =>
    microseconds(inference_stats.compute_input),
  nv_inference_compute_infer_duration_us: ({ inference_stats }) =>
    microseconds(inference_stats.compute_infer),
  nv_inference_compute_output_duration_us: ({ inference_stats }) =>
    microseconds(inference_stats.compute_output),
};

/** The samples of every counter; why a request failed is told by `lorasa_rejected_total`, so here it is OTHER. */
export function readTritonCounters(
  entries: readonly ModelStatistics[],
): Readonly<Record<Counter, readonly Sample[]>> {
  const samples = Object.entries(COUNTERS).map(([name, read]) => {
    const reason = name === "nv_inference_request_failure" ? { reason: "OTHER" } : {};
    return [name, countNames(entries, read, reason)];
  });
  // The table's keys are the names.
  return Object.fromEntries(samples) as Record<Counter, Sample[]>;
}

function countNames(
  entries: readonly ModelStatistics[],
  read: (entry: ModelStatistics) => number,
  more: Sample["labels"],
): Sample[] {
  const listed = entries.slice(0, NAME_LIMIT).map((entry) => ({
    labels: { model: entry.name, version: entry.version, ...more },
    value: read(entry),
  }));
  if (entries.length <= NAME_LIMIT) return listed;
  const value = entries.slice(NAME_LIMIT).reduce((sum, entry) => sum + read(entry), 0);
  return [...listed, { labels: { ...OTHERS, ...more }, value }];
}

function microseconds({ ns }: Duration): number {
  return Math.round(ns / 1000);
}
