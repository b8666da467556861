import assert from "node:assert/strict";
import { test } from "node:test";
import { layOutAxis } from "../../src/report/axis.ts";
import { barChart } from "../../src/report/bars.ts";
import { bandOverRuns } from "../../src/report/curves.ts";
import { type LineChart, lineChart } from "../../src/report/plot.ts";
import { spreadApart } from "../../src/report/spread.ts";
import { INK, SERIES } from "../../src/report/theme.ts";
import { assertClose } from "../helpers/close.ts";

const labels = (...args: Parameters<typeof layOutAxis>): string[] =>
  layOutAxis(...args).ticks.map(({ label }) => label);
/** Every text of a drawing, in order. */
const texts = (svg: string): string[] =>
  [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map((found) => found[1]!);

test("a linear axis has round ticks inside its values", () => {
  assert.deepEqual(labels({ title: "" }, [-312, 5890]), ["0", "2k", "4k"]);
  assert.deepEqual(labels({ title: "" }, [0, 3e6]), ["0", "1M", "2M", "3M"]);
  assert.deepEqual(labels({ title: "" }, [0.1, 0.3]), ["0.1", "0.15", "0.2", "0.25", "0.3"]);
  // 0.07 / 0.01 is a little more than 7, so that the tick at the very start could be missed.
  assert.deepEqual(labels({ title: "" }, [0.07, 0.11]), ["0.07", "0.08", "0.09", "0.1", "0.11"]);
  assert.deepEqual(labels({ title: "", format: "percent" }, [0, 1]), [
    "0%",
    "20%",
    "40%",
    "60%",
    "80%",
    "100%",
  ]);
  assert.deepEqual(labels({ title: "", format: "bytes", zero: true }, [3e7]), [
    "0 B",
    "8 MiB",
    "16 MiB",
    "24 MiB",
  ]);
});

test("labels have as many digits as tell ticks apart", () => {
  assert.deepEqual(labels({ title: "" }, [12_000, 12_060]), ["12k", "12.02k", "12.04k", "12.06k"]);
});

test("a linear domain has its margin, but not past 0, and a width even for one value", () => {
  assert.deepEqual(layOutAxis({ title: "" }, [0, 100], 0.1).domain, [0, 110]);
  assert.deepEqual(layOutAxis({ title: "" }, [100, 200], 0.1).domain, [90, 210]);
  assert.deepEqual(layOutAxis({ title: "", zero: true }, [100, 200]).domain, [0, 200]);
  assert.deepEqual(layOutAxis({ title: "" }, [-4]).domain, [-6, -2]);
  assert.deepEqual(layOutAxis({ title: "" }, []).domain, [0, 1]);
});

test("a log axis ticks its few values, else powers of ten with 2 and 5 between", () => {
  assert.deepEqual(labels({ title: "", scale: "log" }, [8, 128, 8, 27, 0, -1]), ["8", "27", "128"]);
  const times = { title: "", scale: "log", format: "microseconds" } as const;
  assert.deepEqual(labels(times, [30, 2400]), ["50 µs", "100 µs", "200 µs", "500 µs", "1 ms", "2 ms"]);
  assert.deepEqual(labels(times, [1, 1e6]), ["1 µs", "10 µs", "100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
  assert.deepEqual(labels(times, [310, 450]), ["350 µs", "400 µs", "450 µs"]);
  assert.deepEqual(labels({ title: "", scale: "log", format: "bytes" }, [3e5, 5e7]).slice(0, 3), [
    "256 KiB",
    "512 KiB",
    "1 MiB",
  ]);
  assert.deepEqual(labels({ title: "", scale: "log" }, []), ["1", "2", "5", "10"]);
});

test("position and value are inverse on both scales", () => {
  for (const scale of ["linear", "log"] as const) {
    const axis = layOutAxis({ title: "", scale }, [2, 50]);
    assertClose([axis.position(axis.domain[0]), axis.position(axis.domain[1])], [0, 1]);
    assertClose([axis.valueAt(axis.position(7))], [7]);
  }
});

test("labels move as little as keeps them apart", () => {
  assertClose(spreadApart([10, 50], 16, 100), [10, 50]);
  assertClose(spreadApart([50, 50, 90], 16, 100), [42, 58, 90]);
  assertClose(spreadApart([30, 40, 45], 16, 100), [115 / 3 - 16, 115 / 3, 115 / 3 + 16]);
  assertClose(spreadApart([0, 1, 99, 100], 10, 100), [0, 10, 90, 100]);
});

test("several runs become a mean and a band where all of them have begun and none has ended", () => {
  const runs = [
    [
      { x: 0, y: 0 },
      { x: 10, y: 10 },
      { x: 20, y: 20 },
    ],
    [
      { x: 5, y: 15 },
      { x: 15, y: 25 },
      { x: 18, y: Number.NaN },
    ],
  ];
  const band = bandOverRuns(runs, "min-max");
  assert.deepEqual(band, [
    { x: 5, y: 10, low: 5, high: 15 },
    { x: 10, y: 15, low: 10, high: 20 },
    { x: 15, y: 20, low: 15, high: 25 },
  ]);
  assert.deepEqual(bandOverRuns(runs, "std")[0], { x: 5, y: 10, low: 5, high: 15 });
  assert.deepEqual(bandOverRuns([runs[0]!], "std")[1], { x: 10, y: 10 });
  assert.deepEqual(bandOverRuns([], "std"), []);
  assert.deepEqual(bandOverRuns([[], runs[0]!], "std"), []);
});

const chart: LineChart = {
  title: "Latency",
  subtitle: "both axes logarithmic",
  x: { title: "agents", scale: "log" },
  y: { title: "time", scale: "log", format: "microseconds" },
  series: [
    { name: "merged <&>", points: [8, 128].map((x) => ({ x, y: 10 * x })) },
    { name: "p99", dashedBeside: "factored", points: [8, 128].map((x) => ({ x, y: 20 * x })) },
    { name: "factored", points: [8, 128].map((x) => ({ x, y: x, low: x / 2, high: x * 2 })) },
  ],
  points: true,
  markers: [{ x: 20, label: "here" }],
};

test("a line chart names its axes, ticks, markers and undashed series, and nothing else", async () => {
  const svg = await lineChart(chart);
  const seen = texts(svg);
  for (const text of [
    "Latency",
    "both axes logarithmic",
    "agents",
    "time",
    "8",
    "128",
    "1 ms",
    "here",
    "factored",
  ]) {
    assert.ok(seen.includes(text), `${text} is missing from ${seen.join(" | ")}`);
  }
  assert.ok(seen.includes("merged &lt;&amp;&gt;"));
  assert.ok(!seen.includes("p99"));
});

test("a line chart draws each line, its points and its band in its colour, and dashes the companion", async () => {
  const svg = await lineChart(chart);
  const count = (pattern: RegExp): number => [...svg.matchAll(pattern)].length;
  const [first, second] = [SERIES[0].light, SERIES[1].light];
  assert.equal(count(new RegExp(`<path [^>]*stroke="${first}" stroke-width="2"`, "g")), 1);
  assert.equal(
    count(new RegExp(`<path [^>]*stroke="${second}" stroke-width="1.5"[^>]*stroke-dasharray="4,3"`, "g")),
    1,
  );
  assert.equal(count(new RegExp(`<path [^>]*stroke="${second}" stroke-width="2"`, "g")), 1);
  assert.equal(
    count(
      new RegExp(
        `<path [^>]*fill="${second}"[^>]*fill-opacity="0.16"|<path [^>]*opacity="0.16"[^>]*fill="${second}"|<path [^>]*fill="${second}"[^>]*opacity="0.16"`,
        "g",
      ),
    ),
    1,
  );
  assert.equal(count(/aria-roledescription="point mark container"|mark-symbol/g) > 0, true);
});

test("a drawing stands alone: one svg, described, without script, identifiers or outside references", async () => {
  for (const svg of [
    await lineChart(chart),
    await barChart({ title: "Memory", bars: [{ label: "a", value: 1 }] }),
  ]) {
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" class="lorasa-plot" role="img"/);
    assert.match(svg, /<\/svg>$/);
    assert.doesNotMatch(svg, /<script| id="|url\(|href|NaN|undefined/);
    assert.equal(svg.split("http").length, 2);
  }
  assert.match(
    await lineChart(chart),
    /<title>Latency\. both axes logarithmic\. merged &lt;&amp;&gt;, p99, factored</,
  );
});

test("a marker outside the axis and a band that a log axis cannot hold are left out", async () => {
  const points = [8, 128].map((x) => ({ x, y: x, low: 0, high: 2 * x }));
  const svg = await lineChart({
    ...chart,
    series: [{ name: "a", points }],
    markers: [{ x: 1, label: "before" }],
  });
  assert.ok(!texts(svg).includes("before"));
  assert.doesNotMatch(svg, /opacity="0\.16"|Infinity|NaN/);
});

test("the same chart is the same text", async () => {
  assert.equal(await lineChart(chart), await lineChart(chart));
});

test("every colour that a chart wears has a dark counterpart", async () => {
  const svg = await lineChart(chart);
  const worn = new Set([...svg.matchAll(/ (?:fill|stroke)="(#[0-9a-f]+)"/g)].map((found) => found[1]!));
  const known = [...Object.values(INK), ...SERIES].map(({ light }): string => light);
  assert.deepEqual(
    [...worn].filter((colour) => !known.includes(colour)),
    [],
  );
  for (const colour of worn) assert.ok(svg.includes(`.lorasa-plot [fill="${colour}"]{fill:`));
});

test("labels of lines that end together stand apart", async () => {
  const series = ["a", "b", "c"].map((name) => ({ name, points: [8, 128].map((x) => ({ x, y: x })) }));
  const svg = await lineChart({ ...chart, series });
  const heights = [...svg.matchAll(/translate\([\d.]+,([\d.]+)\)"[^>]*>[abc]<\/text>/g)].map((found) =>
    Number(found[1]),
  );
  heights.sort((one, other) => one - other);
  assert.equal(heights.length, 3);
  assertClose([heights[1]! - heights[0]!, heights[2]! - heights[1]!], [16, 16], { atol: 0.01 });
});

test("points that an axis cannot hold are left out, and an empty chart is still a chart", async () => {
  const bad = {
    name: "bad",
    points: [
      { x: 0, y: 1 },
      { x: 1, y: Number.NaN },
      { x: 1, y: -1 },
    ],
  };
  const svg = await lineChart({ ...chart, series: [bad] });
  assert.ok(!texts(svg).includes("bad"));
  const broken = { name: "broken off", points: [...chart.series[0]!.points, { x: 200, y: Number.NaN }] };
  assert.ok(texts(await lineChart({ ...chart, series: [broken] })).includes("broken off"));
  assert.doesNotMatch(svg, /NaN|Infinity/);
  assert.ok(texts(await lineChart({ ...chart, series: [] })).includes("agents"));
});

test("bars carry their value and series, and whiskers where given", async () => {
  const bars = [
    { label: "HalfCheetah", series: "LoRASA", value: 6000, low: 5500, high: 6500 },
    { label: "HalfCheetah", series: "PS", value: 5200 },
    { label: "Ant", series: "PS", value: Number.NaN },
  ];
  const svg = await barChart({ title: "Return", bars });
  const seen = texts(svg);
  assert.ok(
    ["HalfCheetah", "6k  LoRASA", "5.2k  PS"].every((text) => seen.includes(text)),
    seen.join(" | "),
  );
  assert.equal(await barChart({ title: "Return", bars: bars.slice(0, 2) }), svg);
  assert.equal([...svg.matchAll(/<line [^>]*stroke="#1f2933" stroke-width="1.5"/g)].length, 1);
});
