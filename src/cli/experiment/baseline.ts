/** Which group of an experiment another one is compared with. */
import { LorasaError } from "../../base/errors.ts";
import { type Grid, type Group, holds } from "./grid.ts";

/**
 * The baseline of every group by name. Where the baseline is a condition, it is the group that meets it and lies at the
 * same place on every axis that the condition does not name; groups without one, and the baselines, have none.
 * @throws LORASA_CONFIG for a baseline that no group is.
 */
export function baselines({ file, groups }: Grid): ReadonlyMap<string, Group> {
  const { baseline } = file;
  if (baseline === undefined) return new Map();
  const candidates = groups.filter((group) =>
    typeof baseline === "string"
      ? [group.name, group.title].includes(baseline)
      : holds(baseline, group.labels, group.config),
  );
  if (candidates.length === 0) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: "baseline",
      expected: "one that a group of runs meets",
      received: JSON.stringify(baseline),
      mend: `groups: ${groups.map(({ name }) => name).join(", ")}`,
    });
  }
  const named = typeof baseline === "object" ? Object.keys(baseline) : null;
  const pairs = groups.flatMap((group) => {
    if (candidates.includes(group)) return [];
    const found =
      candidates.find((candidate) => sameElsewhere(group, candidate, named)) ?? only(candidates, group);
    return found ? [[group.name, found] as const] : [];
  });
  return new Map(pairs);
}

/** Whether two groups lie at the same place on all axes but those named; of a baseline with a name, on none. */
function sameElsewhere(group: Group, other: Group, named: readonly string[] | null): boolean {
  if (named === null) return true;
  return Object.keys(group.labels).every(
    (axis) => named.includes(axis) || group.labels[axis] === other.labels[axis],
  );
}

/** A single baseline serves all groups of its task. */
function only(candidates: readonly Group[], { config }: Group): Group | undefined {
  const same = candidates.filter((candidate) => candidate.config.env === config.env);
  return same.length === 1 ? same[0] : undefined;
}
