/**
 * A training run as a checkpoint: what `lorasa.json` says of it, and the way from a trainer's state to files and back.
 * How files are written is `checkpoint/checkpoint.ts`.
 */
import { z } from "zod";
import { initialise } from "../../models/initialise.ts";
import type { ParameterLayout } from "../../models/parameters.ts";
import { actorParameters, criticParameters } from "../../models/policy.ts";
import {
  adapterLayers,
  agentAdapter,
  fileTensors,
  flatParameters,
  setAgentAdapter,
  type Team,
} from "../../models/team.ts";
import { LorasaError } from "../base/errors.ts";
import { Random } from "../base/random.ts";
import { floatTensor, type HostTensor } from "../base/tensor.ts";
import { VERSION } from "../base/version.ts";
import {
  BACKBONE_FILE,
  backboneIdentity,
  type CheckpointContents,
  readCheckpoint,
  writeCheckpoint,
} from "../checkpoint/checkpoint.ts";
import type { EnvSpec } from "../envs/contract.ts";
import {
  actorConfig,
  criticConfig,
  type Phase,
  sharingIn,
  startsAdapters,
  type TrainConfig,
  trainConfig,
} from "./config.ts";
import type { Episode } from "./episodes.ts";
import type { LearnerState } from "./learner.ts";
import type { TrainerState } from "./trainer.ts";

const CRITIC_FILE = "critic.safetensors";
const OPTIMIZER_FILE = "optimizer.safetensors";

const randomState = z.object({
  words: z.tuple([z.number(), z.number(), z.number(), z.number()]),
  spare: z.number().nullable(),
});

/** Adam steps of each owner, or of all alike. */
const updateCounts = z.union([z.int().nonnegative(), z.array(z.int().nonnegative())]);

const envSpec = z.object({
  name: z.string(),
  agents: z
    .array(
      z.object({
        name: z.string(),
        observationSize: z.int(),
        actionSize: z.int(),
        type: z.string().exactOptional(),
      }),
    )
    .min(1),
  observationSize: z.int().positive(),
  stateSize: z.int().positive(),
  statePerAgent: z.boolean().default(false),
  actionSpace: z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("continuous"), size: z.int().positive(), low: z.number(), high: z.number() }),
    z.object({ kind: z.literal("discrete"), count: z.int().positive() }),
  ]),
  episodeLimit: z.int().positive(),
  stepSeconds: z.number().positive(),
  episodeFigures: z.array(z.string()).default([]),
});

const figures = z.record(z.string(), z.number());
const episode = z.object({ return: z.number(), length: z.number(), figures });

/** The manifest's fields that are read back; `network` and `adapterLayers` are there for other readers. */
const savedRun = z.looseObject({
  config: trainConfig,
  environment: envSpec,
  phase: z.enum(["shared", "adapters"]),
  counters: z.object({
    envSteps: z.int().nonnegative(),
    actorUpdates: updateCounts,
    criticUpdates: updateCounts,
    seconds: z.number().nonnegative(),
  }),
  random: z.object({
    noise: randomState,
    actor: randomState,
    critic: randomState,
    order: randomState.exactOptional(),
  }),
  /** The cluster of each agent, for sharing within clusters. */
  clusterOf: z.array(z.int().nonnegative()).exactOptional(),
  recentEpisodes: z.array(episode).default([]),
  phases: z.array(
    z.object({
      phase: z.enum(["shared", "adapters"]),
      envSteps: z.int(),
      return: z.number(),
      figures: figures.exactOptional(),
    }),
  ),
});

export type SavedRun = z.infer<typeof savedRun>;

/** What a checkpoint is made of, besides the trainer's state. */
export interface RunFacts {
  readonly config: TrainConfig;
  readonly phase: Phase;
  readonly spec: EnvSpec;
  readonly clusterOf?: readonly number[] | undefined;
  readonly seconds: number;
  readonly recentEpisodes: readonly Episode[];
  readonly phases: SavedRun["phases"];
}

