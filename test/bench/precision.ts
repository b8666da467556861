/**
 * What do fewer bits a weight cost and gain on this CPU? One agent's merged network in each form: file, latency and the
 * largest difference of an action in [−1, 1] from float32's, one thread.
 *
 *     node --import tsx test/bench/precision.ts [--rounds 5] [--json]
 *
 * Every round is a fresh process that runs the forms in turn, in the other order each time. ONNX Runtime's CPU kernels
 * multiply float16 as float32; what devices gain shows with `lorasa compare --device`.
 */
import { execFileSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/random.ts";
import { median } from "../../src/base/statistics.ts";
import { type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { formatColumns } from "./load/floors.ts";
import { benchTeam, FORMS, type Form, OBSERVATION } from "./precision-graphs.ts";

const HIDDEN = [64, 256, 1024] as const;
const ROWS = [1, 64] as const;
const NAMES = Object.keys(FORMS) as Form[];
/** Turns of all forms in a round. */
const TURNS = 10;
const TURN_MS = 8;
/** Random observations on which actions are compared, spread as exports are verified. */
const COMPARED_ROWS = 1000;
const SPREAD = 1.5;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
    round: { type: "string" },
  },
});

interface Measured {
  readonly hidden: number;
  readonly rows: number;
  readonly form: Form;
  readonly us: number;
  readonly bytes: number;
  readonly actionDiff: number;
}

if (values.round === undefined) report();
else process.stdout.write(`${JSON.stringify(measureRound(Number(values.round) % 2 === 1))}\n`);

function report(): void {
  const rounds = Array.from({ length: Number(values.rounds) }, (_, round) => {
    const given = ["--import", "tsx", fileURLToPath(import.meta.url), "--round", `${round}`];
    process.stderr.write(`round ${round + 1}\n`);
    return JSON.parse(execFileSync(process.execPath, given, { encoding: "utf8" })) as Measured[];
  });
  const results = rounds[0]!.map((own, at) => {
    const times = rounds.map((round) => round[at]!.us);
    // Beside float32 in the same process.
    const ratios = rounds.map((round) => {
      const full = round.find(({ hidden, rows, form }) => {
        return hidden === own.hidden && rows === own.rows && form === "fp32";
      });
      return round[at]!.us / full!.us;
    });
    return { ...own, us: median(times), ratio: median(ratios), rounds: times, ratios };
  });
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ cores: availableParallelism(), threads: 1, results })}\n`);
    return;
  }
  const head = ["hidden, rows, form", "bytes", "µs", "of fp32", "lowest", "highest", "action differs by"];
  const lines = results.map(({ hidden, rows, form, bytes, us, ratio, ratios, actionDiff }) => [
    `${hidden}, ${rows}, ${form}`,
    `${bytes}`,
    us.toFixed(1),
    ratio.toFixed(2),
    Math.min(...ratios).toFixed(2),
    Math.max(...ratios).toFixed(2),
    actionDiff === 0 ? "0" : actionDiff.toExponential(1),
  ]);
  process.stdout.write(`${formatColumns([head, ...lines]).join("\n")}\n`);
}

/** In the order of sizes, rows and forms, whichever way they were run. */
function measureRound(reversed: boolean): Measured[] {
  return HIDDEN.flatMap((hidden) => {
    const team = benchTeam(hidden);
    const graphs = NAMES.map((form) => {
      const bytes = FORMS[form](team);
      return { form, bytes: bytes.length, session: createRuntime().createSession(bytes) };
    });
    const actions = graphs.map(({ session }) => actionsOf(session.run({ obs: observations(COMPARED_ROWS) })));
    const measured = ROWS.flatMap((rows) => {
      const obs = observations(rows);
      const turns = graphs.map(({ session }) => ({ run: () => session.run({ obs }), us: [] as number[] }));
      for (let turn = 0; turn < TURNS; turn++) {
        for (const { run, us } of reversed ? turns.toReversed() : turns) us.push(timeOf(run));
      }
      return graphs.map(({ form, bytes }, at) => {
        const actionDiff = furthest(actions[at]!, actions[0]!);
        return { hidden, rows, form, us: median(turns[at]!.us), bytes, actionDiff };
      });
    });
    for (const { session } of graphs) session.dispose();
    return measured;
  });
}

function observations(rows: number): FloatTensor {
  const random = new Random(16);
  const data = Float32Array.from({ length: rows * OBSERVATION }, () => SPREAD * random.normal());
  return floatTensor([rows, OBSERVATION], data);
}

/** Microseconds a run, the first left out. */
function timeOf(run: () => void): number {
  run();
  let count = 0;
  const begin = performance.now();
  while (performance.now() - begin < TURN_MS) {
    run();
    count += 1;
  }
  return ((performance.now() - begin) / count) * 1000;
}

function actionsOf({ action }: Readonly<Record<string, unknown>>): Float32Array {
  // A continuous head's actions are float32 on the host.
  return (action as HostTensor).data as Float32Array;
}

function furthest(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, k) => Math.max(most, Math.abs(value - b[k]!)), 0);
}
