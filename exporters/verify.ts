/**
 * Runs every graph of a written export beside the network that it was made from, and compares all outputs. Reads the
 * files as a server would, adapters included.
 *
 * Letters: E environments.
 */
import { join } from "node:path";
import type { Team } from "../models/team.ts";
import { LorasaError } from "../src/base/errors.ts";
import { readFile } from "../src/base/files.ts";
import { Random } from "../src/base/random.ts";
import type { ModelManifest, Precision, Verification } from "../src/checkpoint/repository.ts";
import { createRuntime } from "../src/runtime/onnxruntime.ts";
import type { Device } from "../src/runtime/session.ts";
import { type GraphRun, openGraphRuns } from "./graph-runs.ts";
import { TOLERANCES } from "./precision.ts";
import { type ExpectedStep, ReferencePolicy } from "./reference.ts";
import { type Matrix, randomStep, type StepInputs } from "./verification-inputs.ts";

const STEPS = 12;
/** E. */
const ENVS = 3;
const SEED = 20;

const MENDS: Readonly<Record<Precision, string>> = {
  fp32: "what was there before is kept; another --opset runs other operators",
  fp16: "what was there before is kept; export with --precision fp32, or allow more with --max-difference",
};

export interface VerifyOptions {
  /**
   * Most that an output may differ, in units of the step's largest mean or logit where that is more than 1, and of half
   * the width of the action's bounds where that is. Default: the precision's of {@link TOLERANCES}.
   */
  readonly tolerance?: number;
  /**
   * What runs the exported graphs (default `cpu`). The CPU sums in float32 and keeps activations in it, also those that
   * a graph casts to float16; other devices round both.
   */
  readonly device?: Device;
}

/**
 * Compares every graph under `folder` with the team, which the CPU runs, over a random sequence with episodes that begin
 * anywhere, states carried from each graph's own outputs.
 * @throws LORASA_VERIFY naming graph, output, agent and step of the first difference that is not allowed; LORASA_DEVICE.
 */
export function verifyExport(
  team: Team,
  folder: string,
  manifest: ModelManifest,
  { tolerance = TOLERANCES[manifest.precision], device = "cpu" }: VerifyOptions = {},
): Verification {
  const read = (path: string): Buffer => readFile(join(folder, path), "exported file");
  const { runs, dispose } = openGraphRuns(team, manifest, ENVS, { read, runtime: createRuntime(device) });
  const reference = new ReferencePolicy(team, ENVS, manifest.sampled);
  const random = new Random(SEED);
  const place = { team, tolerance, mend: MENDS[manifest.precision] };
  let [maxAbsDiff, maxActionDiff] = [0, 0];
  try {
    for (let step = 0; step < STEPS; step++) {
      const inputs = randomStep(team, ENVS, manifest.sampled, random);
      const expected = reference.step(inputs);
      for (const run of runs) {
        const differences = compareStep(run.step(inputs), inputs, expected, { ...place, run, step });
        maxAbsDiff = Math.max(maxAbsDiff, ...differences.values());
        maxActionDiff = Math.max(maxActionDiff, differences.get("action")!);
      }
    }
  } finally {
    reference.dispose();
    dispose();
  }
  return { maxAbsDiff, maxActionDiff, tolerance, device };
}

/** Where a comparison is, and what it allows and says. */
interface Place {
  readonly team: Team;
  readonly tolerance: number;
  readonly mend: string;
  readonly run: GraphRun;
  readonly step: number;
  /** Of the output. */
  readonly name: string;
}

/** How far a value of an output is from the one expected, in a row of the team. */
type Distance = (actual: number, expected: number, row: number) => number;

/** The largest difference of each output. */
function compareStep(
  actual: Readonly<Record<string, Matrix>>,
  inputs: StepInputs,
  expected: ExpectedStep,
  at: Omit<Place, "name">,
): Map<string, number> {
  const known = new Set([...Object.keys(actual), ...Object.keys(expected.outputs)]);
  const distances = outputDistances(actual, inputs, expected, at);
  return new Map(
    [...known].map((name) => {
      const [a, b] = [actual[name], expected.outputs[name]];
      const place = { ...at, name };
      if (!a || !b) throw differs(place, 0, b ? "that output" : "no such output", a ? "one" : "none");
      return [name, compareOutput(a, b, distances[name] ?? absolute, { ...place, scale: expected.scale })];
    }),
  );
}

function compareOutput(
  { data, width }: Matrix,
  expected: Matrix,
  distance: Distance,
  place: Place & { readonly scale: number },
): number {
  const { rows } = place.run;
  if (data.length !== rows.length * width) {
    throw differs(place, 0, `${rows.length} rows`, `${data.length / width}`);
  }
  const limit = place.tolerance * place.scale;
  let largest = 0;
  for (let index = 0; index < data.length; index++) {
    const row = rows[Math.floor(index / width)]!;
    const wanted = expected.data[row * expected.width + (index % width)]!;
    const difference = distance(data[index]!, wanted, row);
    // Written so that NaN fails.
    if (!(difference <= limit)) {
      const most = `at most ${limit.toExponential(1)} from the trained network`;
      throw differs(place, row, most, `${difference.toExponential(1)}`);
    }
    largest = Math.max(largest, difference);
  }
  return largest;
}

const absolute: Distance = (a, b) => Math.abs(a - b);

/** The outputs that are not compared number by number. */
function outputDistances(
  actual: Readonly<Record<string, Matrix>>,
  { tensors }: StepInputs,
  { outputs, logProbRounding, logProbSlope }: ExpectedStep,
  { run: { rows }, tolerance }: Omit<Place, "name">,
): Record<string, Distance> {
  const { logits } = outputs;
  if (!logits) {
    const allowed = logProbRounding.map((rounding, row) => rounding + tolerance * logProbSlope[row]!);
    return { log_prob: (a, b, row) => Math.max(0, absolute(a, b, row) - allowed[row]!) };
  }
  const scores = logits.data.map((logit, k) => logit + (tensors["noise"]?.data[k] ?? 0));
  const score = (row: number, choice: number): number => scores[row * logits.width + choice] ?? Number.NaN;
  const chosen = new Map(rows.map((row, at) => [row, actual["action"]?.data[at]]));
  return {
    // How much less than the best a choice scores: 0 for the same one, little for a tie that rounding turned.
    action: (a, b, row) => score(row, b) - score(row, a),
    // Of another choice that scores the same, the log-probability is another one, and right.
    log_prob: (a, b, row) => (chosen.get(row) === outputs["action"]!.data[row] ? Math.abs(a - b) : 0),
  };
}

function differs(
  { team, run, step, name, mend }: Place,
  row: number,
  expected: string,
  received: string,
): LorasaError {
  const agent = team.agents[Math.floor(row / ENVS)]!.name;
  return new LorasaError("LORASA_VERIFY", {
    asked: `exported graph ${run.name}, output ${name} of ${agent} at step ${step}`,
    expected,
    received,
    mend,
  });
}
