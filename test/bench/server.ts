/**
 * What does the server cost over the graph that it runs? A team request from 16 kept-alive connections in a closed
 * loop, binary and JSON, against a bare `node:http` server that runs the same graph on the request's bytes.
 *
 * `node --import tsx test/bench/server.ts [--json]`; some ten seconds. Each case has a fresh server
 * process, warmed up once; the order is reversed each round. `outside` is the part of the server's processor time that is not spent in ONNX Runtime and
 * in ordering rows for it.
 */
import { type ChildProcess, fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startServer } from "../../server/app.ts";
import { median, quantile } from "../../src/base/statistics.ts";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { type TinyOptions, TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";

const CONNECTIONS = 16;
const ROUNDS = 5;
const ROUND_MS = 400;
const WARM_UP_MS = 1500;
const AGENTS = 8;
const OBSERVATION = 32;
const ACTION = 8;
const MODEL: TinyOptions = {
  mode: "factored",
  observationSizes: new Array<number>(AGENTS).fill(OBSERVATION),
  actionSizes: new Array<number>(AGENTS).fill(ACTION),
};

interface Round {
  readonly requestsPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly outside: number | null;
}

const observations = Float32Array.from({ length: AGENTS * OBSERVATION }, (_, i) => Math.sin(i));
const CASES = {
  bare: { server: "bare", request: rawRequest() },
  binary: { server: "lorasa", request: binaryRequest() },
  json: { server: "lorasa", request: jsonRequest() },
} as const;
type CaseName = keyof typeof CASES;

const [role, folder] = process.argv.slice(2);
if (role === "--serve-lorasa") await serveLorasa(folder!);
else if (role === "--serve-bare") await serveBare(folder!);
else await measure(process.argv.includes("--json"));

async function measure(json: boolean): Promise<void> {
  const repository = mkdtempSync(join(tmpdir(), "lorasa-bench-"));
  writeTinyRepository(repository, [MODEL]);
  const rounds: Record<CaseName, Round[]> = { bare: [], binary: [], json: [] };
  const names = Object.keys(CASES) as CaseName[];
  const servers = names.map((name) =>
    fork(fileURLToPath(import.meta.url), [`--serve-${CASES[name].server}`, repository]),
  );
  try {
    const ports = await Promise.all(servers.map(childPort));
    for (const [at, name] of names.entries()) await load(ports[at]!, CASES[name].request, WARM_UP_MS);
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of round % 2 === 0 ? names : names.toReversed()) {
        rounds[name].push(await measureCase(name, ports[names.indexOf(name)]!));
      }
    }
  } finally {
    for (const server of servers) server.kill();
    rmSync(repository, { recursive: true });
  }
  const report = names.map((name) => summary(name, rounds));
  if (json)
    process.stdout.write(`${JSON.stringify({ connections: CONNECTIONS, agents: AGENTS, cases: report })}\n`);
  else process.stdout.write(`${formatReport(report)}\n`);
}

function summary(name: CaseName, rounds: Readonly<Record<CaseName, Round[]>>) {
  const own = rounds[name];
  const rates = own.map(({ requestsPerSecond }) => requestsPerSecond);
  return {
    name,
    requestsPerSecond: Math.round(median(rates)),
    spread: [Math.round(Math.min(...rates)), Math.round(Math.max(...rates))],
    ofBare: median(rates.map((rate, round) => rate / rounds.bare[round]!.requestsPerSecond)),
    p50Us: Math.round(median(own.map(({ p50Us }) => p50Us))),
    p99Us: Math.round(median(own.map(({ p99Us }) => p99Us))),
    outside: own[0]!.outside === null ? null : median(own.map(({ outside }) => outside ?? Number.NaN)),
    rounds: own,
  };
}

function formatReport(report: readonly ReturnType<typeof summary>[]): string {
  const lines = report.map((row) => {
    const outside = row.outside === null ? "" : `, ${(row.outside * 100).toFixed(0)} % outside ONNX Runtime`;
    const spread = `${row.spread[0]} to ${row.spread[1]}`;
    return `${row.name.padEnd(7)} ${row.requestsPerSecond} requests/s (${spread}; ${row.ofBare.toFixed(2)} of bare), p50 ${row.p50Us} µs, p99 ${row.p99Us} µs${outside}`;
  });
  return [
    `team request of ${AGENTS} agents, ${CONNECTIONS} connections, median of ${ROUNDS} rounds`,
    ...lines,
  ].join("\n");
}

