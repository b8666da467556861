/**
 * What does the server cost over the graph that it runs? Requests from kept-alive connections in a closed loop, against
 * a bare `node:http` server and an Express route that read and answer the same bytes with the same graph.
 *
 *     node --import tsx test/bench/server.ts [--rounds 5] [--slice-ms 700] [--json]
 *
 * Each round has fresh processes, warmed up; the order is reversed each round. The server's core is its own; the load
 * has another, and its share of processor time says whether it was what bounds. The part of server time outside ONNX
 * Runtime is taken in three ways, the first with one connection, so that no request waits for another: of the time of a
 * request in the engine, as the protocol's statistics count it and perf_analyzer prints it (`outside, engine`); of the
 * time from the request being there whole to its reply handed to the socket (`outside, handling`); and of the process's
 * processor time, which has all of HTTP in it (`outside, processor`).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { TwinAnswers } from "./load/bare-process.ts";
import { formatColumns, formatFloors } from "./load/floors.ts";
import type { LoadAnswers, LoadResult } from "./load/load-process.ts";
import type { LorasaAnswers } from "./load/lorasa-process.ts";
import { AGENTS, exportFactored, MODEL, mlpTeam } from "./load/policy.ts";
import { PINNING, startWorker, type Worker } from "./load/processes.ts";
import { readMetrics } from "./load/prometheus.ts";
import { CASES, type CaseName, REQUESTS, type ServerName } from "./load/server-cases.ts";
import { floorsOf, type Measured, type Round, tableOf } from "./load/server-report.ts";
import { matchTwins } from "./load/twins.ts";
import type { Usage } from "./load/usage.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    "slice-ms": { type: "string", default: "700" },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const sliceMs = Number(values["slice-ms"]);
const names = Object.keys(CASES) as CaseName[];

interface Servers {
  readonly load: Worker<LoadAnswers>;
  readonly workers: Readonly<Record<ServerName, Worker<{ usage(): Usage }>>>;
  readonly ports: Readonly<Record<ServerName, number>>;
}

/** What each figure is read from; all are sums since the server began. */
const SERVER_TIMES = {
  /** Of batches, in the graphs. */
  compute: "lorasa_compute_seconds_sum",
  handling: "lorasa_request_duration_seconds_sum",
  /** Of requests, each with the whole of its batch. */
  inferring: "nv_inference_compute_infer_duration_us",
  engine: "nv_inference_request_duration_us",
} as const;

const repository = mkdtempSync(join(tmpdir(), "lorasa-bench-"));
const measured: Round[] = [];
try {
  exportFactored(mlpTeam(), repository);
  for (let round = 0; round < rounds; round++) {
    measured.push(await measureRound(round % 2 === 0 ? names : names.toReversed()));
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
} finally {
  rmSync(repository, { recursive: true });
}
report();

async function measureRound(order: readonly CaseName[]): Promise<Round> {
  const folder = [join(repository, MODEL)];
  const lorasa = startWorker<LorasaAnswers>("server", "lorasa-process", { args: [repository] });
  const bare = startWorker<TwinAnswers>("server", "bare-process", { args: folder });
  const express = startWorker<TwinAnswers>("server", "express-process", { args: folder });
  const load = startWorker<LoadAnswers>("load", "load-process");
  const workers = { lorasa, bare, express };
  try {
    const ports = {
      lorasa: await lorasa.ask("start"),
      bare: await bare.ask("start"),
      express: await express.ask("start"),
    };
    const twins = [bare, express].map((worker, at) => ({ worker, port: [ports.bare, ports.express][at]! }));
    await matchTwins(ports.lorasa, twins, [REQUESTS.binary, REQUESTS.json]);
    const servers = { load, workers, ports };
    for (const name of order) await send(servers, name);
    const results: Partial<Record<CaseName, Measured>> = {};
    for (const name of order) results[name] = await measureCase(servers, name);
    // Every case is in the order.
    return results as Round;
  } finally {
    await Promise.all([lorasa, bare, express, load].map((worker) => worker.stop()));
  }
}

function send({ load, ports }: Servers, name: CaseName): Promise<LoadResult> {
  const { server, request, connections } = CASES[name];
  const order = { port: ports[server], request: REQUESTS[request], connections, durationMs: sliceMs };
  return load.ask("closed", order);
}

async function measureCase(servers: Servers, name: CaseName): Promise<Measured> {
  const { server } = CASES[name];
  const worker = servers.workers[server];
  const before = server === "lorasa" ? await serverSeconds(servers.ports.lorasa) : undefined;
  const { cpuSeconds } = await worker.ask("usage");
  const result = await send(servers, name);
  const cpu = (await worker.ask("usage")).cpuSeconds - cpuSeconds;
  const after = before && (await serverSeconds(servers.ports.lorasa));
  const common = {
    ...result,
    requestsPerSecond: result.count / result.seconds,
    cpuShareOfServer: cpu / result.seconds,
    cpuUsOfServer: (cpu * 1e6) / result.count,
  };
  if (!before || !after) return common;
  const compute = after.compute - before.compute;
  const outside = {
    engine: 1 - (after.inferring - before.inferring) / (after.engine - before.engine),
    handling: 1 - compute / (after.handling - before.handling),
    processor: 1 - compute / cpu,
  };
  return { ...common, outside };
}

async function serverSeconds(port: number): Promise<Readonly<Record<keyof typeof SERVER_TIMES, number>>> {
  const metrics = await readMetrics(port, Object.values(SERVER_TIMES));
  const { compute, handling, inferring, engine } = SERVER_TIMES;
  return {
    compute: metrics[compute]!,
    handling: metrics[handling]!,
    inferring: metrics[inferring]!,
    engine: metrics[engine]!,
  };
}

function report(): void {
  const floors = floorsOf(measured);
  if (values.json) {
    const about = { machine: cpus()[0]?.model, pinning: PINNING, sliceMs };
    process.stdout.write(`${JSON.stringify({ ...about, floors, rounds: measured })}\n`);
    return;
  }
  const about = `${AGENTS} agents, medians of ${rounds} rounds, ${PINNING}`;
  const lines = [about, ...formatColumns(tableOf(measured)), "", ...formatFloors(floors)];
  process.stdout.write(`${lines.join("\n")}\n`);
}
