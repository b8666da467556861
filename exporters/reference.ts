/**
 * The team's policy as training runs it: one graph of the training operator set whose weights are inputs, laid out as
 * they are trained. Exports are compared with it; nothing of an exported file is read here.
 */
import { asFloat, logProb, sample, toAction } from "../models/distributions.ts";
import { actor, hiddenSize } from "../models/networks.ts";
import { encodeTeam, trainingBinding } from "../models/policy.ts";
import type { Team } from "../models/team.ts";
import { floatTensor, type HostTensor } from "../src/base/tensor.ts";
import { GraphBuilder } from "../src/graph/builder.ts";
import { finishGraph } from "../src/graph/finish.ts";
import type { Value } from "../src/graph/value.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import type { OnnxModel } from "../src/onnx/model.ts";
import { createRuntime } from "../src/runtime/onnxruntime.ts";
import type { Session } from "../src/runtime/session.ts";
import { type Matrix, resetRows, type StepInputs } from "./verification-inputs.ts";

/** What the policy answers, by the exported graph's names. */
export interface ExpectedStep {
  readonly outputs: Readonly<Record<string, Matrix>>;
  /**
   * The largest mean or logit of the step, 1 at least, times half the width of wider action bounds. Float32's rounding
   * grows with the weights and features that made it, also in the numbers that came out small.
   */
  readonly scale: number;
  /** What float32 may move each row's `log_prob` by, whichever way the same formula is run; 0 for categorical heads. */
  readonly logProbRounding: Float32Array;
  /** How far each row's `log_prob` moves beside a draw before squashing that moves by 1; 0 where nothing squashes. */
  readonly logProbSlope: Float32Array;
}

/** Owns its session and the state of the rows between steps. */
export class ReferencePolicy {
  readonly #team: Team;
  readonly #envs: number;
  readonly #session: Session;
  readonly #hidden: Matrix;

  /** @param envs E. */
  constructor(team: Team, envs: number, sampled: boolean) {
    this.#team = team;
    this.#envs = envs;
    this.#session = createRuntime().createSession(encodeModel(referenceGraph(team, envs, sampled)));
    const width = hiddenSize(team.actor.body);
    this.#hidden = { data: new Float32Array(team.agents.length * envs * width), width };
  }

