/**
 * Runs every mode and the trained network side by side and compares all that they answer, before anything is timed.
 *
 * Letters: N agents, E environments.
 */
import { TOLERANCES } from "../../../exporters/precision.ts";
import { type ExpectedStep, ReferencePolicy } from "../../../exporters/reference.ts";
import {
  type Matrix,
  randomStep,
  resetRows,
  type StepInputs,
} from "../../../exporters/verification-inputs.ts";
import type { Team } from "../../../models/team.ts";
import { LorasaError } from "../../base/errors.ts";
import { Random } from "../../base/random.ts";
import type { HostTensor } from "../../base/tensor.ts";
import type { Precision } from "../../checkpoint/repository.ts";
import type { Runtime } from "../../runtime/session.ts";
import type { Mode } from "./contract.ts";
import { LoadedMode, type StepBuffers } from "./loaded-mode.ts";
import { modeBytes } from "./team-files.ts";

export interface Differences {
  /** Of any output, between any two of the trained network and the modes; with fp16 from the network's. */
  readonly maxAbsDiff: number;
  /** Of actions, in their own units; of a choice: how much less than the network's it scores in the network's logits. */
  readonly maxActionDiff: number;
}

const STEPS = 12;
/** E. */
const ENVS = 3;
const SEED = 21;

/** Outputs by name, then by row n·E + e of the team. */
type Answers = Map<string, Float32Array[]>;
type Named = readonly [name: string, answers: Answers];

/** What was compared, for messages, and what it may differ by. */
interface Place {
  readonly team: Team;
  /** Such as `webgpu, fp32`. */
  readonly target: string;
  readonly precision: Precision;
  readonly step: number;
  readonly scale: number;
}

/**
 * The largest differences over a random sequence of raw observations with episodes that begin anywhere; each mode
 * carries the state that it gave itself. Modes run as they are measured, their backbone and bank where the runtime has
 * its memory; the network runs on the CPU in float32.
 * @throws LORASA_VERIFY naming modes, output, agent and step of a difference above the precision's of `TOLERANCES`, in
 *   units of the step's scale (see `ExpectedStep`): for fp32 between any two, for fp16 from the network.
 *   LORASA_DEVICE; LORASA_RANGE for weights that the precision does not hold.
 */
export function verifyModes(
  team: Team,
  modes: readonly Mode[],
  runtime: Runtime,
  precision: Precision = "fp32",
): Differences {
  const random = new Random(SEED);
  const reference = new ReferencePolicy(team, ENVS, false);
  const runs: ModeRun[] = [];
  let worst: Differences = { maxAbsDiff: 0, maxActionDiff: 0 };
  try {
    for (const mode of modes) runs.push(new ModeRun(team, mode, precision, runtime));
    for (let step = 0; step < STEPS; step++) {
      const inputs = randomStep(team, ENVS, false, random);
      const expected = reference.step(inputs);
      const network: Named = ["network", wholeTeam(expected)];
      const answers = runs.map((run): Named => [run.mode, run.step(inputs)]);
      const found = compareStep(network, answers, {
        team,
        target: `${runtime.device}, ${precision}`,
        precision,
        step,
        scale: expected.scale,
      });
      worst = largest(worst, found);
    }
  } finally {
    reference.dispose();
    for (const run of runs) run.dispose();
  }
  return worst;
}

/** A loaded mode with the states of its rows. */
class ModeRun {
  readonly mode: Mode;
  readonly #loaded: LoadedMode;
  readonly #buffers: StepBuffers;
  readonly #run: () => void;

