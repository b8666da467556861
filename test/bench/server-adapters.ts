/**
 * What do thousands of adapters on one backbone take, of which some are in memory? Memory over the idle server, and
 * the latency of an adapter that must be read first, against as many merged policies with a session each.
 *
 *     node --import tsx test/bench/server-adapters.ts [--adapters 10000] [--resident 1000] [--rounds 5] [--json]
 *
 * The policy is recurrent, 64 and 64 units, adapters of rank 8. Every reply is compared with what its adapter must act.
 * A cold adapter is one that the server has not in memory; its files were written shortly before, so that the system
 * has them. The idle server is the same process, settled by requests for the agent's own adapter; it is compared with one
 * that does not know the others by what V8 holds. Each round has fresh processes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { exportTeam } from "../../exporters/export-team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import {
  type AdaptersRound,
  floorsOf,
  latencyTable,
  type Memory,
  memoryTable,
} from "./load/adapters-report.ts";
import { formatColumns, formatFloors } from "./load/floors.ts";
import type { LatencySummary } from "./load/latencies.ts";
import type { LoadAnswers } from "./load/load-process.ts";
import type { LorasaAnswers } from "./load/lorasa-process.ts";
import { adapterBytes, adapterName, expectedActions, writeAdapters } from "./load/many-adapters.ts";
import type { MergedAnswers, MergedResult } from "./load/merged-process.ts";
import { ACTIONS, exportFactored, MODEL, observations, recurrentTeam } from "./load/policy.ts";
import { PINNING, startWorker, type Worker } from "./load/processes.ts";
import { binaryRequest } from "./load/requests.ts";
import type { Usage } from "./load/usage.ts";

const MERGED_COUNTS = [100, 1000];
const WARM_REQUESTS = 2000;
/** Before memory is read: what is made once is made. */
const SETTLING_REQUESTS = 10_000;

