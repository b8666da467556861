/** A minute's part of the long soak: mixed traffic whose every reply is checked, and nothing left behind. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { soak } from "../long/server-soak-run.ts";

const SECONDS = 8;

test("swaps, mistakes, broken connections and reloads under traffic leave no reply wrong and nothing open", async () => {
  const result = await soak({ seconds: SECONDS, seed: 3 });
  assert.deepEqual(result.examples, []);
  assert.equal(result.wrong, 0);
  assert.equal(result.faults, 0);
  assert.equal(result.inflight, 0);
  for (const [kind, count] of Object.entries(result.steps)) assert.ok(count > 0, `no ${kind} was made`);
});
