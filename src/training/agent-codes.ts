/**
 * A code for each agent that says what its actions do: a variational encoder reads who acts, and a decoder foretells the
 * next observation from the code, the observation and the action. Agents with the same dynamics get the same code.
 */
import { sharedBinding, type WeightBinding } from "../../models/bindings.ts";
import { initialise } from "../../models/initialise.ts";
import { ParameterLayout, recordParameters } from "../../models/parameters.ts";
import type { Random } from "../base/random.ts";
import { floatTensor } from "../base/tensor.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import { fixedSize, type Value } from "../graph/value.ts";
import { encodeModel } from "../onnx/encode.ts";
import type { OnnxModel } from "../onnx/model.ts";
import type { Runtime } from "../runtime/session.ts";
import { Learner } from "./learner.ts";
import type { LearnerBatch } from "./minibatches.ts";
import { optimizerInputs, trainStep } from "./step-graph.ts";
import type { Transitions } from "./transitions.ts";

/** Sizes of LoRASA's released code. */
const CODE = 10;
const HIDDEN = 64;
const BATCH = 128;
const EPOCHS = 10;
/** Fewer steps leave alike agents as far apart as they began: fewer rows are gone over more often. */
const LEAST_STEPS = 1280;
const LEARNING_RATE = 3e-4;
const KL_WEIGHT = 1e-4;
const MAX_GRADIENT_NORM = 10;

interface Sizes {
  readonly agents: number;
  readonly observation: number;
  readonly action: number;
}

/** Codes' means [N][z], and the root of the mean squared deviation of each. */
export interface AgentCodes {
  readonly means: readonly Float64Array[];
  readonly deviations: readonly number[];
}

export function learnCodes(runtime: Runtime, transitions: Transitions, random: Random): AgentCodes {
  const { agents, observationSize: observation, actionSize: action, rows } = transitions;
  const sizes = { agents, observation, action };
  const layout = codeLayout(sizes);
  const minibatches = Math.max(1, Math.floor(rows / BATCH));
  const size = Math.min(BATCH, rows);
  const learner = new Learner({
    runtime,
    model: stepGraph(sizes, layout, size),
    dims: layout.dims,
    parameters: initialise(layout, random),
    epochs: 1,
    minibatches,
    threads: 1,
    seed: random.nextUint32(),
  });
  try {
    const batch = codeBatch(transitions, minibatches * size);
    const epochs = Math.max(EPOCHS, Math.ceil(LEAST_STEPS / minibatches));
    for (let epoch = 0; epoch < epochs; epoch++)
      learner.update(withNoise(batch, random), { learningRate: LEARNING_RATE, clipRange: 0 });
    return readCodes(runtime, sizes, layout, learner.state().parameters);
  } finally {
    learner.dispose();
  }
}

function codeLayout(sizes: Sizes): ParameterLayout {
  const specs = recordParameters(1, (g, source) => {
    const binding = sharedBinding(source);
    const input = (name: string, width: number): Value => g.input(name, "float32", [1, 1, width]);
    const { mean } = encoder(g, binding, input("agent", sizes.agents));
    decoder(g, binding, mean, input("before", sizes.observation), input("action", sizes.action));
  });
  return new ParameterLayout(specs, 1);
}

/** Inputs `agent` [1, B, N], `before`, `after` [1, B, O], `action` [1, B, K] and `noise` [1, B, z]. */
function stepGraph(sizes: Sizes, layout: ParameterLayout, batch: number): OnnxModel {
  const g = new GraphBuilder();
  const optimizer = optimizerInputs(g, layout);
  const input = (name: string, width: number): Value => g.input(name, "float32", [1, batch, width]);
  const binding = sharedBinding(layout.source(g, optimizer.parameters));
  const { mean, logVariance } = encoder(g, binding, input("agent", sizes.agents));
  const code = g.add(mean, g.mul(g.exp(g.mul(logVariance, 0.5)), input("noise", CODE)));
  const foretold = decoder(
    g,
    binding,
    code,
    input("before", sizes.observation),
    input("action", sizes.action),
  );
  const error = g.reduceSum(g.square(g.sub(foretold, input("after", sizes.observation))));
  // KL of N(mean, variance) from N(0, 1): ½ Σ (mean² + variance − ln variance − 1).
  const spread = g.sub(g.add(g.square(mean), g.exp(logVariance)), g.add(logVariance, 1));
  const divergence = g.mul(g.reduceSum(spread), 0.5);
  const loss = g.mul(g.add(error, g.mul(divergence, KL_WEIGHT)), 1 / batch);
  trainStep(g, optimizer, loss, { maxGradientNorm: MAX_GRADIENT_NORM }, [loss]);
  return finishGraph(g, "agent_codes_step");
}

