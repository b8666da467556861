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
import type { ModelManifest } from "../src/checkpoint/repository.ts";
import { type GraphRun, openGraphRuns } from "./graph-runs.ts";
import { type ExpectedStep, ReferencePolicy, VERIFY_TOLERANCE } from "./reference.ts";
import { type Matrix, randomStep, type StepInputs } from "./verification-inputs.ts";

const STEPS = 12;
/** E. */
const ENVS = 3;
const SEED = 20;

/**
 * Compares every graph under `folder` with the team over a random sequence with episodes that begin anywhere, states
 * carried from each graph's own outputs.
 * @returns the largest absolute difference; a log-probability's beyond what float32 makes of its formula.
 * @throws LORASA_VERIFY naming graph, output, agent and step of a difference above 1e-5, or above 1e-5 of the
 *   step's largest mean or logit where that is more than 1.
 */
export function verifyExport(team: Team, folder: string, manifest: ModelManifest): number {
  const read = (path: string): Buffer => readFile(join(folder, path), "exported file");
  const { runs, dispose } = openGraphRuns(team, manifest, ENVS, read);
  const reference = new ReferencePolicy(team, ENVS, manifest.sampled);
  const random = new Random(SEED);
  let largest = 0;
  try {
    for (let step = 0; step < STEPS; step++) {
      const inputs = randomStep(team, ENVS, manifest.sampled, random);
      const expected = reference.step(inputs);
      for (const run of runs) {
        largest = Math.max(largest, compareStep(run.step(inputs), inputs, expected, { team, run, step }));
      }
    }
  } finally {
    reference.dispose();
    dispose();
  }
  return largest;
}

/** Where a comparison is, for messages. */
interface Place {
  readonly team: Team;
  readonly run: GraphRun;
  readonly step: number;
  /** Of the output. */
  readonly name: string;
}

/** How far a value of an output is from the one expected, in a row of the team. */
type Distance = (actual: number, expected: number, row: number) => number;

function compareStep(
  actual: Readonly<Record<string, Matrix>>,
  inputs: StepInputs,
  expected: ExpectedStep,
  at: Omit<Place, "name">,
): number {
  const known = new Set([...Object.keys(actual), ...Object.keys(expected.outputs)]);
  const distances = outputDistances(actual, inputs, expected, at.run.rows);
  const largest = [...known].map((name) => {
    const [a, b] = [actual[name], expected.outputs[name]];
    const place = { ...at, name };
    if (!a || !b) throw differs(place, 0, b ? "that output" : "no such output", a ? "one" : "none");
    return compareOutput(a, b, distances[name] ?? absolute, { ...place, scale: expected.scale });
  });
  return Math.max(...largest);
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
  const limit = VERIFY_TOLERANCE * place.scale;
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
  { outputs, logProbRounding }: ExpectedStep,
  rows: readonly number[],
): Record<string, Distance> {
  const { logits } = outputs;
  if (!logits) return { log_prob: (a, b, row) => Math.max(0, absolute(a, b, row) - logProbRounding[row]!) };
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
  { team, run, step, name }: Place,
  row: number,
  expected: string,
  received: string,
): LorasaError {
  const agent = team.agents[Math.floor(row / ENVS)]!.name;
  return new LorasaError("LORASA_VERIFY", {
    asked: `exported graph ${run.name}, output ${name} of ${agent} at step ${step}`,
    expected,
    received,
    mend: "what was there before is kept; another --opset runs other operators",
  });
}
