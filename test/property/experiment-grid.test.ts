/** Any grid's runs: as many as it has combinations, each a folder of its own, each with the values of its place. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseExperiment } from "../../src/cli/experiment/experiment-file.ts";
import { resolveGrid } from "../../src/cli/experiment/grid.ts";
import { sharedStarts } from "../../src/cli/experiment/shared-start.ts";
import { switchStep } from "../../src/training/config.ts";

const BASE = { env: "mujoco/HalfCheetah-2x3", steps: 8000, envs: 4, rolloutLength: 100 };

/** Values of fields that may stand together in any combination. */
const VALUES = {
  sharing: ["ps", "nps", "lorasa"],
  rank: [1, 2, 4],
  switchAt: [0.25, 0.5, 1],
  hidden: [[8], [16, 8]],
  epochs: [1, 2],
} as const;

const axes = fc
  .tuple(
    ...Object.entries(VALUES).map(([name, values]) =>
      fc
        .subarray<unknown>([...values], { minLength: 0 })
        .map((chosen): [string, unknown[]] | null => (chosen.length === 0 ? null : [name, chosen])),
    ),
  )
  .map((chosen) => Object.fromEntries(chosen.filter((axis) => axis !== null)));

const seeds = fc.uniqueArray(fc.nat(50), { minLength: 1, maxLength: 3 });

const gridOf = (chosen: object, wanted: readonly number[]) =>
  resolveGrid(parseExperiment({ name: "any", about: "Any.", base: BASE, axes: chosen, seeds: wanted }));

test("a grid has every combination of its axes once for each seed, and no two runs share a folder", () => {
  fc.assert(
    fc.property(axes, seeds, (chosen, wanted) => {
      const { cells } = gridOf(chosen, wanted);
      const combinations = Object.values(chosen).reduce(
        (product, values) => product * values.length,
        wanted.length,
      );
      assert.equal(cells.length, combinations);
      assert.equal(new Set(cells.map(({ name }) => name)).size, cells.length);
      for (const { name } of cells) assert.match(name, /^[A-Za-z0-9][A-Za-z0-9._+-]*$/);
      const places = cells.map(({ config }) =>
        JSON.stringify([config.seed, ...Object.keys(chosen).map((field) => config[field as "rank"])]),
      );
      assert.equal(new Set(places).size, cells.length, "every place is taken once");
    }),
  );
});

test("a shared start is a run of the same seed that keeps a switch no later than the other's", () => {
  fc.assert(
    fc.property(axes, seeds, (chosen, wanted) => {
      const { cells } = gridOf(chosen, wanted);
      for (const [name, from] of sharedStarts(cells)) {
        const { config } = cells.find((cell) => cell.name === name)!;
        assert.notEqual(name, from.name);
        assert.equal(from.config.seed, config.seed);
        assert.equal(from.config.sharing, "lorasa");
        assert.ok(switchStep(from.config) < from.config.steps);
        assert.ok(switchStep(from.config) <= switchStep(config));
        for (const field of ["hidden", "epochs", "steps", "env"] as const)
          assert.deepEqual(from.config[field], config[field], field);
        assert.notEqual(config.sharing, "nps");
      }
    }),
  );
});
