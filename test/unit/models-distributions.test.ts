/** Choices inside graphs: a drawn one and its stored number mean the same, without a cast that devices lack. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { asFloat, type HeadConfig, type HeadOutput, logProb, sample } from "../../models/distributions.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import type { GraphBuilder } from "../../src/graph/builder.ts";
import type { Value } from "../../src/graph/value.ts";
import { buildGraph, runGraph } from "../helpers/run-graph.ts";

const HEAD: HeadConfig = { kind: "categorical", size: 4 };
/** Two agents, three rows; the last logit of the first row is unavailable. */
const LOGITS = floatTensor(
  [2, 3, 4],
  [0.1, 2, -1, -1e10, 3, 0, 0, 0, -5, -4, -3, -2, 0.5, 0.25, 0.75, 0, 1, 1, 1.5, 1, 9, 8, 7, 6],
);
const CHOICES = [1, 0, 3, 2, 2, 0];

function drawn(g: GraphBuilder, x: Readonly<Record<string, Value>>): { output: HeadOutput; choice: Value } {
  const output = { kind: "categorical", logits: x["logits"]! } as const;
  return { output, choice: sample(g, output, undefined) };
}

test("a choice as a float is its number, and has the stored number's log-probability to the bit", () => {
  const feeds = { logits: LOGITS, stored: floatTensor([2, 3, 1], CHOICES) };
  const results = runGraph(feeds, (g, x) => {
    const { output, choice } = drawn(g, x);
    return {
      choice: asFloat(g, choice, HEAD),
      ofDrawn: logProb(g, output, choice),
      ofStored: logProb(g, output, x["stored"]!),
    };
  });
  assert.deepEqual(results["choice"], CHOICES);
  assert.deepEqual(results["ofDrawn"], results["ofStored"]);
  const first = LOGITS.data.subarray(0, 4);
  const expected = 2 - Math.log(first.reduce((sum, logit) => sum + Math.exp(logit), 0));
  assert.ok(Math.abs(results["ofDrawn"]![0]! - expected) < 1e-6);
});

test("no graph casts an int64, which WebGPU cannot", () => {
  const { nodes } = buildGraph({ logits: LOGITS }, (g, x) => {
    const { output, choice } = drawn(g, x);
    return { choice: asFloat(g, choice, HEAD), logProb: logProb(g, output, choice) };
  });
  assert.ok(nodes.some(({ op }) => op === "ArgMax"));
  assert.deepEqual(
    nodes.filter(({ op }) => op === "Cast"),
    [],
  );
});
