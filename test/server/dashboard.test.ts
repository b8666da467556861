/** The Grafana dashboard against the table of metrics, both ways. Not whether Grafana draws it well. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { METRICS, type MetricRow } from "../../server/operations/metric-table.ts";
import { createMetrics } from "../../server/operations/metrics.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly {
    readonly expr: string;
    readonly refId: string;
    readonly datasource: { uid: string };
  }[];
}

interface Variable {
  readonly name: string;
  readonly type: string;
  readonly definition?: string;
}

// The shapes are what the tests below look at.
const DASHBOARD = JSON.parse(
  readFileSync(join(import.meta.dirname, "../../docs/grafana/lorasa.json"), "utf8"),
) as { schemaVersion: number; panels: Panel[]; templating: { list: Variable[] } };

const PANELS = DASHBOARD.panels.filter(({ type }) => type !== "row");
const EXPRESSIONS = PANELS.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const ROWS: Readonly<Record<string, MetricRow>> = METRICS;

/** Labels that Prometheus adds to every series. */
const ADDED = ["instance", "job"];
const SUFFIXES = /_(bucket|sum|count)$/;

test("every metric of the table is on the dashboard", () => {
  const shown = new Set(EXPRESSIONS.flatMap(metricNames).map(tableName));
  assert.deepEqual(
    Object.keys(METRICS).filter((name) => !shown.has(name)),
    [],
  );
});

test("every metric on the dashboard is one that a server gives", async () => {
  const { text } = await createMetrics().scrape(undefined);
  const given = new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name]) => name));
  const variables = DASHBOARD.templating.list.flatMap(({ definition }) => (definition ? [definition] : []));
  const names = [...EXPRESSIONS, ...variables.map((text) => text.replace(/, \w+\)$/, ")"))].flatMap(
    metricNames,
  );
  assert.ok(names.length > 40, `${names.length}`);
  assert.deepEqual(
    [...new Set(names.map(tableName))].filter((name) => !given.has(name)),
    [],
  );
});

test("labels in expressions are those that the metrics have", () => {
  for (const expression of EXPRESSIONS) {
    const labels = metricNames(expression).flatMap((name) => labelsOf(name));
    for (const label of labelNames(expression))
      assert.ok(labels.includes(label), `${label} in ${expression}`);
  }
});

test("every metric is selected by instance, and by model where it has one", () => {
  for (const expression of EXPRESSIONS) {
    assert.equal(metricNames(expression).length, expression.match(/\w\{/g)?.length, expression);
    for (const [, name = "", selector = ""] of expression.matchAll(/([a-z]\w+)\{([^}]*)\}/g)) {
      assert.match(selector, /instance=~"\$instance"/, expression);
      // Triton's names are agents' too, which the variable does not list.
      const byModel = labelsOf(name).includes("model") && !name.startsWith("nv_");
      assert.equal(selector.includes('model=~"$model"') || !byModel, true, expression);
    }
  }
});

test("counters are seen as rates, and only counters and histograms are", () => {
  for (const expression of EXPRESSIONS) {
    const rated = new Set([...expression.matchAll(/rate\((\w+)/g)].map(([, name]) => name));
    for (const name of metricNames(expression)) {
      const row = ROWS[tableName(name)];
      if (row) assert.equal(rated.has(name), row.kind === "counter" || row.kind === "histogram", expression);
    }
  }
});

test("parentheses and brackets of every expression are closed", () => {
  for (const expression of EXPRESSIONS) {
    let rest = expression.replace(/"[^"]*"/g, "");
    while (/\([^(){}[\]]*\)|\{[^(){}[\]]*\}|\[[^(){}[\]]*\]/.test(rest)) {
      rest = rest.replace(/\([^(){}[\]]*\)|\{[^(){}[\]]*\}|\[[^(){}[\]]*\]/g, "");
    }
    assert.doesNotMatch(rest, /[(){}[\]]/, expression);
  }
});

test("panels have a title, a word of explanation, a unit and the chosen data source, and do not overlap", () => {
  assert.ok(DASHBOARD.schemaVersion >= 39);
  assert.deepEqual(
    DASHBOARD.templating.list.map(({ name }) => name),
    ["datasource", "instance", "model"],
  );
  const ids = DASHBOARD.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  const taken = new Set<string>();
  for (const { title, description, datasource, fieldConfig, targets = [], gridPos } of PANELS) {
    assert.ok(title !== "" && description && fieldConfig?.defaults.unit, title);
    for (const { uid } of [datasource!, ...targets.map((target) => target.datasource)]) {
      assert.equal(uid, `\${datasource}`, title);
    }
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (const cell of cells(gridPos)) {
      assert.ok(!taken.has(cell), `${title} lies over another`);
      taken.add(cell);
    }
  }
});

test("what the tests read out of an expression is what stands in it", () => {
  const expression = 'sum by (le, model) (rate(a_bucket{model=~"b_c"}[5m])) / on(x) d_total or vector(0)';
  assert.deepEqual(metricNames(expression), ["a_bucket", "d_total"]);
  assert.deepEqual(labelNames(expression), ["model", "le", "model", "x"]);
});

/** Names of series in an expression: words that are no function, label, text or keyword. */
function metricNames(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"/g, "")
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, "")
    .replace(GROUPING, " ");
  const words = bare.match(/[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])/g) ?? [];
  return words.filter((word) => !["and", "or", "unless", "bool", "offset"].includes(word));
}

const GROUPING = /\b(?:by|without|on|ignoring)\s*\(([^)]*)\)/g;

/** Labels in selectors, then those that an expression groups by. */
function labelNames(expression: string): string[] {
  const selected = [...expression.matchAll(/[{,](\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label);
  const grouped = [...expression.matchAll(GROUPING)].flatMap(([, list = ""]) =>
    list.split(",").map((one) => one.trim()),
  );
  return [...selected, ...grouped];
}

/** The table's name of a series: histograms have three of them. */
function tableName(name: string): string {
  const family = name.replace(SUFFIXES, "");
  return ROWS[family]?.kind === "histogram" ? family : name;
}

function labelsOf(name: string): readonly string[] {
  const row = ROWS[tableName(name)];
  return [...(row?.labels ?? []), ...ADDED, ...(name.endsWith("_bucket") ? ["le"] : [])];
}

function cells({ x, y, w, h }: Panel["gridPos"]): string[] {
  return Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`);
}