  step({ tensors, began }: StepInputs): ExpectedStep {
    const leading = [this.#team.agents.length, this.#envs];
    const feeds = Object.fromEntries(
      Object.entries(tensors).map(([name, { data, width }]) => [
        name,
        floatTensor([...leading, width], data),
      ]),
    );
    const { data, width } = this.#hidden;
    if (width > 0) {
      resetRows(this.#hidden, began);
      feeds["hidden_in"] = floatTensor([...leading, width], data);
    }
    const results = this.#session.run({ ...feeds, ...weightFeeds(this.#team) }) as Record<string, HostTensor>;
    if (width > 0) data.set(floats(results["hidden_out"]!));
    return expected(this.#team, this.#envs, results, tensors["noise"]);
  }

  dispose(): void {
    this.#session.dispose();
  }
}

function referenceGraph(team: Team, envs: number, sampled: boolean): OnnxModel {
  const g = new GraphBuilder();
  const { actor: config, parameters, sharing } = team;
  const leading = [team.agents.length, envs];
  const row = (name: string, width: number): Value => g.input(name, "float32", [...leading, width]);
  const observations = row("obs", config.encoder.size);
  const mask = config.head.kind === "categorical" ? row("action_mask", config.head.size) : undefined;
  const noise = sampled ? row("noise", config.head.size) : undefined;
  const width = hiddenSize(config.body);
  const recurrent = width > 0 ? { hidden: row("hidden_in", width), steps: 1 } : undefined;
  const backbone = g.input("backbone", "float32", parameters.backbone.dims);
  const adapters = parameters.adapters && g.input("adapters", "float32", parameters.adapters.dims);
  const binding = adapters
    ? trainingBinding(g, parameters, sharing, team.agents.length, adapters, backbone)
    : trainingBinding(g, parameters, sharing, team.agents.length, backbone);
  const { output, hidden } = actor(g, binding, encodeTeam(g, observations, config), config, recurrent, mask);
  const drawn = sample(g, output, noise);
  g.output("action", asFloat(g, toAction(g, drawn, config.head), config.head));
  if (hidden) g.output("hidden_out", hidden);
  if (output.kind === "categorical") g.output("logits", output.logits);
  else {
    g.output("mean", output.mean);
    g.output("drawn", drawn);
    g.output("std", output.std);
  }
  g.output("log_prob", logProb(g, output, drawn));
  return finishGraph(g, "reference");
}

function weightFeeds({ parameters, backbone, adapters }: Team): Record<string, HostTensor> {
  return {
    backbone: floatTensor(parameters.backbone.dims, backbone),
    ...(adapters && { adapters: floatTensor(parameters.adapters!.dims, adapters) }),
  };
}

function expected(
  team: Team,
  envs: number,
  results: Readonly<Record<string, HostTensor>>,
  noise: Matrix | undefined,
): ExpectedStep {
  const count = team.agents.length * envs;
  const matrix = (name: string): Matrix => {
    const data = floats(results[name]!);
    return { data, width: data.length / count };
  };
  const outputs: Record<string, Matrix> = { action: matrix("action") };
  if ("hidden_out" in results) outputs["hidden_out"] = matrix("hidden_out");
  const zeros = new Float32Array(count);
  const exact = { logProbRounding: zeros, logProbSlope: zeros };
  if ("logits" in results) {
    const logits = matrix("logits");
    outputs["logits"] = logits;
    if (noise) outputs["log_prob"] = matrix("log_prob");
    return { outputs, scale: stepScale(logits, 1), ...exact };
  }
  const mean = matrix("mean");
  outputs["mean"] = mean;
  const { head } = team.actor;
  const scale = stepScale(mean, head.kind === "categorical" ? 1 : (head.high - head.low) / 2);
  if (!noise) return { outputs, scale, ...exact };
  const std = repeated(floats(results["std"]!), team, envs);
  outputs["log_std"] = { data: std.data.map(Math.log), width: std.width };
  outputs["log_prob"] = { data: ownSums(matrix("log_prob"), team, envs), width: 1 };
  const squashed = head.kind === "squashed-gaussian";
  const drawn = matrix("drawn");
  return {
    outputs,
    scale,
    logProbRounding: ownSums(roundings(drawn, std, noise, squashed), team, envs),
    logProbSlope: squashed ? ownSums(slopes(drawn), team, envs) : zeros,
  };
}

function stepScale({ data }: Matrix, factor: number): number {
  // Logits of unavailable choices are huge, exact and no measure of the others.
  const finite = data.filter((value) => value > -1e9);
  return Math.max(1, factor) * finite.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
}

/** Sum over the dimensions that each row's agent has. */
function ownSums({ data, width }: Matrix, team: Team, envs: number): Float32Array {
  return Float32Array.from({ length: data.length / width }, (_, row) => {
    const own = team.agents[Math.floor(row / envs)]!.actionSize;
    return data.subarray(row * width, row * width + own).reduce((sum, value) => sum + value, 0);
  });
}

/** float32 [K] of the team, or [N, 1, K] of its agents, for every row. */
function repeated(vector: Float32Array, team: Team, envs: number): Matrix {
  const width = team.actor.head.size;
  const data = new Float32Array(team.agents.length * envs * width);
  for (let row = 0; row < team.agents.length * envs; row++) {
    const agent = vector.length === width ? 0 : Math.floor(row / envs);
    data.set(vector.subarray(agent * width, (agent + 1) * width), row * width);
  }
  return { data, width };
}

/**
 * Float32's share in a dimension's log-probability. (u − mean)/std loses the bits in which u and mean agree, and
 * 1 − tanh² u + ε those of a saturated tanh, of which a runtime gives 3e-7 wrong: that becomes 2⁻²⁰/(1 − tanh² u + ε).
 */
function roundings(drawn: Matrix, std: Matrix, noise: Matrix, squashed: boolean): Matrix {
  const data = drawn.data.map((u, k) => {
    const deviate = Math.abs(noise.data[k]!);
    const normal = deviate * (Math.abs(u) / std.data[k]! + deviate) * 2 ** -21;
    return squashed ? normal + 2 ** -20 / (1 - Math.tanh(u) ** 2 + 2 ** -23) : normal;
  });
  return { data, width: drawn.width };
}

/** d ln(1 − tanh² u) / du = −2·tanh u, without its sign. */
function slopes({ data, width }: Matrix): Matrix {
  return { data: data.map((u) => 2 * Math.abs(Math.tanh(u))), width };
}

function floats(tensor: HostTensor): Float32Array {
  // Every output of the reference graph is float32.
  return tensor.data as Float32Array;
}
