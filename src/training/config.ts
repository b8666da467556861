/** What a training run is told: every setting with its range, and the networks that follow from it. */
import { z } from "zod";
import type { LoraConfig } from "../../models/adapters.ts";
import type { HeadConfig } from "../../models/distributions.ts";
import type { ActorConfig, BodyConfig, CriticConfig } from "../../models/networks.ts";
import type { Sharing } from "../../models/policy.ts";
import { LorasaError, suggestion } from "../base/errors.ts";
import type { EnvSpec } from "../envs/contract.ts";

const whole = z.int().positive();
const fraction = z.number().min(0).max(1);

/** How agents share the actor: `lorasa` and `seps-lorasa` are a phase shared (all, or within clusters) and one of adapters. */
export const SHARING = ["lorasa", "ps", "nps", "seps", "mtl", "seps-lorasa"] as const;
/** `mappo` updates all agents at once; `a2po` and `happo` one after another. */
export const ALGORITHMS = ["mappo", "a2po", "happo"] as const;
/** In which order agents are updated, see `sequential-order.ts`. */
export const UPDATE_ORDERS = [
  "semi-greedy",
  "greedy",
  "random",
  "cyclic",
  "reverse-semi-greedy",
  "reverse-greedy",
] as const;
/** How advantages are corrected for agents that have moved, see `advantage-estimator.ts`. */
export const TRACES = ["off", "formula", "lambda-squared", "running-product"] as const;

export const trainConfig = z.strictObject({
  env: z.string().min(1).describe("task, such as mujoco/HalfCheetah-2x3"),
  envOptions: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()]))
    .describe("options of the task"),
  algo: z.enum(ALGORITHMS),
  sharing: z
    .enum(SHARING)
    .describe(
      "lorasa: shared, then adapters; ps: shared; nps: a network an agent; seps: one a cluster of agents; " +
        "mtl: a shared trunk, a head an agent; seps-lorasa: one a cluster, then adapters",
    ),
  seed: z.int().nonnegative(),
  steps: whole.describe("environment steps over all phases"),
  switchAt: z
    .number()
    .positive()
    .describe("when adapters start: a fraction of steps up to 1, or a step above 1"),
  rank: whole,
  alpha: z.number().positive(),
  loraZero: z.enum(["loraA", "loraB"]).describe("which factor starts at zero"),
  excludeLayers: z.array(z.string()).describe("layers without an adapter"),
  layerRanks: z.record(z.string(), whole).default({}).describe("ranks of layers that have another than rank"),
  adapterKey: z
    .enum(["agent", "type"])
    .default("agent")
    .describe("whose adapters there are: each agent's, or one for units of a type"),
  clusters: z
    .int()
    .nonnegative()
    .default(0)
    .describe("clusters of seps; 0: the number with the best silhouette"),
  updateOrder: z.enum(UPDATE_ORDERS).default("semi-greedy").describe("order of agents in a2po and happo"),
  updateLoop: z
    .enum(["agent", "epoch"])
    .default("agent")
    .describe("a2po: all epochs of an agent before the next, or all agents in each epoch"),
  updateBlocks: z
    .int()
    .nonnegative()
    .default(0)
    .describe("a2po: so many blocks of agents, each updated together; 0: each agent by itself"),
  cumulativeBlocks: z
    .boolean()
    .default(false)
    .describe("a2po: a block is updated together with those before it"),
  trace: z
    .enum(TRACES)
    .default("formula")
    .describe(
      "a2po: correction for agents that have moved: off, the paper's formula, or the released code's variants",
    ),
  othersClipRange: z
    .number()
    .nonnegative()
    .default(0.1)
    .describe("a2po: range of the ratio of other agents that have moved; 0: not clipped"),
  adaptiveClip: z
    .enum(["off", "order", "ratio"])
    .default("order")
    .describe("a2po: later turns get a wider clip range, by their place or by how far agents have moved"),
  adaptiveClipWeight: fraction.default(0.5).describe("a2po: how much of the clip range the place decides"),
  twoStage: z
    .boolean()
    .default(true)
    .describe("a2po: a pass of the critic alone on the corrected returns first"),
  envs: whole.describe("environments stepped at once; an even number"),
  rolloutLength: whole.describe("steps of each environment between updates"),
  epochs: whole.describe("passes of the actor over a rollout"),
  criticEpochs: whole,
  minibatches: whole,
  chunkLength: whole.describe("steps of a sequence of a recurrent network; 1 without recurrence"),
  learningRate: z.number().positive(),
  adapterLearningRate: z
    .number()
    .nonnegative()
    .default(0)
    .describe("of adapters in their phase; 0: learningRate"),
  criticLearningRate: z.number().positive(),
  learningRateDecay: z.boolean().describe("falls linearly to zero over the steps"),
  clipRange: z.number().positive(),
  entropyCoefficient: z.number().nonnegative(),
  gamma: fraction,
  gaeLambda: fraction,
  maxGradientNorm: z.number().positive(),
  huberDelta: z.number().positive(),
  timeLimit: z.enum(["zero-advantage", "bootstrap"]),
  ratio: z.enum(["product", "per-dimension"]),
  critic: z
    .enum(["team", "agent"])
    .describe("one value for the team, or one an agent (its id beside the state)"),
  criticSharing: z
    .enum(["as-actor", "shared", "separate"])
    .default("as-actor")
    .describe("one critic for all values or one an agent; as-actor: separate for nps with a value an agent"),
  distribution: z.enum(["gaussian", "squashed-gaussian"]).describe("of continuous actions"),
  headGain: z
    .number()
    .positive()
    .default(0.01)
    .describe("gain of the weights that the actor's head starts with"),
  agentId: z.boolean().describe("appends the agent's one-hot id to its observation"),
  standardise: z.boolean().describe("standardises each observation vector by itself"),
  featureNorm: z.boolean(),
  hidden: z.array(whole).min(1),
  activation: z.enum(["relu", "tanh"]),
  recurrent: z.boolean(),
  layersAfter: z.int().nonnegative().describe("blocks after the recurrent layer"),
  evaluateEvery: z.int().nonnegative().describe("steps between deterministic evaluations; 0: none"),
  evaluationEpisodes: whole,
  saveEvery: z.int().nonnegative().describe("steps between checkpoints; 0: at switch and end only"),
});

