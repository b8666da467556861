/** The actor and the critic: one definition each, whatever the weight binding and the device. */
import type { GraphBuilder } from "../src/graph/builder.ts";
import { fixedSize, type Value } from "../src/graph/value.ts";
import type { WeightBinding } from "./bindings.ts";
import { type HeadConfig, type HeadOutput, head } from "./distributions.ts";
import { type Activation, block, gru, layerNorm, type RecurrentInputs } from "./layers.ts";
import type { EncoderConfig } from "./observation.ts";

/** The layers between an encoded vector and a head. */
export interface BodyConfig {
  /** LayerNorm over the input vector. */
  readonly featureNorm: boolean;
  /** Sizes of the blocks Linear → activation → LayerNorm. */
  readonly hidden: readonly number[];
  readonly activation: Activation;
  /** A GRU of the last hidden size with its LayerNorm, and so many blocks after it. */
  readonly recurrent: false | { readonly layersAfter: number };
}

export interface ActorConfig {
  readonly encoder: EncoderConfig;
  readonly body: BodyConfig;
  readonly head: HeadConfig;
}

export interface CriticConfig {
  /** Values a step: 1 for the team, or one an agent (with an agent id, or separate critics). */
  readonly encoder: EncoderConfig;
  /** Whether every agent has a state of its own; its value then needs one too. */
  readonly ownStates: boolean;
  /** Whether every agent has a critic of its own, with a value normaliser of its own. */
  readonly separate: boolean;
  readonly body: BodyConfig;
}

/** H of a recurrent body, 0 of another. */
export function hiddenSize(body: BodyConfig): number {
  return body.recurrent ? body.hidden.at(-1)! : 0;
}

/**
 * Head outputs for encoded observations.
 * @param x float32 [N, rows, F] or [B, F] (see `observation.ts`).
 */
export function actor(
  g: GraphBuilder,
  binding: WeightBinding,
  x: Value,
  config: ActorConfig,
  recurrent?: RecurrentInputs,
  mask?: Value,
): { output: HeadOutput; hidden?: Value } {
  const { features, hidden } = body(g, binding, x, config.body, recurrent);
  return { output: head(g, binding, features, config.head, mask), ...(hidden && { hidden }) };
}

/** Values float32 [N, rows, 1], in the units of the value normaliser where there is one. */
export function critic(
  g: GraphBuilder,
  binding: WeightBinding,
  x: Value,
  config: CriticConfig,
  recurrent?: RecurrentInputs,
): { value: Value; hidden?: Value } {
  const { features, hidden } = body(g, binding, x, config.body, recurrent);
  const inSize = fixedSize(features.shape.at(-1), "value");
  const value = g.scope("value", () =>
    binding.linear(g, features, {
      name: "value",
      inSize,
      outSize: 1,
      weight: { kind: "orthogonal", gain: 1 },
    }),
  );
  return { value, ...(hidden && { hidden }) };
}

function body(
  g: GraphBuilder,
  binding: WeightBinding,
  input: Value,
  config: BodyConfig,
  recurrent: RecurrentInputs | undefined,
): { features: Value; hidden?: Value } {
  let x = config.featureNorm ? layerNorm(g, binding, input, "feature_norm") : input;
  for (const [index, size] of config.hidden.entries())
    x = block(g, binding, x, `mlp.${index}`, size, config.activation);
  if (!config.recurrent) return { features: x };
  if (!recurrent) throw new TypeError("a recurrent body needs its hidden state");
  const { states, last } = gru(g, binding, x, recurrent);
  x = layerNorm(g, binding, states, "gru.norm");
  for (let index = 0; index < config.recurrent.layersAfter; index++) {
    x = block(g, binding, x, `post.${index}`, config.hidden.at(-1)!, config.activation);
  }
  return { features: x, hidden: last };
}