const { values } = parseArgs({
  options: {
    adapters: { type: "string", default: "10000" },
    resident: { type: "string", default: "1000" },
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});
const adapters = Number(values.adapters);
const resident = Number(values.resident);

interface Policy {
  /** Inputs of one row. */
  readonly row: Parameters<typeof binaryRequest>[1];
  /** By adapter. */
  readonly requests: readonly Buffer[];
  /** float32 [adapters, K]. */
  readonly actions: Float32Array;
  /** Repositories with and without the adapters; graphs of the agents, merged. */
  readonly many: string;
  readonly none: string;
  readonly graphs: readonly string[];
}

interface Served {
  readonly server: Worker<LorasaAnswers>;
  readonly load: Worker<LoadAnswers>;
  readonly port: number;
}

const folder = mkdtempSync(join(tmpdir(), "lorasa-bench-"));
try {
  const policy = prepare();
  process.stderr.write(`${adapters} adapters are written\n`);
  const measured: AdaptersRound[] = [];
  for (let round = 0; round < Number(values.rounds); round++) {
    measured.push(await measureRound(policy, round % 2 === 1));
    process.stderr.write(`round ${round + 1} of ${values.rounds}\n`);
  }
  report(measured, adapterBytes(join(policy.none, MODEL)));
} finally {
  rmSync(folder, { recursive: true });
}

function prepare(): Policy {
  const team = recurrentTeam();
  const [many, none, merged] = [join(folder, "many"), join(folder, "none"), join(folder, "merged")];
  exportFactored(team, many);
  exportFactored(team, none);
  exportTeam(team, { repository: merged, mode: "merged", name: MODEL });
  writeAdapters(team, join(many, MODEL), adapters);
  const { graphs, hiddenSize } = readModelManifest(join(merged, MODEL));
  const row = { obs: observations([1]), hidden_in: floatTensor([1, hiddenSize]) };
  const names = Array.from({ length: adapters }, (_, index) => `${MODEL}.${adapterName(index)}`);
  return {
    row,
    requests: names.map((name) => binaryRequest(name, row)),
    actions: expectedActions(team, join(many, MODEL), adapters, row),
    many,
    none,
    graphs: Object.values(graphs.agents!).map((path) => join(merged, MODEL, path)),
  };
}

async function measureRound(policy: Policy, mergedFirst: boolean): Promise<AdaptersRound> {
  const first = mergedFirst ? await measureMerged(policy) : undefined;
  const served = await measureServed(policy);
  return { ...served, merged: first ?? (await measureMerged(policy)) };
}

async function measureServed(policy: Policy): Promise<Omit<AdaptersRound, "merged">> {
  const without = await serve(policy.none, (served) => settle(policy, served));
  return serve(policy.many, async (served) => {
    const idle = await settle(policy, served);
    const random = new Random(1);
    const held = Array.from({ length: resident }, (_, at) => at);
    await askEach(policy, served, held);
    const full = over(idle, await served.server.ask("usage"));
    const warm = await askEach(
      policy,
      served,
      Array.from({ length: WARM_REQUESTS }, () => random.integer(resident)),
    );
    // Others than those: each is read, and takes the place of one that was not asked for longest.
    const others = held.map((at) => resident + (at % (adapters - resident)));
    const cold = await askEach(policy, served, others);
    const after = over(idle, await served.server.ask("usage"));
    return { knownBytes: idle.usedBytes - without.usedBytes, memory: { full, after }, cold, warm };
  });
}

async function serve<T>(repository: string, measure: (served: Served) => Promise<T>): Promise<T> {
  const args = [repository, JSON.stringify({ residentAdapters: resident })];
  const server = startWorker<LorasaAnswers>("server", "lorasa-process", { args, exposeGc: true });
  const load = startWorker<LoadAnswers>("load", "load-process");
  try {
    return await measure({ server, load, port: await server.ask("start") });
  } finally {
    await Promise.all([server.stop(), load.stop()]);
  }
}

/** Asks for the agent's own adapter often enough that nothing is new. */
async function settle({ row }: Policy, { server, load, port }: Served): Promise<Usage> {
  const request = binaryRequest(`${MODEL}.agent_0`, row);
  await load.ask("closed", { port, request, connections: 1, count: SETTLING_REQUESTS });
  return server.ask("usage");
}

/** One request for each adapter, one after the other. */
function askEach(
  policy: Policy,
  { load, port }: Served,
  indices: readonly number[],
): Promise<LatencySummary> {
  const actions = new Float32Array(indices.length * ACTIONS);
  for (const [at, index] of indices.entries()) {
    actions.set(policy.actions.subarray(index * ACTIONS, (index + 1) * ACTIONS), at * ACTIONS);
  }
  return load.ask("list", { port, requests: indices.map((index) => policy.requests[index]!), actions });
}

function over(idle: Usage, now: Usage): Memory {
  return { resident: now.residentBytes - idle.residentBytes, used: now.usedBytes - idle.usedBytes };
}

async function measureMerged({ graphs }: Policy): Promise<MergedResult[]> {
  const results: MergedResult[] = [];
  for (const count of MERGED_COUNTS) {
    const worker = startWorker<MergedAnswers>("server", "merged-process", { args: graphs, exposeGc: true });
    results.push(await worker.ask("create", count));
    await worker.stop();
  }
  return results;
}

function report(measured: readonly AdaptersRound[], bytes: number): void {
  const counts = { adapters, resident, merged: MERGED_COUNTS, adapterBytes: bytes };
  const floors = floorsOf(measured, counts);
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ pinning: PINNING, counts, floors, rounds: measured })}\n`);
    return;
  }
  const kibibytes = (bytes / 1024).toFixed(1);
  const lines = [
    `one recurrent backbone, adapters of ${kibibytes} KiB, medians of ${measured.length} rounds, ${PINNING}`,
    ...formatColumns(memoryTable(measured, counts)),
    "",
    ...formatColumns(latencyTable(measured)),
    "",
    ...formatFloors(floors),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