export type TrainConfig = z.infer<typeof trainConfig>;

/**
 * Checks a configuration and what its fields mean together.
 * @throws LORASA_CONFIG naming the field, what it takes and what was given.
 */
export function parseTrainConfig(input: unknown, what = "configuration"): TrainConfig {
  const parsed = trainConfig.safeParse(input);
  if (!parsed.success) {
    const [issue] = parsed.error.issues as [z.core.$ZodIssue];
    if (issue.code === "unrecognized_keys") throw unknownField(what, issue.keys[0]!);
    const field = issue.path.join(".");
    throw new LorasaError("LORASA_CONFIG", {
      asked: field ? `${what}, ${field}` : what,
      received: issue.message.charAt(0).toLowerCase() + issue.message.slice(1),
    });
  }
  const config = parsed.data;
  const chunks = (config.rolloutLength * config.envs) / chunkLengthOf(config);
  const together: readonly [boolean, string, string, number | string][] = [
    [config.envs % 2 === 0, "envs", "an even number", config.envs],
    [
      config.rolloutLength % chunkLengthOf(config) === 0,
      "rolloutLength",
      `a multiple of chunkLength ${config.chunkLength}`,
      config.rolloutLength,
    ],
    [
      chunks % config.minibatches === 0,
      "minibatches",
      `a divisor of the ${chunks} sequences of a rollout`,
      config.minibatches,
    ],
    [
      config.adaptiveClip !== "ratio" || config.algo !== "a2po" || config.updateLoop === "epoch",
      "adaptiveClip",
      "off or order, or updateLoop epoch: within one round nobody has moved when it begins",
      config.adaptiveClip,
    ],
    [
      config.critic === "agent" || config.criticSharing !== "separate",
      "criticSharing",
      "shared, since critic team gives one value",
      config.criticSharing,
    ],
    [
      config.steps >= config.envs * config.rolloutLength,
      "steps",
      `at least one rollout, ${config.envs * config.rolloutLength}`,
      config.steps,
    ],
  ];
  for (const [fits, field, expected, received] of together) {
    if (!fits)
      throw new LorasaError("LORASA_CONFIG", {
        asked: `${what}, ${field}`,
        expected,
        received: `${received}`,
      });
  }
  return config;
}

