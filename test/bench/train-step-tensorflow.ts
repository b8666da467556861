/** The steps of `train-step.ts` as one writes them with TensorFlow.js: variables, `variableGrads`, its own Adam. */

import { createRequire } from "node:module";
import { dirname } from "node:path";
import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { LAYER_NORM_EPSILON } from "../../models/layers.ts";
import { ADAM } from "../../src/optim/adam.ts";
import {
  BATCHES,
  batchOf,
  CHUNK_LENGTH,
  CLIP_RANGE,
  firstParameters,
  LEARNING_RATE,
  layoutOf,
  MAX_NORM,
  type StepName,
} from "./train-step-graphs.ts";

type Variables = Readonly<Record<string, tf.Variable>>;
type Batch = Readonly<Record<string, tf.Tensor>>;

/** Takes a step at each call and waits for its numbers; gives the loss before it. */
export async function tensorflowStepper(network: StepName, backend: "wasm" | "cpu"): Promise<() => number> {
  tf.enableProdMode();
  if (backend === "wasm") {
    // SIMD is taken where there is one; more threads need a browser.
    setThreadsCount(1);
    setWasmPaths(`${dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm"))}/`);
  }
  if (!(await tf.setBackend(backend))) throw new Error(`backend ${backend} does not start`);
  const layout = layoutOf(network);
  const flat = firstParameters(network);
  const variables: Variables = Object.fromEntries(
    layout.specs.map(({ name, shape }) => [
      name,
      tf.variable(tf.tensor(layout.view(flat, name).data.slice(), [...shape]), true, name),
    ]),
  );
  const batch: Batch = Object.fromEntries(
    Object.entries(batchOf(network)).map(([name, { dims, data }]) => [
      name,
      tf.tensor(data.slice(), [...dims]),
    ]),
  );
  const optimizer = tf.train.adam(LEARNING_RATE, ADAM.beta1, ADAM.beta2, ADAM.epsilon);
  const lossOf = network === "mlp" ? mlpLoss : recurrentLoss;
  return () => {
    const loss = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(() => lossOf(variables, batch));
      optimizer.applyGradients(clipped(grads));
      return value;
    });
    const [number] = loss.dataSync();
    loss.dispose();
    return number!;
  };
}

/** By the norm of all gradients together. */
function clipped(gradients: tf.NamedTensorMap): { name: string; tensor: tf.Tensor }[] {
  const squares = Object.values(gradients).map((gradient) => tf.sum(tf.square(gradient)));
  const norm = tf.sqrt(tf.addN(squares));
  const factor = tf.minimum(1, tf.div(MAX_NORM, tf.add(norm, 1e-6)));
  return Object.entries(gradients).map(([name, gradient]) => ({ name, tensor: tf.mul(gradient, factor) }));
}

function mlpLoss(w: Variables, batch: Batch): tf.Scalar {
  const rows = (name: string): tf.Tensor2D => tf.squeeze(batch[name]!, [0]);
  let x: tf.Tensor = rows("observations");
  for (const name of ["mlp.0", "mlp.1"]) x = tf.tanh(linear(w, x, name));
  const logProb = gaussian(w, linear(w, x, "head"), rows("drawn"));
  const ratio = tf.exp(tf.sum(tf.sub(logProb, rows("old_log_prob")), 1, true));
  return surrogate(ratio, rows("advantage"));
}

/** Agents' rows together: a batch of sequences, a time step after another. */
function recurrentLoss(w: Variables, batch: Batch): tf.Scalar {
  const { agents, rows } = BATCHES.recurrent;
  const chunks = rows / CHUNK_LENGTH;
  const encoded = tf.tidy(() => standardised(tf.concat([batch["observations"]!, ids(agents, rows)], 2)));
  let x: tf.Tensor = layerNorm(w, tf.reshape(encoded, [agents * rows, -1]), "feature_norm");
  for (const name of ["mlp.0", "mlp.1", "mlp.2"]) x = block(w, x, name);
  const steps = tf.unstack(tf.reshape(x, [agents, CHUNK_LENGTH, chunks, 64]), 1);
  const masks = tf.unstack(tf.reshape(batch["mask"]!, [CHUNK_LENGTH, 1, chunks, 1]), 0);
  let state: tf.Tensor = batch["hidden"]!;
  const states = steps.map((input, t) => {
    state = cell(w, tf.reshape(input, [agents * chunks, 64]), tf.reshape(tf.mul(state, masks[t]!), [-1, 64]));
    state = tf.reshape(state, [agents, chunks, 64]);
    return state;
  });
  x = layerNorm(w, tf.reshape(tf.stack(states, 1), [agents * rows, 64]), "gru.norm");
  x = block(w, x, "post.0");
  const flat = (name: string): tf.Tensor => tf.reshape(batch[name]!, [agents * rows, -1]);
  const drawn = flat("drawn");
  const jacobian = tf.log(tf.sub(1 + 2 ** -23, tf.square(tf.tanh(drawn))));
  const logProb = tf.sub(gaussian(w, linear(w, x, "head"), drawn), jacobian);
  return surrogate(tf.exp(tf.sub(logProb, flat("old_log_prob"))), flat("advantage"));
}

function linear(w: Variables, x: tf.Tensor, name: string): tf.Tensor {
  return tf.add(
    tf.matMul(x as tf.Tensor2D, w[`${name}.weight`] as unknown as tf.Tensor2D),
    w[`${name}.bias`]!,
  );
}

function block(w: Variables, x: tf.Tensor, name: string): tf.Tensor {
  return layerNorm(w, tf.relu(linear(w, x, name)), `${name}.norm`);
}

function layerNorm(w: Variables, x: tf.Tensor, name: string): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, LAYER_NORM_EPSILON)));
  return tf.add(tf.mul(normal, w[`${name}.weight`]!), w[`${name}.bias`]!);
}

function cell(w: Variables, x: tf.Tensor, state: tf.Tensor): tf.Tensor {
  const [xReset, xUpdate, xNew] = tf.split(linear(w, x, "gru.input"), 3, 1) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const [hReset, hUpdate, hNew] = tf.split(linear(w, state, "gru.hidden"), 3, 1) as [
    tf.Tensor,
    tf.Tensor,
    tf.Tensor,
  ];
  const reset = tf.sigmoid(tf.add(xReset, hReset));
  const update = tf.sigmoid(tf.add(xUpdate, hUpdate));
  const candidate = tf.tanh(tf.add(xNew, tf.mul(reset, hNew)));
  return tf.add(candidate, tf.mul(update, tf.sub(state, candidate)));
}

function gaussian(w: Variables, mean: tf.Tensor, drawn: tf.Tensor): tf.Tensor {
  const std = tf.mul(tf.sigmoid(w["head.log_std"]!), 0.5);
  const scaled = tf.square(tf.div(tf.sub(drawn, mean), std));
  return tf.sub(tf.sub(tf.mul(scaled, -0.5), tf.log(std)), 0.5 * Math.log(2 * Math.PI));
}

function surrogate(ratio: tf.Tensor, advantage: tf.Tensor): tf.Scalar {
  const bounded = tf.clipByValue(ratio, 1 - CLIP_RANGE, 1 + CLIP_RANGE);
  const terms = tf.minimum(tf.mul(ratio, advantage), tf.mul(bounded, advantage));
  return tf.neg(tf.mean(tf.sum(terms, 1))) as tf.Scalar;
}

function standardised(x: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-8)));
}

function ids(agents: number, rows: number): tf.Tensor {
  return tf.tile(tf.reshape(tf.eye(agents), [agents, 1, agents]), [1, rows, 1]);
}