  constructor(team: Team, mode: Mode, precision: Precision, runtime: Runtime) {
    this.mode = mode;
    this.#loaded = new LoadedMode(runtime, modeBytes(team, mode, precision).loaded);
    try {
      this.#buffers = this.#loaded.buffers(ENVS, SEED);
      for (const { inputs } of this.#buffers) inputs["hidden_in"]?.data.fill(0 as never);
      const names = new Set(this.#buffers.flatMap(({ outputs }) => Object.keys(outputs)));
      this.#run = this.#loaded.bind(this.#buffers, [...names]);
    } catch (error) {
      this.#loaded.dispose();
      throw error;
    }
  }

  step({ tensors, began }: StepInputs): Answers {
    const rows = this.#buffers.map((_, session) => this.#loaded.teamRows(session, ENVS));
    for (const [session, { inputs }] of this.#buffers.entries()) {
      for (const [name, matrix] of Object.entries(tensors)) fillRows(inputs[name], matrix, rows[session]!);
      const { hidden_in: hidden } = inputs;
      if (hidden)
        resetRows(
          matrixOf(hidden),
          Uint8Array.from(rows[session]!, (row) => began[row]!),
        );
    }
    this.#run();
    const answers: Answers = new Map();
    for (const [session, { inputs, outputs }] of this.#buffers.entries()) {
      for (const [name, tensor] of Object.entries(outputs)) collect(answers, name, tensor, rows[session]!);
      // Both are float32 of the same sizes.
      if (inputs["hidden_in"]) inputs["hidden_in"].data.set(outputs["hidden_out"]!.data as never);
    }
    return answers;
  }

  dispose(): void {
    this.#loaded.dispose();
  }
}

/** Puts rows of the team at their places; a graph of one agent takes the first of a padded row's features. */
function fillRows(input: HostTensor | undefined, { data, width }: Matrix, rows: Int32Array): void {
  if (!input) return;
  const target = matrixOf(input);
  for (const [at, row] of rows.entries()) {
    target.data.set(data.subarray(row * width, row * width + target.width), at * target.width);
  }
}

/** Adds a copy of each row of an output. */
function collect(answers: Answers, name: string, tensor: HostTensor, rows: Int32Array): void {
  const own = answers.get(name) ?? [];
  const matrix = matrixOf(tensor);
  for (const [at, row] of rows.entries()) own[row] = rowOf(matrix, at);
  answers.set(name, own);
}

/** The tensor's own memory where it is float32, else its numbers. */
function matrixOf({ dims, data }: HostTensor): Matrix {
  const numbers =
    data instanceof Float32Array ? data : Float32Array.from(data as ArrayLike<number | bigint>, Number);
  return { data: numbers, width: dims.at(-1)! };
}

function wholeTeam({ outputs }: ExpectedStep): Answers {
  return new Map(
    Object.entries(outputs).map(([name, matrix]) => [
      name,
      Array.from({ length: matrix.data.length / matrix.width }, (_, row) => rowOf(matrix, row)),
    ]),
  );
}

function rowOf({ data, width }: Matrix, row: number): Float32Array {
  return data.slice(row * width, (row + 1) * width);
}

function compareStep(network: Named, answers: readonly Named[], place: Place): Differences {
  // Rounded numbers may lie as far apart as both from the network.
  const groups =
    place.precision === "fp32" ? [[network, ...answers]] : answers.map((each) => [network, each]);
  let worst: Differences = { maxAbsDiff: 0, maxActionDiff: worstChoice(network, answers) };
  for (const group of groups) {
    for (const name of network[1].keys()) {
      // A choice follows from its logits, which are compared; equal ones may be chosen between either way.
      if (name === "action" && network[1].has("logits")) continue;
      const difference = compareOutput(name, group, place);
      worst = largest(worst, { maxAbsDiff: difference, maxActionDiff: name === "action" ? difference : 0 });
    }
  }
  return worst;
}

/** The largest difference between versions of an output. */
function compareOutput(name: string, versions: readonly Named[], place: Place): number {
  const { team, precision, step, target } = place;
  const limit = TOLERANCES[precision] * place.scale;
  let most = 0;
  for (let row = 0; row < team.agents.length * ENVS; row++) {
    const own = versions.map(([mode, answers]) => [mode, answers.get(name)![row]!] as const);
    const { difference, between } = widest(own);
    most = Math.max(most, difference);
    // Written so that NaN fails.
    if (difference <= limit) continue;
    throw new LorasaError("LORASA_VERIFY", {
      asked: `${between} on ${target}, output ${name}, ${team.agents[Math.floor(row / ENVS)]!.name}, step ${step}`,
      expected: `at most ${limit.toExponential(1)} between them`,
      received: difference.toExponential(1),
      mend: "nothing was measured",
    });
  }
  return most;
}

/** The largest distance between versions of one row; padding has no counterpart. */
function widest(versions: readonly (readonly [string, Float32Array])[]): {
  difference: number;
  between: string;
} {
  const length = Math.min(...versions.map(([, row]) => row.length));
  let worst = { difference: 0, between: "" };
  for (let k = 0; k < length; k++) {
    const sorted = versions.toSorted(([, a], [, b]) => a[k]! - b[k]!);
    const [low, high] = [sorted[0]!, sorted.at(-1)!];
    const difference = versions.some(([, row]) => Number.isNaN(row[k]!))
      ? Number.NaN
      : high[1][k]! - low[1][k]!;
    if (difference <= worst.difference) continue;
    worst = { difference, between: `${low[0]} and ${high[0]}` };
    if (Number.isNaN(difference)) break;
  }
  return worst;
}

/** How much less than the network's the choices of the modes score in its logits; 0 without choices. */
function worstChoice([, network]: Named, answers: readonly Named[]): number {
  const logits = network.get("logits");
  if (!logits) return 0;
  const losses = answers.flatMap(([, each]) =>
    each.get("action")!.map(([choice], row) => Math.max(...logits[row]!) - logits[row]![choice!]!),
  );
  return Math.max(0, ...losses);
}

function largest(a: Differences, b: Differences): Differences {
  return {
    maxAbsDiff: Math.max(a.maxAbsDiff, b.maxAbsDiff),
    maxActionDiff: Math.max(a.maxActionDiff, b.maxActionDiff),
  };
}