function unknownField(what: string, field: string): LorasaError {
  return new LorasaError("LORASA_CONFIG", {
    asked: `${what}, ${field}`,
    expected: "a field of the configuration",
    received: "an unknown name",
    mend: suggestion(field, Object.keys(trainConfig.shape)),
  });
}

/** Fields that decide what a checkpoint's numbers mean, and those that do once it has adapters. */
const NETWORK_FIELDS = [
  "envs",
  "critic",
  "criticSharing",
  "distribution",
  "agentId",
  "standardise",
  "featureNorm",
  "hidden",
  "activation",
  "recurrent",
  "layersAfter",
] as const;
const ADAPTER_FIELDS = ["sharing", "rank", "alpha", "excludeLayers", "layerRanks", "adapterKey"] as const;

/** What is trained before adapters: runs that agree in it can go on from one another. */
const BACKBONE_OF = {
  lorasa: "shared",
  ps: "shared",
  nps: "individual",
  seps: "clustered",
  "seps-lorasa": "clustered",
  mtl: "multi-task",
} as const satisfies Record<TrainConfig["sharing"], Sharing["kind"]>;

/**
 * Whether training can go on from what another configuration trained.
 * @param adapters whether it has adapters already.
 * @throws LORASA_CONFIG naming the field in which they must agree and do not.
 */
export function requireSameNetwork(
  config: TrainConfig,
  trained: TrainConfig,
  adapters: boolean,
  what: string,
): void {
  const fields = [...NETWORK_FIELDS, ...(adapters ? ADAPTER_FIELDS : [])];
  const field =
    BACKBONE_OF[config.sharing] === BACKBONE_OF[trained.sharing]
      ? fields.find((name) => JSON.stringify(config[name]) !== JSON.stringify(trained[name]))
      : "sharing";
  if (field === undefined) return;
  throw new LorasaError("LORASA_CONFIG", {
    asked: `${what}, ${field}`,
    expected: JSON.stringify(trained[field]),
    received: JSON.stringify(config[field]),
    mend: "go on with what the checkpoint was trained with, or train anew",
  });
}

/** L: 1 without recurrence. */
export function chunkLengthOf(config: TrainConfig): number {
  return config.recurrent ? config.chunkLength : 1;
}

/** Whether a run ends in a phase of adapters. */
export function startsAdapters({ sharing }: TrainConfig): boolean {
  return sharing === "lorasa" || sharing === "seps-lorasa";
}

/** The step at which adapters start, a whole number of rollouts; the end for other ways of sharing. */
export function switchStep(config: TrainConfig): number {
  if (!startsAdapters(config)) return config.steps;
  const asked = config.switchAt <= 1 ? config.switchAt * config.steps : config.switchAt;
  const rollout = config.envs * config.rolloutLength;
  return Math.min(Math.round(asked / rollout) * rollout, config.steps);
}

export function loraConfig(config: TrainConfig): LoraConfig {
  const { rank, alpha, loraZero, excludeLayers, layerRanks } = config;
  return { rank, alpha, zero: loraZero, exclude: excludeLayers, ranks: layerRanks };
}

/** `shared` trains one network (or separate ones), `adapters` the low-rank differences. */
export type Phase = "shared" | "adapters";

/** The phase that the rollout after `envSteps` belongs to. */
export function phaseAt(config: TrainConfig, envSteps: number): Phase {
  return startsAdapters(config) && envSteps >= switchStep(config) ? "adapters" : "shared";
}

/** Step size of Adam for what acts in a phase, before any decay. */
export function actorLearningRate({ learningRate, adapterLearningRate }: TrainConfig, phase: Phase): number {
  return phase === "adapters" && adapterLearningRate > 0 ? adapterLearningRate : learningRate;
}

