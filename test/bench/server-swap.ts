/**
 * Does swapping adapters disturb who asks? Half of the highest load of team requests, evenly without and with a swap
 * every 10 ms over all agents, each reply checked against what the adapter versions that it names must act.
 *
 *     node --import tsx test/bench/server-swap.ts [--seconds 60] [--rounds 6] [--every-ms 10] [--arrivals poisson] [--json]
 *
 * Latencies count from the moment at which a request was due, whether or not it could be sent then. `mixed` replies act
 * otherwise than the versions that they name, or name one that was never pushed; `stale` ones name an older version
 * than the newest that was acknowledged before the request was sent.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Team } from "../../models/team.ts";
import { median } from "../../src/base/statistics.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { actionTable } from "./load/action-table.ts";
import { floor, formatColumns, formatFloors } from "./load/floors.ts";
import type { LorasaAnswers } from "./load/lorasa-process.ts";
import { growth, type Sample, sampleResident } from "./load/memory.ts";
import {
  AGENTS,
  adapterOf,
  exportFactored,
  MODEL,
  mlpTeam,
  observations,
  teamVariant,
} from "./load/policy.ts";
import { PINNING, startWorker, type Worker } from "./load/processes.ts";
import { binaryRequest, pushRequest } from "./load/requests.ts";
import type { Highest, PacedResult, SwapAnswers } from "./load/swap-process.ts";

const VARIANTS = 8;
const OBSERVATION_SETS = 4;
const CLOSED_CONNECTIONS = 16;
const OPEN_CONNECTIONS = 64;
/** The first warms up. */
const HIGHEST_ROUNDS = 4;
const HIGHEST_MS = 2000;
const WARM_UP_MS = 3000;
const MOST_GAINED_MIB = 8;
const TOKEN = "a token for the benchmark";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    rounds: { type: "string", default: "6" },
    "every-ms": { type: "string", default: "10" },
    arrivals: { type: "string", default: "poisson" },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const swapEveryMs = Number(values["every-ms"]);
const arrivals = values.arrivals === "even" ? "even" : "poisson";

interface Round {
  readonly calm: PacedResult;
  readonly swapping: PacedResult;
}

const repository = mkdtempSync(join(tmpdir(), "lorasa-bench-"));
const options = JSON.stringify({ token: TOKEN });
const server = startWorker<LorasaAnswers>("server", "lorasa-process", { args: [repository, options] });
const load = startWorker<SwapAnswers>("load", "swap-process");
try {
  await measure();
} finally {
  await Promise.all([server.stop(), load.stop()]);
  rmSync(repository, { recursive: true });
}

async function measure(): Promise<void> {
  await prepare(load);
  const all: Highest[] = [];
  while (all.length < HIGHEST_ROUNDS) {
    all.push(await load.ask("highest", { connections: CLOSED_CONNECTIONS, durationMs: HIGHEST_MS }));
  }
  const highest = {
    requestsPerSecond: median(all.slice(1).map(({ requestsPerSecond }) => requestsPerSecond)),
    cpuShare: median(all.slice(1).map(({ cpuShare }) => cpuShare)),
  };
  // Batches of sizes that full speed does not make are new too.
  await measureRound(false, highest.requestsPerSecond / 2, WARM_UP_MS);
  const durationMs = (Number(values.seconds) * 1000) / rounds;
  const memory = sampleResident(server.pid);
  const measured: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    measured.push(await measureRound(round % 2 === 1, highest.requestsPerSecond / 2, durationMs));
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  memory.stop();
  report(highest, measured, memory.samples);
}

async function prepare(load: Worker<SwapAnswers>): Promise<void> {
  const team = mlpTeam();
  exportFactored(team, repository);
  const sets = Array.from({ length: OBSERVATION_SETS }, (_, set) => observations([1, AGENTS], set + 1));
  await load.ask("prepare", {
    port: await server.ask("start"),
    agents: team.agents.map(({ name }) => name),
    table: actionTable(team, join(repository, MODEL), sets, VARIANTS),
    requests: sets.map((obs) => binaryRequest(MODEL, { obs })),
    pushes: preparePushes(team),
  });
}

