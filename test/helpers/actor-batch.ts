/** What a step of an actor reads, drawn at random: a rollout that no environment gave. */
import type { Team } from "../../models/team.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import type { OthersPlace } from "../../src/training/losses.ts";

export interface ActorBatchOptions {
  readonly chunks: number;
  readonly chunkLength: number;
  readonly advantagePerAgent: boolean;
  /** Whether there is a ratio of other agents that have moved. */
  readonly others?: OthersPlace;
}

/** Every input of an actor step but the optimizer's; ratios between about 0.5 and 2, some agents inactive. */
export function actorBatch(
  team: Team,
  { chunks, chunkLength, advantagePerAgent, others: withOthers }: ActorBatchOptions,
): Record<string, HostTensor> {
  const random = new Random(7);
  const { agents: count, size } = team.actor.encoder;
  const rows = chunks * chunkLength;
  const { head, body } = team.actor;
  const normal = (dims: readonly number[], scale = 1): HostTensor =>
    filled(dims, () => scale * random.normal());
  const categorical = head.kind === "categorical";
  const width = categorical ? 1 : head.size;
  const masked = filled([count, rows, head.size], (at) =>
    at % head.size === 0 || random.uniform() < 0.5 ? 1 : 0,
  );
  const trained = team.adapters ?? team.backbone;
  const layout = team.parameters.adapters ?? team.parameters.backbone;
  return {
    parameters: floatTensor(layout.dims, trained),
    ...(team.adapters && { frozen: floatTensor(team.parameters.backbone.dims, team.backbone) }),
    observations: normal([count, rows, size]),
    // The first choice is always available.
    drawn: categorical ? filled([count, rows, 1], () => 0) : normal([count, rows, width], 0.5),
    old_log_prob: filled([count, rows, width], () => random.uniformIn(-1.5, 0)),
    advantage: normal([advantagePerAgent ? count : 1, rows, 1]),
    active: filled([count, rows, 1], (at) => (at === 0 || random.uniform() < 0.7 ? 1 : 0)),
    clip_range: floatTensor([], [0.2]),
    ...(withOthers && { others: filled([count, rows, 1], () => random.uniformIn(0.6, 1.5)) }),
    ...(categorical && { action_mask: masked }),
    ...(body.recurrent && {
      hidden: normal([count, chunks, body.hidden.at(-1)!], 0.5),
      mask: filled([1, rows, 1], (at) => (at % 5 === 4 ? 0 : 1)),
    }),
  };
}

export function filled(dims: readonly number[], value: (at: number) => number): HostTensor {
  const count = dims.reduce((product, size) => product * size, 1);
  return floatTensor(
    dims,
    Array.from({ length: count }, (_, at) => value(at)),
  );
}
