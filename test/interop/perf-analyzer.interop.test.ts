/** Triton's load generator, unmodified, against a server of ours: it must end well and see the server's own counts. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { perfAnalyzer } from "./perf-analyzer-binary.ts";
import {
  addressOf,
  pushVariant,
  RECURRENT,
  type ServedModels,
  serveModels,
  VARIANT,
  writeModels,
} from "./triton-served.ts";

const found = perfAnalyzer();
const skip = "missing" in found && found.missing;
const RUN_LIMIT_MS = 20_000;
/** Asynchronous over HTTP it waits for ever, some time after its last reply, once in 150 runs: such a run is repeated. */
const TRIES = 3;

let folder: string;
let server: ServedModels;

before(async () => {
  if ("missing" in found) return;
  folder = await mkdtemp(join(tmpdir(), "lorasa-perf-"));
  writeModels(join(folder, "repository"));
  server = await serveModels(join(folder, "repository"));
  await pushVariant(server.url);
  writeSequences(join(folder, "sequences.json"));
});

after(async () => {
  if ("missing" in found) return;
  await server.close();
  rmSync(folder, { recursive: true });
});

/** Of a run that was ended because it took too long. */
const STOPPED = -1;

interface Run {
  readonly code: number;
  readonly text: string;
  /** One object a line of the CSV report: a column's name and its cell. */
  readonly rows: readonly Readonly<Record<string, string>>[];
}

/** Short measurements: what is tested is that they end, not what they say. */
const SHORT = ["--measurement-interval", "300", "--max-trials", "3", "--stability-percentage", "10000"];

/** Doors by perf_analyzer's names for them, and how each is addressed. */
const DOORS = {
  http: () => ["-i", "http", "-u", addressOf(server.url)],
  grpc: () => ["-i", "grpc", "-u", addressOf(server.grpcUrl)],
} as const;

for (const [door, address] of Object.entries(DOORS)) {
  test(`${door}: a range of concurrencies over random observations`, { skip }, async () => {
    const before = await inferences("factored");
    const shape = ["-b", "3", "--shape", "obs:2,4"];
    const run = await perf(
      "-m",
      "factored",
      ...address(),
      ...shape,
      "--concurrency-range",
      "1:3:2",
      ...SHORT,
    );
    checkReport(run, ["1", "3"]);
    // It counts windows; the server also answered what fell between them.
    assert.ok((await inferences("factored")) - before >= reported(run));
  });

  test(`${door}: asynchronous calls to every mode and to one agent`, { skip }, async () => {
    for (const model of ["merged", "stacked", "factored.agent_1"]) {
      const options = ["--input-data", "zero", "--async", "--concurrency-range", "4"];
      checkReport(await perf("-m", model, ...address(), ...options, "--request-count", "60"), ["4"]);
    }
  });

  test(`${door}: a fixed rate of requests`, { skip }, async () => {
    const options = ["--request-rate-range", "50", "--request-count", "60"];
    const run = await perf("-m", "factored", ...address(), ...options);
    assert.equal(run.code, 0, run.text);
    assert.ok(Number(run.rows[0]?.["Inferences/Second"]) > 0, run.text);
  });

  test(`${door}: sequences of a recurrent model`, { skip }, async () => {
    for (const model of ["recurrent", "recurrent-merged"]) {
      const options = ["--input-data", join(folder, "sequences.json"), "--concurrency-range", "2"];
      // Asynchronous over HTTP, it ends a sequence on another connection while the step before is still under way.
      const ordered = door === "http" ? ["--sync"] : [];
      const run = await perf("-m", model, ...address(), ...options, ...ordered, "--request-count", "40");
      checkReport(run, ["2"]);
    }
  });

  test(`${door}: what the server refuses ends it with the server's message`, { skip }, async () => {
    const unknown = await perf("-m", "nobody", ...address());
    assert.notEqual(unknown.code, 0);
    assert.match(unknown.text, /LORASA_UNKNOWN_MODEL.*nobody/);
    // Zeros in an action mask leave nothing to choose.
    const masked = await perf(
      "-m",
      "discrete",
      ...address(),
      "--input-data",
      "zero",
      "--request-count",
      "10",
    );
    assert.notEqual(masked.code, 0);
    assert.match(masked.text, /LORASA_RANGE.*action_mask/);
  });

  test(`${door}: shared memory is refused in words and the server goes on`, { skip }, async () => {
    const options = ["--shared-memory", "system", "--request-count", "10"];
    const run = await perf("-m", "factored", ...address(), ...options);
    assert.notEqual(run.code, 0);
    assert.match(run.text, /shared.memory|not found/i);
    assert.equal((await fetch(`${server.url}/v2/health/ready`)).status, 200);
  });
}

test("http: tensors as JSON both ways, classes among them", { skip }, async () => {
  const json = ["--input-tensor-format", "json", "--output-tensor-format", "json"];
  const options = ["--input-data", join(folder, "sequences.json"), "--request-count", "60"];
  checkReport(await perf("-m", "discrete", ...DOORS.http(), ...options, ...json), ["1"]);
});

