/** Which group of an experiment another one is compared with. */
import { isDeepStrictEqual } from "node:util";
import { LorasaError } from "../../base/errors.ts";
import { type Grid, type Group, holds } from "./grid.ts";

/**
 * The baseline of every group by name, always one of its own task with the same options: returns of other tasks are
 * other figures. Where the baseline is a condition, it is the group that meets it and lies at the same place on every
 * axis that the condition does not name, or else the only one of the task; groups without one, and the baselines, have none.
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
  const named = typeof baseline === "object" ? Object.keys(baseline) : [];
  const pairs = groups.flatMap((group) => {
    if (candidates.includes(group)) return [];
    const ofTask = candidates.filter((candidate) => isSameTask(group, candidate));
    const found = ofTask.find((candidate) => sameElsewhere(group, candidate, named));
    const lone = ofTask.length === 1 ? ofTask[0] : undefined;
    const beside = found ?? lone;
    return beside ? [[group.name, beside] as const] : [];
  });
  return new Map(pairs);
}

/** Whether two groups lie at the same place on all axes but those named. */
function sameElsewhere(group: Group, other: Group, named: readonly string[]): boolean {
  return Object.keys(group.labels).every(
    (axis) => named.includes(axis) || group.labels[axis] === other.labels[axis],
  );
}

function isSameTask({ config: a }: Group, { config: b }: Group): boolean {
  return a.env === b.env && isDeepStrictEqual(a.envOptions, b.envOptions);
}
