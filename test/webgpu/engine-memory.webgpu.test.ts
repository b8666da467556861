/** What the engine takes of a WebGPU device's memory: told as it is, given back whole, flat over thousands of swaps. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { exportTeam } from "../../exporters/export-team.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import {
  adapterFiles,
  ask,
  floats,
  openFolder,
  openTiny,
  type TinyEngine,
} from "../helpers/engine-service.ts";
import { SERVED_MODES } from "../helpers/random-requests.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
const SWAPS = 3000;
/** Before memory is looked at: until the library's own pools and the compiler have settled. */
const WARM_UP = 300;
/** Adapters that are swapped and then used in one batch. */
const TOGETHER = 30;
/** An adapter is 16 KiB: 3,000 that were kept, by the engine or by the driver, would be 47 MiB. */
const WIDTH = 2048;
/** Of the heap and its arrays. */
const KEPT_LIMIT_BYTES = 4 * 2 ** 20;
/** Of the process, whose memory a software driver's device is: caches, pools and the heap wander by some MiB. */
const RESIDENT_LIMIT_BYTES = 32 * 2 ** 20;

// Each test file runs in a process of its own.
setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
// The files of thousands of versions come and go: in memory, where the system has a folder of that.
if (existsSync("/dev/shm")) process.env["TMPDIR"] = "/dev/shm";

const residentBytes = (): number => createRuntime("webgpu").residentBytes;

const MODEL = { mode: "factored", observationSizes: [WIDTH, WIDTH], actionSizes: [2, 2] } as const;
const ROW = { obs: floats([1, WIDTH], new Array<number>(WIDTH).fill(0.5)) };

test(`${SWAPS} swaps, each of them used, keep the device's memory as it is and the process's flat`, {
  skip,
}, async (context) => {
  const start = residentBytes();
  const engine = await openTiny(context, MODEL, { runtime: createRuntime("webgpu") });
  await swapAll(engine, WARM_UP);
  const [before, memory] = [residentBytes(), settledMemory()];
  await swapAll(engine, SWAPS);
  assert.equal(residentBytes(), before);
  const { kept, resident } = settledMemory();
  assert.ok(kept - memory.kept < KEPT_LIMIT_BYTES, `${kept - memory.kept} bytes more are kept`);
  const gained = resident - memory.resident;
  assert.ok(gained < RESIDENT_LIMIT_BYTES, `${gained} bytes more are resident`);
  assert.equal(engine.adapters().status("agent_0.v0").version, (WARM_UP + SWAPS) / TOGETHER);
  assert.deepEqual(engine.events.devices, []);
  await engine.service.close();
  assert.equal(residentBytes(), start);
});

async function swapAll({ policy, events, ...engine }: TinyEngine, count: number): Promise<void> {
  const files = [1, 2].map((seed) => adapterFiles(policy.adapter(seed)));
  const names = Array.from({ length: TOGETHER }, (_, at) => `agent_${at % 2}.v${at}`);
  for (let round = 0; round < count / TOGETHER; round++) {
    const load = { files: files[round % 2]!, replace: true };
    await Promise.all(names.map((name) => engine.adapters().load(name, load)));
    await Promise.all(names.map((name) => ask(engine, `team.${name}`, ROW)));
  }
  // The test's own log of events grows too.
  events.batches.length = 0;
  events.adapters.length = 0;
}

function settledMemory(): { readonly kept: number; readonly resident: number } {
  for (let round = 0; round < 4; round++) collectGarbage();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  return { kept: heapUsed + arrayBuffers, resident: rss };
}

test("a model that is loaded again or unloaded gives back all that it took, ten times over", {
  skip,
}, async (context) => {
  const start = residentBytes();
  const { service, repository } = await served(context, {});
  const loaded = residentBytes();
  assert.ok(loaded > start);
  for (let round = 0; round < 10; round++) {
    await service.load(SERVED_MODES[round % SERVED_MODES.length]!);
    assert.equal(residentBytes(), loaded, `loaded again, round ${round}`);
    for (const name of SERVED_MODES) await service.unload(name);
    assert.equal(residentBytes(), start, `unloaded, round ${round}`);
    for (const name of SERVED_MODES) await service.load(name);
    assert.equal(residentBytes(), loaded, `loaded, round ${round}`);
  }
  await service.close();
  assert.equal(residentBytes(), start);
  const again = await openFolder(context, repository, { runtime: createRuntime("webgpu") });
  assert.equal(residentBytes(), loaded, "what was unloaded can be served again");
  await again.service.close();
});

test("what is told of a model's memory on the device is what it took there", { skip }, async (context) => {
  for (const mode of SERVED_MODES) {
    const start = residentBytes();
    const { service } = await served(context, { modes: [mode] });
    const took = residentBytes() - start;
    const { memory } = service.repository.model(mode);
    const told = memory.filter(({ place }) => place === "device").reduce((sum, { bytes }) => sum + bytes, 0);
    assert.equal(told, took, mode);
    const [statistics] = service.statistics(mode);
    assert.deepEqual(
      statistics!.memory_usage.find(({ type }) => type === "GPU"),
      { type: "GPU", id: 0, byte_size: took },
    );
    await service.close();
  }
});

/** A team whose layers are large enough to be shared, exported in every mode. */
async function served(
  context: Parameters<typeof openFolder>[0],
  { modes = SERVED_MODES }: { readonly modes?: readonly (typeof SERVED_MODES)[number][] },
) {
  const repository = temporaryFolder(context);
  const team = randomTeam({ hidden: [32, 32], recurrent: true });
  for (const mode of modes) exportTeam(team, { repository, mode, name: mode });
  const { service } = await openFolder(context, repository, { runtime: createRuntime("webgpu") });
  return { service, repository };
}
