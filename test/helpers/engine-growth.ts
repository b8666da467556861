/**
 * A process of its own that swaps adapters and opens sequences, and prints what that left in memory. Run with
 * `--expose-gc`; `test/server/engine-memory.test.ts` reads its line. Not a measurement of speed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LocalPolicyService } from "../../server/engine/policy-service.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { adapterFiles, ask, floats } from "./engine-service.ts";
import { TinyPolicy, writeTinyRepository } from "./tiny-models.ts";

const OBSERVATION_SIZES = [256, 256];
const ACTION_SIZES = [256, 256];
/** Swaps that go on side by side, each of another adapter. */
const LANES = 8;

const [, , swaps = "0", sequences = "0"] = process.argv;
const options = { observationSizes: OBSERVATION_SIZES, actionSizes: ACTION_SIZES, hidden: 64 };
const policy = new TinyPolicy(options);
const files = [1, 2].map((seed) => adapterFiles(policy.adapter(seed)));
const row = floats([1, 256], new Array<number>(256).fill(0.5));

const repository = mkdtempSync(join(tmpdir(), "lorasa-"));
writeTinyRepository(repository, [{ ...options, mode: "factored" }]);
const service = await LocalPolicyService.open(repository, { runtime: createRuntime(), threads: 1 });
try {
  // Caches, buffers and the heap's own size are made in the first part.
  await Promise.all([swapAll(Number(swaps) / 5), runSequences(Number(sequences) / 5)]);
  const before = resident();
  await swapAll(Number(swaps));
  const swapped = resident();
  await runSequences(Number(sequences));
  const ended = resident();
  const report = { swapBytes: swapped - before, sequenceBytes: ended - swapped, live: service.sequences.size };
  process.stdout.write(`${JSON.stringify(report)}\n`);
} finally {
  await service.close();
  rmSync(repository, { recursive: true });
}

async function swapAll(count: number): Promise<void> {
  const adapters = service.adapters("team");
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    const name = `agent_0.lane${lane}`;
    for (let swap = 0; swap < count / LANES; swap++) {
      await adapters.load(name, { files: files[swap % 2]!, replace: true });
      if (swap % 16 === 0) await ask({ service }, `team.${name}`, { obs: row }, { sequence_id: 1, sequence_start: true });
    }
  });
  await Promise.all(lanes);
}

/** Half of them are ended by their client, half are left to be started again under the same ids. */
async function runSequences(count: number): Promise<void> {
  for (let id = 0; id < count; id++) {
    const sequence_id = id % 2 === 0 ? `ended-${id}` : `left-${id % 50}`;
    await ask({ service }, "team.agent_0", { obs: row }, { sequence_id, sequence_start: true });
    await ask({ service }, "team.agent_0", { obs: row }, { sequence_id, sequence_end: id % 2 === 0 });
  }
}

function resident(): number {
  for (let round = 0; round < 4; round++) globalThis.gc?.();
  return process.memoryUsage.rss();
}
