/**
 * The graph that acts during rollouts and evaluation: policy units and simulator units, log-probabilities and values
 * in one run; and the graph that forms every agent's own weights from backbone and adapters.
 *
 * Letters: N agents, E environments, V value heads, G critics, O observation, S state, K action, H hidden.
 */

import { individualBinding, sharedBinding } from "../../models/bindings.ts";
import { asFloat, logProb, sample, toAction } from "../../models/distributions.ts";
import { type ActorConfig, actor, type CriticConfig, critic, hiddenSize } from "../../models/networks.ts";
import { ParameterLayout } from "../../models/parameters.ts";
import {
  type ActorParameters,
  agentNetworks,
  criticBinding,
  encodeTeam,
  type Sharing,
} from "../../models/policy.ts";
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
  /** Adds inputs `critic_parameters` [G, P], `state` [1 or V, E, S], `critic_hidden` and outputs `value`, `critic_hidden_out`. */
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
  const layout = new ParameterLayout(
    config.backbone.specs.map(({ name, shape, initializer }) => ({ name, owner, shape, initializer })),
    owners,
  );
  const source = layout.source(g, g.input("parameters", "float32", layout.dims));
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
  const source = layout.source(g, g.input("critic_parameters", "float32", layout.dims));
  const states = config.ownStates ? config.encoder.agents : 1;
  const state = g.input("state", "float32", [states, envs, config.encoder.size]);
  const width = hiddenSize(config.body);
  const recurrent =
    width > 0
      ? { hidden: g.input("critic_hidden", "float32", [config.encoder.agents, envs, width]), steps: 1 }
      : undefined;
  const { value, hidden } = g.scope("critic", () =>
    critic(g, criticBinding(config, source), encodeTeam(g, state, config), config, recurrent),
  );
  g.output("value", value);
  if (hidden) g.output("critic_hidden_out", hidden);
}

/**
 * Inputs `backbone` [G, P] and, with low-rank sharing, `adapters` [A, Q]; output `networks` [N, P]: every agent's own.
 * Not for teams whose agents share one network or have one each: their parameters are that already.
 */
export function networksGraph(parameters: ActorParameters, sharing: Sharing, agents: number): OnnxModel {
  const g = new GraphBuilder();
  const backbone = g.input("backbone", "float32", parameters.backbone.dims);
  const adapters = parameters.adapters && g.input("adapters", "float32", parameters.adapters.dims);
  g.output("networks", agentNetworks(g, parameters, sharing, agents, backbone, adapters));
  return finishGraph(g, "networks");
}

/** Whether the networks of agents are formed by {@link networksGraph}. */
export function formsNetworks({ kind }: Sharing): boolean {
  return kind !== "shared" && kind !== "individual";
}