test("http: a header is sent along and metrics are collected", { skip }, async () => {
  const options = ["-H", "X-Request:7", "--concurrency-range", "1"];
  const metrics = ["--collect-metrics", "--metrics-url", `${addressOf(server.url)}/metrics`];
  const often = ["--metrics-interval", "100"];
  const run = await perf("-m", "factored", ...DOORS.http(), ...options, ...metrics, ...often, ...SHORT);
  checkReport(run, ["1"]);
});

test("grpc: streams, with and without sequences", { skip }, async () => {
  const plain = ["--request-count", "60"];
  checkReport(await perf("-m", "factored", ...DOORS.grpc(), ...plain, "--streaming"), ["1"]);
  const sequences = ["--input-data", join(folder, "sequences.json"), "--request-count", "40"];
  checkReport(await perf("-m", "recurrent", ...DOORS.grpc(), ...sequences, "--streaming"), ["1"]);
});

test("grpc: compressed messages", { skip }, async () => {
  const options = ["-b", "8", "--input-data", "zero", "--request-count", "60"];
  for (const algorithm of ["gzip", "deflate"]) {
    const compression = ["--grpc-compression-algorithm", algorithm];
    checkReport(await perf("-m", "factored", ...DOORS.grpc(), ...options, ...compression), ["1"]);
  }
});

test("grpc: a request parameter picks an adapter, an unknown one ends the run", { skip }, async () => {
  const options = ["-m", "factored.agent_0", ...DOORS.grpc(), "--request-count", "20"];
  const chosen = (adapter: string): string[] => ["--request-parameter", `adapter_id:${adapter}:string`];
  checkReport(await perf(...options, ...chosen(VARIANT.name)), ["1"]);
  const unknown = await perf(...options, ...chosen("agent_0.red"));
  assert.notEqual(unknown.code, 0);
  assert.match(unknown.text, /LORASA_UNKNOWN_ADAPTER/);
});

/** Runs it to its end, again where it stopped without waiting for the server. */
async function perf(...args: readonly string[]): Promise<Run> {
  for (let left = TRIES; ; left--) {
    const run = await perfOnce(args);
    if (run.code !== STOPPED || left === 1) return run;
    assert.equal(await requestsInServer(), 0, `the server owes it a reply\n${run.text}`);
  }
}

/** That are begun and not answered; the request that asks is one too. */
async function requestsInServer(): Promise<number> {
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  return Number(/^lorasa_inflight (\d+)$/m.exec(metrics)?.[1]) - 1;
}

/** The report as text and as CSV. */
async function perfOnce(args: readonly string[]): Promise<Run> {
  assert.ok("command" in found);
  const csv = join(folder, "report.csv");
  rmSync(csv, { force: true });
  const [command, ...leading] = found.command;
  const all = [...leading, ...args, "-f", csv, "--verbose-csv"];
  const result = await new Promise<{ code: number; text: string }>((resolve) => {
    execFile(command!, all, { timeout: RUN_LIMIT_MS, cwd: folder }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : STOPPED;
      // A wrong option prints every option first: the end says what is wrong.
      resolve({ code, text: `${args.join(" ")}\n${`${stdout}${stderr}`.slice(-4000)}` });
    });
  });
  return { ...result, rows: result.code === 0 ? parseCsv(readFileSync(csv, "utf8")) : [] };
}

function parseCsv(text: string): Record<string, string>[] {
  const [header, ...lines] = text.trim().split("\n");
  const names = header!.split(",");
  return lines.map((line) => Object.fromEntries(line.split(",").map((cell, at) => [names[at]!, cell])));
}

/** It ended well, measured each concurrency, and read the server's own statistics. */
function checkReport(run: Run, concurrencies: readonly string[]): void {
  assert.equal(run.code, 0, run.text);
  assert.deepEqual(
    run.rows.map((row) => row["Concurrency"]),
    concurrencies,
    run.text,
  );
  for (const row of run.rows) {
    assert.ok(Number(row["Inferences/Second"]) > 0, run.text);
    for (const column of [
      "Server Queue",
      "Server Compute Input",
      "Server Compute Infer",
      "Server Compute Output",
    ])
      assert.ok(Number(row[column]) >= 0, `${column} in ${JSON.stringify(row)}`);
  }
  assert.ok(reported(run) > 0, run.text);
}

/** Inferences that the server counted, as the report's text gives them, of all concurrencies together. */
function reported({ text }: Run): number {
  return [...text.matchAll(/Inference count: (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

async function inferences(model: string): Promise<number> {
  const reply = await fetch(`${server.url}/v2/models/${model}/stats`);
  const { model_stats } = (await reply.json()) as { model_stats: [{ inference_count: number }] };
  return model_stats[0].inference_count;
}

/** Two episodes of unequal lengths: observations alone, so that the server fills state and action masks. */
function writeSequences(path: string): void {
  const { agents, observation } = RECURRENT;
  const step = (at: number): object => ({
    obs: {
      content: Array.from({ length: agents * observation }, (_, i) => Math.sin(at + i) + 0.001),
      shape: [agents, observation],
    },
  });
  const episode = (length: number): object[] => Array.from({ length }, (_, at) => step(at));
  writeFileSync(path, JSON.stringify({ data: [episode(4), episode(7)] }));
}