/** Prepared pushes, by agent and variant. */
function preparePushes(team: Team): Buffer[][] {
  const variants = Array.from({ length: VARIANTS }, (_, variant) => teamVariant(team, variant));
  return team.agents.map(({ name }, agent) =>
    variants.map((variant) => {
      const files = encodeAdapter(adapterOf(variant, agent));
      const config = Buffer.from(files[CONFIG_FILE]!).toString("utf8");
      return pushRequest({
        model: MODEL,
        adapter: name,
        config,
        tensors: files[TENSORS_FILE]!,
        token: TOKEN,
      });
    }),
  );
}

async function measureRound(
  swapFirst: boolean,
  requestsPerSecond: number,
  durationMs: number,
): Promise<Round> {
  const order = { connections: OPEN_CONNECTIONS, requestsPerSecond, arrivals, durationMs } as const;
  const calm = () => load.ask("paced", order);
  const swapping = () => load.ask("paced", { ...order, swapEveryMs });
  if (swapFirst) return { swapping: await swapping(), calm: await calm() };
  return { calm: await calm(), swapping: await swapping() };
}

function report(highest: Highest, measured: readonly Round[], samples: readonly Sample[]): void {
  const wrong = (kind: "failed" | "mixed" | "stale"): number =>
    measured.reduce((sum, { calm, swapping }) => sum + calm.wrong[kind] + swapping.wrong[kind], 0);
  const unanswered = measured.reduce(
    (sum, { calm, swapping }) => sum + calm.unanswered + swapping.unanswered,
    0,
  );
  const ratios = measured.map(({ calm, swapping }) => swapping.p99Us / calm.p99Us);
  const resident = growth(samples);
  const floors = [
    floor("failed requests and pushes", wrong("failed") + unanswered, { most: 0 }),
    floor("mixed replies", wrong("mixed"), { most: 0 }),
    floor("stale replies", wrong("stale"), { most: 0 }),
    floor("p99 with swaps over without, median of rounds", median(ratios), { most: 2 }),
    floor("resident memory gained by its line, MiB", resident.gained / 2 ** 20, { most: MOST_GAINED_MIB }),
  ];
  if (values.json) {
    const about = { pinning: PINNING, highest, arrivals, swapEveryMs };
    process.stdout.write(`${JSON.stringify({ ...about, floors, resident, samples, rounds: measured })}\n`);
    return;
  }
  const first = measured
    .flatMap(({ calm, swapping }) => [calm.wrong.first, swapping.wrong.first])
    .find(Boolean);
  const lines = [
    `team requests of ${AGENTS} agents at ${Math.round(highest.requestsPerSecond / 2)} a second, ${arrivals} arrivals; ${PINNING}`,
    `half of the highest load, which took ${Math.round(highest.cpuShare * 100)} % of the load's core`,
    `${values.seconds} s without and with a swap every ${swapEveryMs} ms, in ${rounds} rounds of each`,
    ...formatColumns([
      [
        "",
        "requests",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "max µs",
        "sent late p99 µs",
        "swaps",
        "swap p50 µs",
        "swap p99 µs",
      ],
      row(
        "without",
        measured.map(({ calm }) => calm),
      ),
      row(
        "with swaps",
        measured.map(({ swapping }) => swapping),
      ),
    ]),
    `p99 ratio by round: ${ratios.map((ratio) => ratio.toFixed(2)).join(", ")}`,
    `resident memory: mean ${mebibytes(resident.mean)}, range ${mebibytes(resident.range)}, ${mebibytes(resident.perSecond * 60)} a minute by its line`,
    ...(first === undefined ? [] : [`the first wrong one: ${first}`]),
    "",
    ...formatFloors(floors),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}

/** Medians over rounds; requests and swaps are added up. */
function row(what: string, results: readonly PacedResult[]): string[] {
  const middle = (of: (result: PacedResult) => number): string => `${Math.round(median(results.map(of)))}`;
  const total = (of: (result: PacedResult) => number): string =>
    `${results.reduce((sum, each) => sum + of(each), 0)}`;
  const swapped = results.some(({ swaps }) => swaps.count > 0);
  return [
    what,
    total(({ count }) => count),
    middle(({ p50Us }) => p50Us),
    middle(({ p99Us }) => p99Us),
    middle(({ p999Us }) => p999Us),
    middle(({ maxUs }) => maxUs),
    middle(({ lateP99Us }) => lateP99Us),
    total(({ swaps }) => swaps.count),
    swapped ? middle(({ swaps }) => swaps.p50Us) : "",
    swapped ? middle(({ swaps }) => swaps.p99Us) : "",
  ];
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
