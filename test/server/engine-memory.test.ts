/** Swaps and sequences without end leave nothing in memory. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { adapterFiles, ask, floats, openTiny, type TinyEngine } from "../helpers/engine-service.ts";

const SWAPS = 20_000;
const SEQUENCES = 2000;
/** Swaps that go on side by side, each of an adapter of its own. */
const LANES = 8;
/** An adapter is 1 KiB, a sequence's state 16 KiB: what is kept of each shows. */
const WIDTH = 64;
const HIDDEN = 4096;
/** Of the heap and its arrays. A leak of the adapters' numbers alone would be 20 MiB, of the ended states 16 MiB. */
const KEPT_LIMIT_BYTES = 4 * 2 ** 20;
/** Of the process: the system's own caches and the heap's size wander by some MiB. */
const RESIDENT_LIMIT_BYTES = 32 * 2 ** 20;

// Each test file runs in a process of its own.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
// The files of 20,000 versions come and go: in memory, where the system has a folder of that.
if (existsSync("/dev/shm")) process.env["TMPDIR"] = "/dev/shm";

const MODEL = {
  mode: "factored",
  observationSizes: [WIDTH, WIDTH],
  actionSizes: [WIDTH, WIDTH],
  hidden: HIDDEN,
} as const;
const ROW = { obs: floats([1, WIDTH], new Array<number>(WIDTH).fill(0.5)) };

test(`${SWAPS} swaps keep the memory flat`, async (context) => {
  const engine = await openTiny(context, MODEL);
  await swapAll(engine, SWAPS / 20);
  const before = memory();
  await swapAll(engine, SWAPS);
  assertFlat(before, memory());
  assert.equal(engine.adapters().status("agent_0.lane0").version, (1.05 * SWAPS) / LANES);
});

test(`${SEQUENCES} sequences keep the memory flat`, async (context) => {
  const engine = await openTiny(context, MODEL);
  await runSequences(engine, SEQUENCES / 20);
  const before = memory();
  await runSequences(engine, SEQUENCES);
  assertFlat(before, memory());
  assert.equal(engine.service.sequences.size, 1, "the one that is started again and again");
});

async function swapAll({ policy, events, ...engine }: TinyEngine, count: number): Promise<void> {
  const files = [1, 2].map((seed) => adapterFiles(policy.adapter(seed)));
  const adapters = engine.adapters();
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    const name = `agent_0.lane${lane}`;
    for (let swap = 0; swap < count / LANES; swap++) {
      await adapters.load(name, { files: files[swap % 2]!, replace: true });
      if (swap % 16 === 0) await ask(engine, `team.${name}`, ROW, { sequence_id: 1, sequence_start: true });
    }
  });
  await Promise.all(lanes);
  forget(events);
}

/** Every second one is ended by its client, the others are started again under one id. */
async function runSequences(engine: TinyEngine, count: number): Promise<void> {
  for (let id = 1; id <= count; id++) {
    const end = id % 2 === 0;
    const sequence_id = end ? id : "left";
    await ask(engine, "team.agent_0", ROW, { sequence_id, sequence_start: true });
    await ask(engine, "team.agent_0", ROW, { sequence_id, sequence_end: end });
  }
  forget(engine.events);
}

/** The test's own log of events grows too. */
function forget({ batches, adapters }: TinyEngine["events"]): void {
  batches.length = 0;
  adapters.length = 0;
}

interface Memory {
  readonly kept: number;
  readonly resident: number;
}

function memory(): Memory {
  for (let round = 0; round < 4; round++) collectGarbage();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return { kept: heapUsed + arrayBuffers, resident: rss };
}

function assertFlat(before: Memory, after: Memory): void {
  const kept = after.kept - before.kept;
  const resident = after.resident - before.resident;
  assert.ok(kept < KEPT_LIMIT_BYTES, `${kept} bytes more are kept`);
  assert.ok(resident < RESIDENT_LIMIT_BYTES, `${resident} bytes more are resident`);
}
