/** Results of runs that nobody ran. */
import type { CellResult } from "../../src/cli/experiment/cell-result.ts";
import type { Cell } from "../../src/cli/experiment/grid.ts";

/** @param mean the return that it reached. */
export function resultOf(
  { name, group, config }: Cell,
  mean: number,
  change: Partial<CellResult> = {},
): CellResult {
  return {
    cell: name,
    group,
    config,
    startedFrom: null,
    envSteps: config.steps,
    return: { mean, std: 1 },
    won: null,
    phases: [],
    sizes: {
      agents: 2,
      actorParameters: group.includes("nps") ? 200 : 100,
      trainableParameters: 100,
      ownParameters: 0,
      criticParameters: 50,
      actorBytes: group.includes("nps") ? 900 : 400,
      criticBytes: 300,
    },
    times: { seconds: 100 * config.seed, envStepsPerSecond: 80, peakMemoryBytes: null },
    curves: {
      return: [
        [400, 0],
        [8000, mean],
      ],
    },
    ...change,
  };
}