/** Writes a run's checkpoint whole. @throws LORASA_DISK; the checkpoint that was there stays. */
export function saveRun(directory: string, state: TrainerState, facts: RunFacts): void {
  const team = teamOf(facts, state.backbone, state.actor.parameters);
  const backbone = fileTensors(team.parameters.backbone, team.backbone);
  const identity = backboneIdentity(backbone);
  const critic = criticParameters(criticConfig(facts.config, facts.spec));
  const adapters =
    facts.phase === "adapters"
      ? facts.spec.agents.map(
          ({ name }, index) =>
            [name, { layers: agentAdapter(team, index), backboneSha256: identity }] as const,
        )
      : [];
  writeCheckpoint(
    directory,
    {
      manifest: manifestOf(team, state, facts),
      tensors: {
        [BACKBONE_FILE]: backbone,
        [CRITIC_FILE]: fileTensors(critic, state.critic.parameters),
        [OPTIMIZER_FILE]: optimizerTensors(state),
      },
      adapters: Object.fromEntries(adapters),
    },
    { rank: facts.config.rank, alpha: facts.config.alpha, baseModel: `lorasa/${facts.spec.name}` },
  );
}

/** A checkpoint's manifest, team and files. @throws LORASA_FILE, LORASA_CHECKSUM, LORASA_ADAPTER and the rest. */
export function loadRun(directory: string): {
  saved: SavedRun;
  team: Team;
  backboneSha256: string;
  contents: CheckpointContents<SavedRun>;
} {
  const contents = readCheckpoint(directory, savedRun);
  const saved = contents.manifest;
  const { config, phase, environment: spec, clusterOf } = saved;
  const sharing = sharingIn(config, phase, { agents: spec.agents, clusterOf });
  const parameters = actorParameters(actorConfig(config, spec), sharing);
  const file = contents.tensors[BACKBONE_FILE]!;
  const backbone = flatParameters(parameters.backbone, file);
  const trained = parameters.adapters
    ? new Float32Array(parameters.adapters.owners * parameters.adapters.size)
    : backbone;
  if (parameters.adapters) {
    for (const [index, { name }] of saved.environment.agents.entries()) {
      const adapter = contents.adapters[name];
      if (!adapter)
        throw new LorasaError("LORASA_FILE", {
          asked: `checkpoint ${directory}`,
          expected: `adapters/${name}`,
          received: "none",
        });
      setAgentAdapter({ parameters, sharing }, trained, index, adapter.layers);
    }
  }
  const team = teamOf({ config, phase, spec, clusterOf }, backbone, trained);
  return { saved, team, backboneSha256: backboneIdentity(file), contents };
}

/**
 * The team as the adapters' phase begins: a shared policy of a `lorasa` run with adapters that change nothing yet. Any
 * other team as it is.
 */
export function withStartedAdapters(team: Team, config: TrainConfig): Team {
  if (!startsAdapters(config) || team.adapters !== undefined) return team;
  const clusterOf = "clusterOf" in team.sharing ? team.sharing.clusterOf : undefined;
  const sharing = sharingIn(config, "adapters", { agents: team.agents, clusterOf });
  const parameters = actorParameters(team.actor, sharing);
  // Drawn as training draws them.
  const adapters = initialise(parameters.adapters!, new Random(config.seed).fork(2));
  return { ...team, sharing, parameters, adapters };
}

/** The state that a trainer goes on from. */
export function trainerState({ saved, team, contents }: ReturnType<typeof loadRun>): TrainerState {
  const tensors = contents.tensors[OPTIMIZER_FILE]!;
  const get = (name: string): Float32Array => named(tensors, name).data as Float32Array;
  const critic = criticParameters(criticConfig(saved.config, saved.environment));
  const learner = (role: "actor" | "critic", parameters: Float32Array): LearnerState => ({
    parameters,
    firstMoment: get(`${role}.first_moment`),
    secondMoment: get(`${role}.second_moment`),
    updates: eachPart(
      saved.counters[`${role}Updates`],
      role === "actor" ? trainedLayout(team).parts : critic.parts,
    ),
    random: saved.random[role],
    carried: Object.fromEntries(
      under(tensors, `${role}.carried.`).map(([name, data]) => [name, data as Float32Array]),
    ),
  });
  const groups = new Set(under(tensors, "collector.").map(([name]) => name.split(".")[0]!));
  return {
    envSteps: saved.counters.envSteps,
    backbone: team.backbone,
    actor: learner("actor", team.adapters ?? team.backbone),
    critic: learner("critic", flatParameters(critic, contents.tensors[CRITIC_FILE]!)),
    collector: {
      groups: [...groups].map((group) =>
        Object.fromEntries(
          under(tensors, `collector.${group}.`).map(([name, data]) => [name, data as Float32Array]),
        ),
      ),
    },
    environments: under(tensors, "environment.").map(([, data]) => data as Float64Array),
    noise: saved.random.noise,
    order: saved.random.order ?? new Random(saved.config.seed).fork(5).state(),
  };
}

