/** What differs between the spaces of two simulators, in the words of the protocol. Not whether they may differ. */
import type { ActionSpace, EnvSpec } from "../contract.ts";
import type { Registration } from "./spaces.ts";

/** A field of a registration, what it was, and what it is now. */
export interface Difference {
  readonly field: string;
  readonly expected: string;
  readonly received: string;
}

type Fact = readonly [field: string, value: unknown];

/** The first difference; undefined when one team can be trained on both. */
export function registrationDifference(first: Registration, other: Registration): Difference | undefined {
  const stateOf = ({ spec, concatenates }: Registration): unknown =>
    concatenates ? "observations" : spec.stateSize;
  return firstDifference(factsOf(first.spec, stateOf(first)), factsOf(other.spec, stateOf(other)));
}

/** As {@link registrationDifference}, where it is not known how a state was sent. */
export function specDifference(first: EnvSpec, other: EnvSpec): Difference | undefined {
  return firstDifference(factsOf(first, first.stateSize), factsOf(other, other.stateSize));
}

/** Two teams of one size have the same fields in the same order, and teams of two sizes differ before their agents. */
function firstDifference(expected: readonly Fact[], received: readonly Fact[]): Difference | undefined {
  for (const [index, [field, value]] of expected.entries()) {
    const [wanted, given] = [shown(value), shown(received[index]![1])];
    if (wanted !== given) return { field, expected: wanted, received: given };
  }
  return undefined;
}

function factsOf(spec: EnvSpec, state: unknown): readonly Fact[] {
  return [
    ["task", spec.name],
    ["number of agents", spec.agents.length],
    ...spec.agents.flatMap(({ name, observationSize, actionSize, type }, index): Fact[] => [
      [`agents[${index}].name`, name],
      [`agents[${index}].observation`, observationSize],
      [`agents[${index}].action`, actionText(spec.actionSpace, actionSize)],
      [`agents[${index}].type`, type],
    ]),
    ["state", state],
    ["state_per_agent", spec.statePerAgent],
    ["episode_limit", spec.episodeLimit],
    ["step_seconds", spec.stepSeconds],
    ["figures", spec.episodeFigures],
  ];
}

function actionText(space: ActionSpace, size: number): string {
  return space.kind === "discrete" ? `${size} choices` : `${size} numbers from ${space.low} to ${space.high}`;
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "none");
}
