/** Metrics by themselves: buckets, both text formats, bounded labels, Triton's counters. Not the route that shows them. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { memoryUses } from "../../server/engine/model-memory.ts";
import type { AdapterStatus, ModelStatistics } from "../../server/engine/service.ts";
import { type Family, histogramSamples, renderMetrics } from "../../server/operations/exposition.ts";
import { Histogram } from "../../server/operations/histogram.ts";
import { METRICS } from "../../server/operations/metric-table.ts";
import { createMetrics, type WatchedEngine } from "../../server/operations/metrics.ts";

const OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

test("a bound belongs to its own bucket, and buckets add up what is below them", () => {
  const histogram = new Histogram([1, 2, 4]);
  for (const value of [0, 1, 1.5, 2, 4, 5, 100]) histogram.observe(value);
  assert.deepEqual(histogram.state(), {
    buckets: [
      { bound: 1, count: 2 },
      { bound: 2, count: 4 },
      { bound: 4, count: 5 },
      { bound: Infinity, count: 7 },
    ],
    sum: 113.5,
    count: 7,
  });
});

test("a NaN is counted and does not spoil the sum", () => {
  const histogram = new Histogram([1]);
  histogram.observe(Number.NaN);
  histogram.observe(0.5);
  const { buckets, sum, count } = histogram.state();
  assert.deepEqual([buckets[0]!.count, sum, count], [1, 0.5, 2]);
});

test("every bucket of a histogram counts the values up to its bound", () => {
  const bounds = [0.001, 0.01, 0.5, 3];
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 5, noNaN: true })), (values) => {
      const histogram = new Histogram(bounds);
      for (const value of values) histogram.observe(value);
      for (const { bound, count } of histogram.state().buckets) {
        assert.equal(count, values.filter((value) => value <= bound).length);
      }
    }),
  );
});

test("label values and help cannot break out of their line", () => {
  const family: Family = {
    name: "x",
    help: "a\nb\\c",
    kind: "gauge",
    samples: [{ labels: { model: 'q"\\\n' }, value: Number.POSITIVE_INFINITY }],
  };
  const { text } = renderMetrics([family], undefined);
  assert.equal(text, '# HELP x a\\nb\\\\c\n# TYPE x gauge\nx{model="q\\"\\\\\\n"} +Inf\n');
});

test("bounds are written in the one form that OpenMetrics takes", () => {
  const samples = histogramSamples("x", {}, new Histogram([1e-7, 2.5e-6, 1e-5, 1e-4, 0.25, 1, 4096]).state());
  const { text } = renderMetrics([{ name: "x", help: "", kind: "histogram", samples }], OPEN_METRICS);
  const bounds = [...text.matchAll(/le="([^"]+)"/g)].map(([, bound]) => bound);
  assert.deepEqual(bounds, ["1e-07", "2.5e-06", "1e-05", "0.0001", "0.25", "1.0", "4096.0", "+Inf"]);
});

test("OpenMetrics names a counter's family without _total, and leaves Triton's names as they are", async () => {
  const { text, contentType } = await (await recorded()).scrape(OPEN_METRICS);
  assert.match(contentType, /^application\/openmetrics-text; version=1\.0\.0/);
  assert.match(text, /^# TYPE lorasa_rejected counter$/m);
  assert.match(text, /^lorasa_rejected_total\{reason="LORASA_NAME"\} 2$/m);
  assert.match(text, /^# TYPE nv_inference_count unknown$/m);
  assert.match(text, /^nv_inference_count\{model="team",version="1"\} 64$/m);
  assert.match(text, /\n# EOF\n$/);
});

test("what is recorded is what is read", async () => {
  const { text, contentType } = await (await recorded()).scrape(undefined);
  assert.match(contentType, /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'lorasa_request_duration_seconds_bucket{model="team",le="0.001"} 1',
    'lorasa_request_duration_seconds_bucket{model="team",le="0.002"} 2',
    'lorasa_request_duration_seconds_count{model="team"} 2',
    'lorasa_compute_seconds_count{model="team",mode="factored"} 1',
    'lorasa_batch_rows_sum{model="team"} 128',
    'lorasa_batch_requests_sum{model="team"} 2',
    'lorasa_queue_seconds_sum{model="team"} 0.00005',
    'lorasa_adapter_loads_total{model="team",result="success"} 1',
    'lorasa_adapter_loads_total{model="team",result="failure"} 1',
    'lorasa_adapter_evictions_total{model="team"} 1',
    'lorasa_adapter_reads_total{model="team"} 1',
    'lorasa_adapter_info{model="team",adapter="agent_0",version="3",state="READY"} 1',
    'lorasa_adapters_resident{model="team"} 1',
    'lorasa_adapter_bytes{model="team"} 80',
    'lorasa_adapter_size_bytes{model="team"} 80',
    'lorasa_cpu_nodes{model="team"} 2',
    'lorasa_model_memory_bytes{model="team",part="backbone",place="device"} 4000',
    'lorasa_model_memory_bytes{model="team",part="bank",place="device"} 320',
    'lorasa_model_memory_bytes{model="team",part="adapters",place="host"} 80',
    'lorasa_queue_requests{model="team"} 5',
    "lorasa_connections 4",
    "lorasa_sequences 7",
    "lorasa_inflight 1",
    'nv_inference_request_failure{model="team",version="1",reason="OTHER"} 3',
    'nv_inference_queue_duration_us{model="team",version="1"} 2',
    'nv_inference_pending_request_count{model="team",version="1"} 5',
  ]) {
    assert.ok(text.includes(`\n${line}\n`), line);
  }
});

test("every metric of the table is shown with its kind, and each series once", async () => {
  const { text } = await (await recorded()).scrape(undefined);
  for (const [name, { kind }] of Object.entries(METRICS)) {
    assert.ok(text.includes(`# TYPE ${name} ${kind}\n`), name);
  }
  const series = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const names = series.map((line) => line.slice(0, line.lastIndexOf(" ")));
  assert.equal(new Set(names).size, names.length);
});

test("labels of a sample are those of the table", async () => {
  const { text } = await (await recorded()).scrape(undefined);
  for (const [name, { labels, kind }] of Object.entries(METRICS)) {
    const lines = text
      .split("\n")
      .filter((line) => new RegExp(`^${name}(_bucket|_sum|_count)?[{ ]`).test(line));
    assert.ok(lines.length > 0, `${name} has no sample`);
    for (const line of lines) {
      const found = [...line.matchAll(/[{,](\w+)=/g)].map(([, label]) => label);
      const expected = kind === "histogram" && line.includes("_bucket") ? [...labels, "le"] : labels;
      assert.deepEqual(found, expected, line);
    }
  }
});

test("a reason that was never given is there as zero: the first one would not show in a rate", async () => {
  const { text } = await createMetrics().scrape(undefined);
  assert.match(text, /^lorasa_rejected_total\{reason="LORASA_SHAPE"\} 0$/m);
  assert.match(text, /^lorasa_rejected_total\{reason="internal"\} 0$/m);
});

test("adapters beyond 256 are counted and are no labels", async () => {
  const adapters = Array.from({ length: 300 }, (_, at) => adapter(`agent_0.v${at}`));
  const { text } = await watching(engine("factored", adapters)).scrape(undefined);
  assert.equal(text.match(/^lorasa_adapter_info\{/gm)?.length, 256);
  assert.match(text, /^lorasa_adapters\{model="team",state="READY"\} 300$/m);
});

test("names beyond 256 are added up, so that sums over Triton's counters stay right", async () => {
  const all = Array.from({ length: 300 }, (_, at) => statistics(`team.agent_${at}`));
  const { text } = await watching({ ...engine("stacked"), statistics: () => all }).scrape(undefined);
  const counts = [...text.matchAll(/^nv_inference_count\{[^}]*\} (\d+)$/gm)].map(([, count]) =>
    Number(count),
  );
  assert.equal(counts.length, 257);
  assert.equal(
    counts.reduce((sum, count) => sum + count),
    300 * 64,
  );
});

test("a model that is loaded in another mode keeps its counts and has one series a mode", async () => {
  const metrics = watching(engine("factored"));
  const batch = { model: "team", requests: 1, rows: 1, queueSeconds: 0, computeSeconds: 1e-5 };
  metrics.events.batch(batch);
  metrics.watch(engine("merged"));
  metrics.events.model({ kind: "loaded", model: "team", seconds: 1, bytes: 1 });
  metrics.events.batch(batch);
  metrics.events.batch(batch);
  const { text } = await metrics.scrape(undefined);
  assert.match(text, /^lorasa_compute_seconds_count\{model="team",mode="factored"\} 1$/m);
  assert.match(text, /^lorasa_compute_seconds_count\{model="team",mode="merged"\} 2$/m);
  assert.match(text, /^lorasa_batch_rows_count\{model="team"\} 3$/m);
});

test("a model whose adapters are in its graphs has no series of adapters", async () => {
  const { text } = await watching(engine("merged")).scrape(undefined);
  assert.doesNotMatch(text, /^lorasa_adapters?(_\w+)?\{/m);
  assert.match(text, /^lorasa_queue_requests\{model="team"\} 5$/m);
});

test("the event loop's lag is shown for a loop that was held up", async () => {
  const metrics = createMetrics();
  const until = performance.now() + 300;
  // The monitor looks every 10 ms: let it look, hold it up, let it look again.
  await new Promise((resolve) => setTimeout(resolve, 60));
  while (performance.now() < until);
  await new Promise((resolve) => setTimeout(resolve, 60));
  const { text } = await metrics.scrape(undefined);
  const worst = Number(/^lorasa_event_loop_lag_seconds\{quantile="1\.0"\} (\S+)$/m.exec(text)?.[1]);
  assert.ok(worst > 0.1, `${worst}`);
  const busy = Number(/^lorasa_event_loop_busy_seconds_total (\S+)$/m.exec(text)?.[1]);
  assert.ok(busy > 0.1, `${busy}`);
});

/** Metrics after a little of everything. */
async function recorded() {
  const metrics = watching(engine("factored", [adapter("agent_0"), adapter("agent_1")]));
  metrics.watchConnections(() => 4);
  const meters = metrics.model("team");
  assert.equal(metrics.model("team"), meters);
  meters.recordRequest(0.001);
  meters.recordRequest(0.0015);
  await assert.rejects(meters.watchLoad(Promise.reject(new Error("refused"))), /refused/);
  assert.equal(await meters.watchLoad(Promise.resolve(3)), 3);
  const { events } = metrics;
  events.batch({ model: "team", requests: 2, rows: 128, queueSeconds: 5e-5, computeSeconds: 2e-4 });
  for (const kind of ["loaded", "read", "evicted", "unloaded"] as const) {
    events.adapter({ kind, model: "team", adapter: "agent_0", version: 1, sha256: "", seconds: 2e-5 });
  }
  for (let i = 0; i < 2; i++) metrics.recordRejected("LORASA_NAME");
  metrics.requestBegan();
  metrics.requestBegan();
  metrics.requestEnded();
  assert.equal(metrics.inflight, 1);
  return metrics;
}

