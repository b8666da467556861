/**
 * The graph that acts during rollouts and evaluation: policy units and simulator units, log-probabilities and values
 * in one run; and the graph that forms every agent's own weights from backbone and adapters.
 *
 * Letters: N agents, E environments, V value heads, O observation, S state, K action, H hidden.
 */

import type { LoraConfig } from "../../models/adapters.ts";
import { individualBinding, sharedBinding } from "../../models/bindings.ts";
import { asFloat, logProb, sample, toAction } from "../../models/distributions.ts";
import { type ActorConfig, actor, type CriticConfig, critic, hiddenSize } from "../../models/networks.ts";
import { ParameterLayout } from "../../models/parameters.ts";
import { type ActorParameters, encodeTeam, mergeAdapters } from "../../models/policy.ts";
import { GraphBuilder } from "../graph/builder.ts";
import { finishGraph } from "../graph/finish.ts";
import type { OnnxModel } from "../onnx/model.ts";

export interface ActingConfig {
  readonly actor: ActorConfig;
  readonly backbone: ParameterLayout;
  /** Whether `parameters` holds a row an agent (individual or merged weights) instead of one for all. */
  readonly perAgent: boolean;
  /** E. */
  readonly envs: number;
  /** Adds inputs `critic_parameters` [1, P], `state` [1, E, S], `critic_hidden` and outputs `value`, `critic_hidden_out`. */
  readonly critic?: { readonly config: CriticConfig; readonly layout: ParameterLayout };
  /** Whether there is an input `noise` [N, E, K]; without it the action is the mode. */
  readonly sampled: boolean;
}

/**
 * Inputs: `parameters` [1 or N, P], `observations` [N, E, O], `noise` [N, E, K], `action_mask` [N, E, K] (categorical),
 * `hidden` [N, E, H]. Outputs: `action` [N, E, K] as the simulator takes it, `drawn` [N, E, K] in policy units,
 * `log_prob` [N, E, K] a dimension each, `hidden_out`; K is 1 in outputs of a categorical head.
 */
export function actingGraph(config: ActingConfig): OnnxModel {
  const g = new GraphBuilder();
  const { envs } = config;
  const { agents, size } = config.actor.encoder;
  const actions = config.actor.head.size;
  const [owner, owners] = config.perAgent ? (["agent", agents] as const) : (["team", 1] as const);
  const parameters = g.input("parameters", "float32", [owners, config.backbone.size]);
  const layout = new ParameterLayout(
    config.backbone.specs.map((spec) => ({ ...spec, owner })),
    owners,
  );
  const source = layout.source(g, parameters);
  const observations = g.input("observations", "float32", [agents, envs, size]);
  const noise = config.sampled ? g.input("noise", "float32", [agents, envs, actions]) : undefined;
  const categorical = config.actor.head.kind === "categorical";
  const mask = categorical ? g.input("action_mask", "float32", [agents, envs, actions]) : undefined;
  const width = hiddenSize(config.actor.body);
  const recurrent =
    width > 0 ? { hidden: g.input("hidden", "float32", [agents, envs, width]), steps: 1 } : undefined;

  const binding = config.perAgent ? individualBinding(source) : sharedBinding(source);
  const x = encodeTeam(g, observations, config.actor);
  const { output, hidden } = actor(g, binding, x, config.actor, recurrent, mask);
  const drawn = sample(g, output, noise);
  g.output("action", asFloat(g, toAction(g, drawn, config.actor.head), config.actor.head));
  g.output("drawn", asFloat(g, drawn, config.actor.head));
  g.output("log_prob", logProb(g, output, drawn));
  if (hidden) g.output("hidden_out", hidden);
  if (config.critic) addCritic(g, config.critic, envs);
  return finishGraph(g, "acting");
}

function addCritic(
  g: GraphBuilder,
  { config, layout }: NonNullable<ActingConfig["critic"]>,
  envs: number,
): void {
  const source = layout.source(g, g.input("critic_parameters", "float32", [1, layout.size]));
  const state = g.input("state", "float32", [1, envs, config.encoder.size]);
  const width = hiddenSize(config.body);
  const recurrent =
    width > 0
      ? { hidden: g.input("critic_hidden", "float32", [config.encoder.agents, envs, width]), steps: 1 }
      : undefined;
  const { value, hidden } = g.scope("critic", () =>
    critic(g, sharedBinding(source), encodeTeam(g, state, config), config, recurrent),
  );
  g.output("value", value);
  if (hidden) g.output("critic_hidden_out", hidden);
}

/** Inputs `frozen` [1, P] and `adapters` [N, Q]; output `merged` [N, P]: every agent's weights in the backbone's layout. */
export function mergingGraph(parameters: ActorParameters, lora: LoraConfig): OnnxModel {
  const g = new GraphBuilder();
  const frozen = g.input("frozen", "float32", parameters.backbone.dims);
  const adapters = g.input("adapters", "float32", parameters.adapters!.dims);
  g.output("merged", mergeAdapters(g, parameters, lora, frozen, adapters));
  return finishGraph(g, "merging");
}
