/** The status page over fakes: what it lists, how much of it, and that names cannot become markup. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryUses } from "../../server/engine/model-memory.ts";
import type { AdapterStatus } from "../../server/engine/service.ts";
import type { ServerContext } from "../../server/http/handler.ts";
import { byteText, durationText, numberText, plural } from "../../server/http/status-layout.ts";
import { renderStatusPage } from "../../server/http/status-page.ts";
import { createMetrics } from "../../server/operations/metrics.ts";

test("a page of 300 adapters lists 100 and says how many more there are", () => {
  const adapters = Array.from({ length: 300 }, (_, at) => adapter({ name: `agent_0.v${at}` }));
  const page = renderStatusPage(contextOf(adapters));
  assert.equal(page.match(/<code>team\.agent_0\.v/g)?.length, 100);
  assert.match(page, /and 200 adapters more/);
});

test("an adapter's version, place and last use are told", () => {
  const used = { lastUsedMs: Date.now() - 3_600_000 };
  const page = renderStatusPage(
    contextOf([
      adapter({ ...used, pinned: true }),
      adapter({ name: "agent_0.blue", resident: false }),
      adapter({ name: "agent_0.red", state: "UNAVAILABLE", reason: "its files changed" }),
    ]),
  );
  for (const text of ["version 3", "0123456789ab", "in memory, pinned", "in its files", "1 h ago"]) {
    assert.ok(page.includes(text), text);
  }
  assert.match(page, /none loaded<\/span> its files changed/);
});

test("rates, queue, sequences and latency are shown", () => {
  const context = contextOf([]);
  for (let i = 0; i < 99; i++) context.metrics.model("team").recordRequest(3e-4);
  context.metrics.model("team").recordRequest(5);
  const page = renderStatusPage(context);
  for (const [name, value] of [
    ["waiting", "5"],
    ["sequences", "7"],
    ["answered", "100"],
    ["half within", "500 µs"],
    ["99 % within", "500 µs"],
    ["memory", "2 KiB"],
  ]) {
    assert.ok(page.includes(`<dt>${name}</dt><dd>${value}</dd>`), name);
  }
});

test("names are text, whatever they hold", () => {
  const page = renderStatusPage(
    contextOf([adapter({ name: "<script>alert(1)</script>", sha256: "<b>" })], "<i>"),
  );
  assert.doesNotMatch(page, /<script|<b>|<i>/);
  assert.match(page, /&lt;script&gt;/);
});

test("a model whose adapters are in its graphs lists its agents", () => {
  const page = renderStatusPage(contextOf(undefined));
  assert.match(page, /<code>team\.agent_0<\/code><\/td><td>4<\/td><td>2<\/td><td>in the graph/);
});

test("numbers are short and keep their unit", () => {
  assert.deepEqual([0, 0.44, 9.96, 12_345.6].map(numberText), ["0", "0.4", "10", "12,346"]);
  assert.deepEqual([0, 1023, 1024, 3 * 2 ** 30].map(byteText), ["0 B", "1,023 B", "1 KiB", "3 GiB"]);
  assert.deepEqual([0, 5e-6, 1e-3, 0.0025, 59, 60, 90_000].map(durationText), [
    ...["0 µs", "5 µs", "1 ms", "2.5 ms", "59 s", "1 min", "1 d"],
  ]);
  assert.deepEqual([plural(1, "adapter"), plural(2000, "adapter")], ["1 adapter", "2,000 adapters"]);
});

/** A server of one model; without adapters they are in its graphs. */
function contextOf(adapters: readonly AdapterStatus[] | undefined, environment = "test/Tiny"): ServerContext {
  const manifest = {
    name: "team",
    version: "1",
    mode: adapters ? "factored" : "merged",
    environment: { name: environment },
    agents: [{ name: "agent_0", observationSize: 4, actionSize: 2 }],
  };
  const registry = adapters && { list: () => adapters };
  const memory = memoryUses("cpu", { backbone: 1024, bank: 1000, adapters: 24 });
  const model = { manifest, registry, memory };
  // What the page reads of a server, and nothing else.
  return {
    service: { repository: { models: [{ model, scheduler: { pending: 5 } }] }, sequences: { size: 7 } },
    metrics: createMetrics(),
    isReady: () => true,
  } as unknown as ServerContext;
}

function adapter(own: Partial<AdapterStatus>): AdapterStatus {
  return {
    name: "agent_0",
    agent: "agent_0",
    version: 3,
    state: "READY",
    reason: "",
    resident: true,
    pinned: false,
    sha256: "0123456789abcdef",
    bytes: 8,
    loadedAtMs: 1,
    lastUsedMs: 0,
    previousVersion: 0,
    ...own,
  };
}
