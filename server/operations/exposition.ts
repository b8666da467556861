/** Metrics as the two text formats that Prometheus reads. Not what is measured. */
import { collectDefaultMetrics, Registry } from "prom-client";
import type { HistogramState } from "./histogram.ts";

type Labels = Readonly<Record<string, string | number>>;

/** One line: a number under a name that is the family's, or begins so. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  readonly metricName?: string;
}

/** A metric by name, and its numbers at one moment. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly kind: "histogram" | "counter" | "gauge" | "summary";
  readonly samples: readonly Sample[];
}

export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

/** Of the process and not of one server: its observers cannot be taken back, so there is one set. */
let processRegistry: Registry | undefined;

/** Memory, processor time, files and Node's own facts, as prom-client collects them. */
export async function processFamilies(): Promise<readonly Family[]> {
  if (!processRegistry) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  const metrics = await processRegistry.getMetricsAsJSON();
  return metrics.map(({ name, help, type, values }) => ({
    name,
    help,
    // Words at run time, whatever the declaration says.
    kind: type as unknown as Family["kind"],
    samples: values as readonly Sample[],
  }));
}

/** @param accept the request's Accept: OpenMetrics where it is named, else the older text format. */
export function renderMetrics(families: readonly Family[], accept: string | undefined): Exposition {
  const open = accept?.includes("application/openmetrics-text") ?? false;
  const blocks = families.map((family) => renderFamily(family, open));
  if (!open) return { contentType: Registry.PROMETHEUS_CONTENT_TYPE, text: `${blocks.join("\n")}\n` };
  return { contentType: Registry.OPENMETRICS_CONTENT_TYPE, text: `${blocks.join("\n")}\n# EOF\n` };
}

/** The lines of a histogram, its buckets cumulative. */
export function histogramSamples(
  name: string,
  labels: Labels,
  { buckets, sum, count }: HistogramState,
): Sample[] {
  const bucket = `${name}_bucket`;
  return [
    ...buckets.map(({ bound, count: value }) => ({
      metricName: bucket,
      labels: { ...labels, le: bound },
      value,
    })),
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

function renderFamily({ name, help, kind, samples }: Family, open: boolean): string {
  const lines = samples.map(
    ({ metricName = name, labels, value }) => `${metricName}${renderLabels(labels)} ${numberText(value)}`,
  );
  const [type, family] = open ? openMetricsType(name, kind) : [kind, name];
  return [`# HELP ${family} ${escapeText(help)}`, `# TYPE ${family} ${type}`, ...lines].join("\n");
}

/**
 * OpenMetrics calls a counter's family by its name without `_total`. Triton's counters have none, and to give them
 * one would break the dashboards that they are there for: their type is left open.
 */
function openMetricsType(name: string, kind: Family["kind"]): readonly [type: string, family: string] {
  if (kind !== "counter") return [kind, name];
  return name.endsWith("_total") ? ["counter", name.slice(0, -"_total".length)] : ["unknown", name];
}

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([label, value]) => `${label}="${typeof value === "number" ? boundText(value) : escapeLabel(value)}"`,
  );
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** A bound or quantile in the one way that OpenMetrics allows: `1.0`, `0.005`, `1e-05`, `+Inf`. */
function boundText(bound: number): string {
  if (bound !== 0 && bound < 1e-4) return bound.toExponential().replace(/e-(\d)$/, "e-0$1");
  return Number.isInteger(bound) ? `${bound}.0` : numberText(bound);
}

function numberText(value: number): string {
  return Number.isFinite(value) || Number.isNaN(value) ? `${value}` : value > 0 ? "+Inf" : "-Inf";
}

function escapeText(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/\n/g, "\\n");
}

function escapeLabel(text: string): string {
  return escapeText(text).replace(/"/g, '\\"');
}