function encoder(g: GraphBuilder, binding: WeightBinding, agent: Value): { mean: Value; logVariance: Value } {
  const hidden = g.relu(linear(g, binding, agent, "encoder", HIDDEN));
  return {
    mean: linear(g, binding, hidden, "code.mean", CODE),
    logVariance: linear(g, binding, hidden, "code.log_variance", CODE),
  };
}

function decoder(g: GraphBuilder, binding: WeightBinding, code: Value, before: Value, action: Value): Value {
  const hidden = g.relu(linear(g, binding, g.concat([code, before, action], 2), "decoder", HIDDEN));
  return linear(g, binding, hidden, "after", fixedSize(before.shape.at(-1), "after"));
}

function linear(g: GraphBuilder, binding: WeightBinding, x: Value, name: string, outSize: number): Value {
  const inSize = fixedSize(x.shape.at(-1), name);
  return binding.linear(g, x, { name, inSize, outSize, weight: { kind: "orthogonal", gain: 1 } });
}

/** Codes are drawn anew in each epoch. */
function withNoise({ chunks, inputs }: LearnerBatch, random: Random): LearnerBatch {
  const data = Float32Array.from({ length: chunks * CODE }, () => random.normal());
  return { chunks, inputs: { ...inputs, noise: { data, width: CODE, chunkLength: 1 } } };
}

function codeBatch(transitions: Transitions, rows: number): LearnerBatch {
  const { agents, agent, observationSize, actionSize, before, after, action } = transitions;
  const who = new Float32Array(rows * agents);
  for (let row = 0; row < rows; row++) who[row * agents + agent[row]!] = 1;
  const input = (data: Float32Array, width: number) => ({
    data: data.subarray(0, rows * width),
    width,
    chunkLength: 1,
  });
  return {
    chunks: rows,
    inputs: {
      agent: input(who, agents),
      before: input(scaledColumns(before, before, observationSize), observationSize),
      after: input(scaledColumns(after, before, observationSize), observationSize),
      action: input(action, actionSize),
    },
  };
}

/** Each column divided by the largest size that it has in `like`: within [−1, 1] there. */
function scaledColumns(data: Float32Array, like: Float32Array, width: number): Float32Array {
  const largest = new Float32Array(width);
  for (let k = 0; k < like.length; k++)
    largest[k % width] = Math.max(largest[k % width]!, Math.abs(like[k]!));
  return data.map((value, k) => (largest[k % width] === 0 ? 0 : value / largest[k % width]!));
}

function readCodes(runtime: Runtime, sizes: Sizes, layout: ParameterLayout, flat: Float32Array): AgentCodes {
  const g = new GraphBuilder();
  const parameters = g.input("parameters", "float32", layout.dims);
  const { agents } = sizes;
  const identity = Float32Array.from({ length: agents * agents }, (_, k) => (k % (agents + 1) === 0 ? 1 : 0));
  const who = g.constant("agents", floatTensor([1, agents, agents], identity));
  const { mean, logVariance } = encoder(g, sharedBinding(layout.source(g, parameters)), who);
  g.output("mean", mean);
  g.output("deviation", g.exp(g.mul(logVariance, 0.5)));
  const session = runtime.createSession(encodeModel(finishGraph(g, "agent_codes")));
  const results = { mean: floatTensor([1, agents, CODE]), deviation: floatTensor([1, agents, CODE]) };
  session.run({ parameters: floatTensor(layout.dims, flat) }, results);
  session.dispose();
  const row = (data: Float32Array, agent: number): Float64Array =>
    Float64Array.from(data.subarray(agent * CODE, (agent + 1) * CODE));
  const each = Array.from({ length: agents }, (_, agent) => agent);
  return {
    means: each.map((agent) => row(results.mean.data, agent)),
    deviations: each.map((agent) => Math.hypot(...row(results.deviation.data, agent)) / Math.sqrt(CODE)),
  };
}