async function measureCase(name: CaseName, port: number): Promise<Round> {
  const { server, request } = CASES[name];
  const before = server === "lorasa" ? await busy(port) : undefined;
  const { latencies, seconds } = await load(port, request, ROUND_MS);
  const after = before && (await busy(port));
  return {
    requestsPerSecond: latencies.length / seconds,
    p50Us: quantile(latencies, 0.5) * 1000,
    p99Us: quantile(latencies, 0.99) * 1000,
    outside: before && after ? 1 - (after.compute - before.compute) / (after.cpu - before.cpu) : null,
  };
}

/** Seconds of processor time and of compute since the server began, from its own metrics. */
async function busy(port: number): Promise<{ cpu: number; compute: number }> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const read = (pattern: RegExp): number => Number(pattern.exec(text)?.[1]);
  return {
    cpu: read(/^process_cpu_seconds_total (\S+)$/m),
    compute: read(/^lorasa_compute_seconds_sum\{[^}]*\} (\S+)$/m),
  };
}

function childPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("message", (port) => resolve(Number(port)));
    child.once("exit", () => reject(new Error("a server ended before it listened")));
  });
}

/** Every connection sends its next request when the reply to the last is complete. */
async function load(port: number, request: Buffer, durationMs: number) {
  const latencies: number[] = [];
  const started = performance.now();
  const end = started + durationMs;
  await Promise.all(Array.from({ length: CONNECTIONS }, () => drive(port, request, end, latencies)));
  return { latencies, seconds: (performance.now() - started) / 1000 };
}

function drive(port: number, request: Buffer, end: number, latencies: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: "127.0.0.1", noDelay: true });
    let sentAt = 0;
    let received: Buffer = Buffer.alloc(0);
    const send = (): void => {
      sentAt = performance.now();
      socket.write(request);
    };
    socket.on("connect", send);
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const size = replySize(received);
      if (size === undefined || received.length < size) return;
      if (!received.subarray(0, 15).includes("200")) reject(new Error(received.toString("utf8")));
      received = Buffer.alloc(0);
      const now = performance.now();
      latencies.push(now - sentAt);
      if (now < end) send();
      else {
        socket.destroy();
        resolve();
      }
    });
  });
}

/** Bytes of the whole reply at the start of a buffer, once its headers are there. */
function replySize(received: Buffer): number | undefined {
  const head = received.indexOf("\r\n\r\n");
  if (head < 0) return undefined;
  const length = /content-length: (\d+)/i.exec(received.toString("latin1", 0, head))?.[1];
  return head + 4 + Number(length);
}

function binaryRequest(): Buffer {
  const bytes = Buffer.from(observations.buffer);
  const json = JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: [{ ...described(), parameters: { binary_data_size: bytes.length } }],
  });
  return httpRequest(
    `Inference-Header-Content-Length: ${json.length}\r\n`,
    Buffer.concat([Buffer.from(json), bytes]),
  );
}

function jsonRequest(): Buffer {
  return httpRequest(
    "",
    Buffer.from(JSON.stringify({ inputs: [{ ...described(), data: [...observations] }] })),
  );
}

function rawRequest(): Buffer {
  return httpRequest("", Buffer.from(observations.buffer));
}

function described(): object {
  return { name: "obs", datatype: "FP32", shape: [1, AGENTS, OBSERVATION] };
}

function httpRequest(headers: string, body: Buffer): Buffer {
  const head = `POST /v2/models/team/infer HTTP/1.1\r\nHost: bench\r\n${headers}Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

async function serveLorasa(repository: string): Promise<void> {
  const server = await startServer({ repository, port: 0 });
  process.send?.(new URL(server.url).port);
}

/** Bytes in, bytes out: one fixed shape, no checks, no names, no metrics. */
async function serveBare(repository: string): Promise<void> {
  const policy = new TinyPolicy(MODEL);
  const session = createRuntime().createSession(readFileSync(join(repository, "team/1/team.onnx")));
  const layers = Array.from({ length: AGENTS }, (_, agent) => policy.adapter(agent).layers[0]!);
  const stack = (tensors: readonly FloatTensor[]): FloatTensor =>
    floatTensor(
      [AGENTS, ...tensors[0]!.dims],
      tensors.flatMap(({ data }) => [...data]),
    );
  const obs = floatTensor([AGENTS, 1, OBSERVATION]);
  const action = floatTensor([AGENTS, 1, ACTION]);
  const bound = session.bind(
    {
      obs,
      "policy.lora_A.weight": stack(layers.map(({ loraA }) => loraA)),
      "policy.lora_B.weight": stack(layers.map(({ loraB }) => loraB)),
    },
    { action },
  );
  const target = new Uint8Array(obs.data.buffer);
  const source = Buffer.from(action.data.buffer);
  const server = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => {
      target.set(chunk);
      bound.run();
      response.writeHead(200, { "Content-Length": source.length });
      response.end(Buffer.from(source));
    });
  });
  server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
}