function watching(watched: WatchedEngine) {
  const metrics = createMetrics();
  metrics.watch(watched);
  return metrics;
}

const MEMORY = memoryUses("webgpu", { backbone: 4000, bank: 320, adapters: 80 });

function engine(mode: string, adapters: readonly AdapterStatus[] = []): WatchedEngine {
  const registry =
    mode === "factored" ? { list: () => adapters, residentCount: 1, adapterBytes: 80 } : undefined;
  const manifest = { name: "team", version: "1", mode };
  return {
    statistics: () => [statistics("team")],
    repository: {
      models: [{ model: { manifest, registry, memory: MEMORY, cpuNodes: 2 }, scheduler: { pending: 5 } }],
    },
    sequences: { size: 7 },
  };
}

function adapter(name: string): AdapterStatus {
  return {
    name,
    agent: "agent_0",
    version: 3,
    state: "READY",
    reason: "",
    resident: true,
    pinned: false,
    sha256: "ab",
    bytes: 80,
    loadedAtMs: 1,
    lastUsedMs: 2,
    previousVersion: 2,
  };
}

function statistics(name: string): ModelStatistics {
  const none = { count: 0, ns: 0 };
  return {
    name,
    version: "1",
    last_inference: 0,
    inference_count: 64,
    execution_count: 2,
    inference_stats: {
      success: { count: 2, ns: 9000 },
      fail: { count: 3, ns: 1 },
      queue: { count: 2, ns: 2000 },
      compute_input: none,
      compute_infer: none,
      compute_output: none,
      cache_hit: none,
      cache_miss: none,
    },
    response_stats: {},
    batch_stats: [],
    memory_usage: [],
  };
}

test("the page on serving lists every metric with its kind and labels, and no other", () => {
  const page = readFileSync("docs/serving.md", "utf8");
  const listed = [...page.matchAll(/^\| `((?:lorasa|nv)_\w+)`\s*\| (\w+)\s*\| ([\w,]*)\s*\|/gm)];
  const table = Object.entries(METRICS).map(([name, row]) => [name, row.kind, row.labels.join(",")]);
  assert.deepEqual(
    listed.map(([, name, kind, labels]) => [name, kind, labels]),
    table,
  );
});
