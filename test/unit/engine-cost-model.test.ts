/** What a batch is expected to take, from a few timed runs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BoundGraph } from "../../server/engine/bound-graph.ts";
import { CostModel, measureCost } from "../../server/engine/cost-model.ts";

test("lines between the points, the last one beyond the largest, never below zero", () => {
  const model = new CostModel([
    { rows: 2, ms: 1 },
    { rows: 4, ms: 2 },
    { rows: 8, ms: 2 },
  ]);
  const expected = [
    [2, 1],
    [3, 1.5],
    [4, 2],
    [6, 2],
    [100, 2],
    [1, 0.5],
  ] as const;
  for (const [rows, ms] of expected) assert.equal(model.estimate(rows), ms, `${rows} rows`);
  const steep = new CostModel([
    { rows: 10, ms: 1 },
    { rows: 11, ms: 5 },
  ]);
  assert.equal(steep.estimate(1), 0);
  assert.equal(steep.estimate(21), 45);
});

test("one point is a line through nothing", () => {
  assert.equal(new CostModel([{ rows: 4, ms: 8 }]).estimate(6), 12);
});

/** Each run takes as long as the test says. */
function graphOf(
  ms: (rows: number, run: number) => number,
  device = "cpu",
): { graph: BoundGraph; sizes: number[] } {
  const sizes: number[] = [];
  const graph = {
    session: { device },
    leading: (rows: number) => [2, rows],
    bind: ([, rows]: readonly number[]) => {
      let run = 0;
      return {
        run: () => {
          sizes.push(rows!);
          const until = performance.now() + ms(rows!, run++);
          while (performance.now() < until);
        },
      };
    },
  };
  // Timing asks for nothing else.
  return { graph: graph as unknown as BoundGraph, sizes };
}

test("a first run that was slow because of the machine does not make the graph slow", () => {
  const { graph } = graphOf((_, run) => (run === 0 ? 8 : 0));
  assert.ok(measureCost(graph, 2, {}).estimate(2) < 5);
});

test("a graph that takes long is timed at no larger size, and few times", () => {
  const { graph, sizes } = graphOf((rows) => (rows < 4 ? 0 : 21));
  const model = measureCost(graph, 2, {});
  assert.deepEqual(sizes, [1, 1, 1, 1, 4]);
  assert.ok(model.estimate(8) >= 21);
});

test("a device's first run, which compiles its kernels, is not what it takes", () => {
  const { graph } = graphOf((_, run) => (run === 0 ? 40 : 0), "webgpu");
  assert.ok(measureCost(graph, 2, {}).estimate(2) < 5);
});

test("a graph that is long at one row is timed at more, where it may take no longer", () => {
  const { graph } = graphOf(() => 8);
  assert.ok(measureCost(graph, 1, {}).estimate(4) < 16, "not four times as long");
});