function trainedLayout({ parameters }: Team): ParameterLayout {
  return parameters.adapters ?? parameters.backbone;
}

function alike(updates: readonly number[]): number | readonly number[] {
  return new Set(updates).size === 1 ? updates[0]! : updates;
}

function eachPart(updates: number | readonly number[], parts: number): readonly number[] {
  return typeof updates === "number" ? new Array<number>(parts).fill(updates) : updates;
}

function teamOf(
  { config, spec, phase, clusterOf }: Pick<RunFacts, "config" | "spec" | "phase" | "clusterOf">,
  backbone: Float32Array,
  trained: Float32Array,
): Team {
  const actor = actorConfig(config, spec);
  const sharing = sharingIn(config, phase, { agents: spec.agents, clusterOf });
  return {
    environment: { name: spec.name, stepSeconds: spec.stepSeconds },
    agents: spec.agents,
    actor,
    sharing,
    parameters: actorParameters(actor, sharing),
    backbone,
    ...(sharing.kind === "low-rank" && { adapters: trained }),
  };
}

function manifestOf(
  team: Team,
  state: TrainerState,
  { config, spec, phase, clusterOf, seconds, recentEpisodes, phases }: RunFacts,
) {
  return {
    lorasa: VERSION,
    environment: spec,
    phase,
    config,
    network: { actor: team.actor, critic: criticConfig(config, spec) },
    adapterLayers: adapterLayers(team),
    counters: {
      envSteps: state.envSteps,
      actorUpdates: alike(state.actor.updates),
      criticUpdates: alike(state.critic.updates),
      seconds,
    },
    random: {
      noise: state.noise,
      actor: state.actor.random,
      critic: state.critic.random,
      order: state.order,
    },
    ...(clusterOf && { clusterOf }),
    recentEpisodes,
    phases,
    provenance: { node: process.version, platform: `${process.platform}-${process.arch}` },
  };
}

function optimizerTensors(state: TrainerState): Map<string, HostTensor> {
  const tensors = new Map<string, HostTensor>();
  const put = (name: string, data: Float32Array): unknown =>
    tensors.set(name, floatTensor([data.length], data));
  for (const role of ["actor", "critic"] as const) {
    put(`${role}.first_moment`, state[role].firstMoment);
    put(`${role}.second_moment`, state[role].secondMoment);
    for (const [name, data] of Object.entries(state[role].carried)) put(`${role}.carried.${name}`, data);
  }
  for (const [index, group] of state.collector.groups.entries()) {
    for (const [name, data] of Object.entries(group)) put(`collector.${index}.${name}`, data);
  }
  // Padded, so that the order of names is that of the environments.
  for (const [index, data] of state.environments.entries()) {
    tensors.set(`environment.${String(index).padStart(6, "0")}`, {
      dtype: "float64",
      dims: [data.length],
      data,
    });
  }
  return tensors;
}

/** Tensors whose names start so, by the rest of their name, in order. */
function under(tensors: ReadonlyMap<string, HostTensor>, prefix: string): [string, HostTensor["data"]][] {
  return [...tensors]
    .filter(([name]) => name.startsWith(prefix))
    .map(([name, { data }]): [string, HostTensor["data"]] => [name.slice(prefix.length), data])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

function named(tensors: ReadonlyMap<string, HostTensor>, name: string): HostTensor {
  const tensor = tensors.get(name);
  if (tensor) return tensor;
  throw new LorasaError("LORASA_FILE", {
    asked: OPTIMIZER_FILE,
    expected: `tensor ${name}`,
    received: "none",
  });
}
