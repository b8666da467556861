/** Runs every mode and the trained network side by side and compares all that they answer, before anything is timed. */
import { GraphRun } from "../../../exporters/graph-runs.ts";
import { ReferencePolicy } from "../../../exporters/reference.ts";
import { type Matrix, randomStep, type StepInputs } from "../../../exporters/verification-inputs.ts";
import { hiddenSize } from "../../../models/networks.ts";
import type { Team } from "../../../models/team.ts";
import { LorasaError } from "../../base/errors.ts";
import { Random } from "../../base/random.ts";
import type { HostTensor } from "../../base/tensor.ts";
import { encodeModel } from "../../onnx/encode.ts";
import type { Runtime, Session } from "../../runtime/session.ts";
import type { Mode } from "./contract.ts";
import { bankTensors, hasBank, MODE_GRAPHS } from "./team-files.ts";

/** Most that two modes may differ: absolute up to 1, relative above. */
const TOLERANCE = 1e-5;
const STEPS = 12;
/** E. */
const ENVS = 3;
const SEED = 21;

/** Outputs by name, then by row n·E + e of the team. */
type Answers = Map<string, Float32Array[]>;

/**
 * The largest difference between any two of the trained network and its modes, over a random sequence of raw
 * observations with episodes that begin anywhere; each carries the state that it gave itself.
 * @throws LORASA_VERIFY naming the modes, output, agent and step of a difference above 1e-5.
 */
export function verifyModes(team: Team, modes: readonly Mode[], runtime: Runtime): number {
  const random = new Random(SEED);
  const reference = new ReferencePolicy(team, ENVS, false);
  const sessions: Session[] = [];
  const open = (bytes: Uint8Array): Session => {
    const session = runtime.createSession(bytes);
    sessions.push(session);
    return session;
  };
  let largest = 0;
  try {
    const opened = modes.map((mode) => [mode, graphRuns(team, mode, open)] as const);
    for (let step = 0; step < STEPS; step++) {
      const inputs = randomStep(team, ENVS, false, random);
      const network = wholeTeam(reference.step(inputs).outputs);
      const answers = opened.map(([mode, runs]) => [mode, collect(runs, inputs)] as const);
      largest = Math.max(largest, compareStep([["network", network], ...answers], team, step));
    }
  } finally {
    reference.dispose();
    for (const session of sessions) session.dispose();
  }
  return largest;
}

function graphRuns(team: Team, mode: Mode, open: (bytes: Uint8Array) => Session): GraphRun[] {
  const hidden = hiddenSize(team.actor.body);
  return MODE_GRAPHS[mode](team).map((graph, index) => {
    const parts = { path: mode, name: mode, ...rowsOfGraph(team, mode, index) };
    return new GraphRun(open(encodeModel(graph)), parts, hidden);
  });
}

/** Rows of the team that a graph answers, how they lie, and what it is fed besides. */
function rowsOfGraph(
  team: Team,
  mode: Mode,
  index: number,
): { rows: number[]; leading: number[]; fixed: Record<string, HostTensor> } {
  const count = team.agents.length;
  const all = Array.from({ length: count * ENVS }, (_, row) => row);
  const fixed: Record<string, HostTensor> = hasBank(mode) ? Object.fromEntries(bankTensors(team)) : {};
  if (mode === "merged") return { rows: all.slice(index * ENVS, (index + 1) * ENVS), leading: [ENVS], fixed };
  if (mode !== "rows") return { rows: all, leading: [count, ENVS], fixed };
  // Neighbouring rows belong to different agents.
  const rows = all.map((at) => (at % count) * ENVS + Math.floor(at / count));
  const data = BigInt64Array.from(rows, (row) => BigInt(Math.floor(row / ENVS)));
  const agent: HostTensor = { dtype: "int64", dims: [data.length], data };
  return { rows, leading: [rows.length], fixed: { ...fixed, agent, slot: agent } };
}

function collect(runs: readonly GraphRun[], inputs: StepInputs): Answers {
  const answers: Answers = new Map();
  for (const run of runs) {
    for (const [name, matrix] of Object.entries(run.step(inputs))) {
      const rows = answers.get(name) ?? [];
      for (const [at, row] of run.rows.entries()) rows[row] = rowOf(matrix, at);
      answers.set(name, rows);
    }
  }
  return answers;
}

function wholeTeam(outputs: Readonly<Record<string, Matrix>>): Answers {
  return new Map(
    Object.entries(outputs).map(([name, matrix]) => [
      name,
      Array.from({ length: matrix.data.length / matrix.width }, (_, row) => rowOf(matrix, row)),
    ]),
  );
}

function rowOf({ data, width }: Matrix, row: number): Float32Array {
  return data.subarray(row * width, (row + 1) * width);
}

function compareStep(answers: readonly (readonly [string, Answers])[], team: Team, step: number): number {
  const [, network] = answers[0]!;
  let largest = 0;
  for (const [name, rows] of network) {
    // A choice follows from its logits, which are compared; equal ones may be chosen between either way.
    if (name === "action" && network.has("logits")) continue;
    for (let row = 0; row < rows.length; row++) {
      const versions = answers.map(([mode, each]) => [mode, each.get(name)![row]!] as const);
      const { difference, excess, between } = widest(versions);
      largest = Math.max(largest, difference);
      // Written so that NaN fails.
      if (!(excess <= TOLERANCE)) {
        const agent = team.agents[Math.floor(row / ENVS)]!.name;
        throw new LorasaError("LORASA_VERIFY", {
          asked: `${between}, output ${name}, ${agent}, step ${step}`,
          expected: `at most ${TOLERANCE} between them`,
          received: `${difference}`,
          mend: "nothing was measured",
        });
      }
    }
  }
  return largest;
}

/** The largest distance between versions of one row, also relative to values above 1; padding has no counterpart. */
function widest(versions: readonly (readonly [string, Float32Array])[]): {
  difference: number;
  excess: number;
  between: string;
} {
  const length = Math.min(...versions.map(([, row]) => row.length));
  let worst = { difference: 0, excess: 0, between: "" };
  for (let k = 0; k < length; k++) {
    const sorted = versions.toSorted(([, a], [, b]) => a[k]! - b[k]!);
    const [low, high] = [sorted[0]!, sorted.at(-1)!];
    const difference = versions.some(([, row]) => Number.isNaN(row[k]!))
      ? Number.NaN
      : high[1][k]! - low[1][k]!;
    const excess = difference / Math.max(1, Math.abs(high[1][k]!));
    if (excess <= worst.excess) continue;
    const largest = Math.max(worst.difference, difference);
    worst = { difference: largest, excess, between: `${low[0]} and ${high[0]}` };
    if (Number.isNaN(difference)) break;
  }
  return worst;
}