/** What is known of a team besides its configuration: who its agents are, and their clusters where there are any. */
export interface TeamFacts {
  readonly agents: readonly Pick<EnvSpec["agents"][number], "name" | "type">[];
  readonly clusterOf?: readonly number[] | undefined;
}

/** How the actor is shared in a phase. @throws LORASA_CONFIG for adapters by type where agents have none. */
export function sharingIn(config: TrainConfig, phase: Phase, team: TeamFacts): Sharing {
  const kind = BACKBONE_OF[config.sharing];
  const clusterOf = kind === "clustered" ? team.clusterOf! : undefined;
  if (phase === "adapters") {
    const adapterOf = config.adapterKey === "type" ? rowsByType(team.agents) : undefined;
    return {
      kind: "low-rank",
      lora: loraConfig(config),
      ...(clusterOf && { clusterOf }),
      ...(adapterOf && { adapterOf }),
    };
  }
  return kind === "clustered" ? { kind, clusterOf: clusterOf! } : { kind };
}

/** Whether a run needs to know its agents' clusters before it starts. */
export function needsClusters({ sharing }: TrainConfig): boolean {
  return BACKBONE_OF[sharing] === "clustered";
}

/** Rows in the order in which types are met. */
function rowsByType(agents: TeamFacts["agents"]): number[] {
  const types = agents.map(({ name, type }) => {
    if (type !== undefined) return type;
    throw new LorasaError("LORASA_CONFIG", {
      asked: "adapterKey type",
      expected: "a task whose agents have types",
      received: `${name} without one`,
      mend: "use adapterKey agent",
    });
  });
  const known = [...new Set(types)];
  return types.map((type) => known.indexOf(type));
}

/** C and L of one minibatch. */
export function minibatchShape(config: TrainConfig): {
  readonly chunks: number;
  readonly chunkLength: number;
} {
  const chunkLength = chunkLengthOf(config);
  return { chunks: (config.envs * config.rolloutLength) / chunkLength / config.minibatches, chunkLength };
}

export function actorConfig(config: TrainConfig, spec: EnvSpec): ActorConfig {
  const agents = spec.agents.length;
  return {
    encoder: { agents, size: spec.observationSize, agentId: config.agentId, standardise: config.standardise },
    body: bodyConfig(config),
    head: headConfig(config, spec),
  };
}

/**
 * The critic sees the state: its id row is appended when every agent has a value of its own.
 * @throws LORASA_CONFIG for one value of a team whose agents have states of their own.
 */
export function criticConfig(config: TrainConfig, spec: EnvSpec): CriticConfig {
  const perAgent = config.critic === "agent";
  if (spec.statePerAgent && !perAgent) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: `critic of ${spec.name}`,
      expected: "agent, since every agent has a state of its own",
      received: config.critic,
      mend: "ask the task for one state, or set critic=agent",
    });
  }
  const own =
    config.criticSharing === "as-actor" ? config.sharing === "nps" : config.criticSharing === "separate";
  return {
    encoder: {
      agents: perAgent ? spec.agents.length : 1,
      size: spec.stateSize,
      agentId: perAgent,
      standardise: config.standardise,
    },
    ownStates: spec.statePerAgent,
    separate: perAgent && own,
    body: bodyConfig(config),
  };
}

function bodyConfig(config: TrainConfig): BodyConfig {
  const { featureNorm, hidden, activation } = config;
  return {
    featureNorm,
    hidden,
    activation,
    recurrent: config.recurrent && { layersAfter: config.layersAfter },
  };
}

function headConfig(config: TrainConfig, { actionSpace }: EnvSpec): HeadConfig {
  const gain = config.headGain;
  if (actionSpace.kind === "discrete") return { kind: "categorical", size: actionSpace.count, gain };
  const { size, low, high } = actionSpace;
  // HARL's constants; the initial standard deviation is 0.5·sigmoid(1) = 0.37.
  return { kind: config.distribution, size, low, high, stdX: 1, stdY: 0.5, gain };
}
