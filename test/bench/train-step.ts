/**
 * How long is one training step: as one ONNX graph on ONNX Runtime and on TensorFlow.js, and written with
 * TensorFlow.js, on its WASM and CPU backends? The same network, loss, clipping and Adam, one thread, all losses
 * compared before anything is timed.
 *
 *     node --import tsx test/bench/train-step.ts [--rounds 5] [--json]
 */
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "../../src/base/statistics.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { createTensorflowRuntime } from "../../src/runtime/tensorflow/runtime.ts";
import { BATCHES, graphStepper, type StepName } from "./train-step-graphs.ts";
import { tensorflowStepper } from "./train-step-tensorflow.ts";

const NETWORKS = Object.keys(BATCHES) as StepName[];
/** The first is what the others are compared with. */
const RUNNERS = {
  onnxruntime: async (network) => graphStepper(network, createRuntime()),
  "tensorflow-wasm, the graph": async (network) =>
    graphStepper(network, await createTensorflowRuntime(["wasm"])),
  "tensorflow-cpu, the graph": async (network) =>
    graphStepper(network, await createTensorflowRuntime(["cpu"])),
  "tensorflow-wasm": (network) => tensorflowStepper(network, "wasm"),
  "tensorflow-cpu": (network) => tensorflowStepper(network, "cpu"),
} as const satisfies Record<string, (network: StepName) => Promise<() => number>>;
const WARM_UP_STEPS = 2;
/** At least one step is timed, however long it takes. */
const MEASURED_MS = 2000;
/** Relative difference of losses after a few steps that other orders of summation explain. */
const AGREEMENT = 1e-3;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    case: { type: "string" },
  },
});

if (values.case === undefined) report();
else process.stdout.write(`${JSON.stringify(await measure(values.case))}\n`);

interface Measured {
  /** Median milliseconds a step. */
  readonly ms: number;
  readonly losses: readonly number[];
}

/** Each runner in a fresh process, the order reversed each round. */
function report(): void {
  const results = NETWORKS.map((network) => {
    const cases = Object.keys(RUNNERS).map((runner) => `${network} ${runner}`);
    const rounds = new Map(cases.map((name) => [name, [] as number[]]));
    let losses: readonly number[] | undefined;
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const name of round % 2 === 0 ? cases : [...cases].reverse()) {
        const measured = inFreshProcess(name);
        losses ??= measured.losses;
        requireAgreement(name, measured.losses, losses);
        rounds.get(name)!.push(Number(measured.ms.toFixed(3)));
        process.stderr.write(`round ${round + 1}  ${name.padEnd(40)} ${measured.ms.toFixed(2)} ms\n`);
      }
    }
    const ours = median(rounds.get(cases[0]!)!);
    const rows = Object.keys(RUNNERS).map((runner, index) => {
      const figures = rounds.get(cases[index]!)!;
      const ratio = Number((median(figures) / ours).toFixed(1));
      return {
        runner,
        ms: median(figures),
        lowest: Math.min(...figures),
        highest: Math.max(...figures),
        ratio,
        rounds: figures,
      };
    });
    return { network, ...BATCHES[network], rows };
  });
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ cores: availableParallelism(), threads: 1, results })}\n`);
    return;
  }
  for (const { network, about, rows } of results) {
    process.stdout.write(`${network}: ${about}\n`);
    for (const { runner, ms, lowest, highest, ratio } of rows)
      process.stdout.write(
        `  ${runner.padEnd(26)} ${ms} ms a step (${lowest} to ${highest}), ${ratio} × onnxruntime\n`,
      );
  }
}

function requireAgreement(name: string, losses: readonly number[], expected: readonly number[]): void {
  const apart = losses.findIndex(
    (loss, index) =>
      !(Math.abs(loss - expected[index]!) <= AGREEMENT * Math.max(Math.abs(expected[index]!), 0.01)),
  );
  if (apart >= 0) throw new Error(`${name}: losses ${losses.join(", ")} are not ${expected.join(", ")}`);
}

function inFreshProcess(name: string): Measured {
  const given = ["--import", "tsx", fileURLToPath(import.meta.url), "--case", name];
  return JSON.parse(execFileSync(process.execPath, given, { encoding: "utf8" }));
}

async function measure(name: string): Promise<Measured> {
  // A case is a network and, after the first space, a runner.
  const [network, ...runner] = name.split(" ") as [StepName, ...string[]];
  const step = await RUNNERS[runner.join(" ") as keyof typeof RUNNERS](network);
  const losses = Array.from({ length: WARM_UP_STEPS }, () => step());
  const times: number[] = [];
  const begin = performance.now();
  while (times.length === 0 || performance.now() - begin < MEASURED_MS) {
    const start = performance.now();
    step();
    times.push(performance.now() - start);
  }
  return { ms: median(times), losses };
}
