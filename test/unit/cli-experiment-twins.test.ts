/** Finished runs of other experiments that stand for those of this one. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { cellState, prepareCell, startedFrom, writeResult } from "../../src/cli/experiment/cell-folder.ts";
import { parseExperiment } from "../../src/cli/experiment/experiment-file.ts";
import { type Cell, resolveGrid } from "../../src/cli/experiment/grid.ts";
import { sharedStarts } from "../../src/cli/experiment/shared-start.ts";
import { findTwins, takeOver } from "../../src/cli/experiment/twins.ts";
import { resultOf } from "../helpers/cell-result.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const BASE = { env: "mujoco/HalfCheetah-2x3", steps: 8000, envs: 4, rolloutLength: 100 };
const { cells: CELLS } = resolveGrid(
  parseExperiment({
    name: "mine",
    about: "A test.",
    base: { ...BASE, saveEvery: 800 },
    axes: { rank: [2, 8] },
    include: [{ name: "ps", set: { sharing: "ps" } }],
    seeds: [1, 2],
  }),
);
const [RANK2, RANK8, PS] = CELLS as [Cell, Cell, Cell];

/** The folder of every experiment, the run's folder in this one, and what the others have finished. */
function experiments(context: TestContext) {
  const root = temporaryFolder(context);
  const own = join(root, "mine");
  const folderOf = (cell: string): string => join(own, cell);
  /** @param parts folders of the run that are there. */
  const finish = (
    name: string,
    {
      cell,
      change = {},
      from = null,
    }: { cell: Cell; change?: Partial<Cell["config"]>; from?: string | null },
    parts: readonly string[],
  ): string => {
    const [, run] = name.split("/") as [string, string];
    const folder = join(root, name);
    const config = { ...cell.config, saveEvery: 0, ...change };
    prepareCell(folder, { name: run, group: "other", config }, from);
    writeResult(folder, resultOf({ name: run, group: "other", config }, 7));
    for (const part of parts) {
      mkdirSync(join(folder, part));
      writeFileSync(join(folder, part, "weights"), name);
    }
    return folder;
  };
  const twins = (cells = CELLS): (string | undefined)[] => {
    const found = findTwins(cells, own, folderOf);
    return cells.map(({ name }) => found.get(name)?.name);
  };
  return { root, own, folderOf, finish, twins };
}

test("a twin has the same configuration and seed, however often it was saved", (context) => {
  const { finish, twins, folderOf } = experiments(context);
  assert.deepEqual(twins(), Array(6).fill(undefined), "nothing is there");
  finish("a/rank", { cell: RANK2 }, []);
  finish("a/other-alpha", { cell: RANK8, change: { alpha: 3 } }, ["checkpoint"]);
  finish("b/shared", { cell: PS }, []);
  assert.deepEqual(twins(), ["a/rank", undefined, "b/shared", undefined, undefined, undefined]);
  assert.deepEqual(twins([PS]), ["b/shared"]);

  finish("c/shared", { cell: PS }, ["checkpoint"]);
  assert.deepEqual(twins([PS]), ["c/shared"], "one with a checkpoint first");

  prepareCell(folderOf(RANK2.name), RANK2, null);
  mkdirSync(join(folderOf(RANK2.name), "checkpoint"));
  assert.deepEqual(twins([RANK2]), [undefined], "a run that was begun goes on");
});

test("what is no result beside an experiment is left alone", (context) => {
  const { root, finish, twins } = experiments(context);
  finish("a/rank", { cell: RANK2 }, []);
  for (const [folder, contents] of [
    ["notes", "not JSON"],
    ["numbers", "{}"],
  ] as const) {
    mkdirSync(join(root, "a", folder));
    writeFileSync(join(root, "a", folder, "result.json"), contents);
  }
  writeFileSync(join(root, "result.json"), "{}");
  assert.deepEqual(twins([RANK2]), ["a/rank"]);
});

test("a twin that is taken over is a finished run with its own names", (context) => {
  const { own, folderOf, finish } = experiments(context);
  const folder = finish("a/rank", { cell: RANK8 }, ["checkpoint", "switch"]);
  const taken = folderOf(RANK8.name);
  takeOver(RANK8, findTwins([RANK8], own, folderOf).get(RANK8.name)!, taken);
  const expected = { ...resultOf(RANK8, 7), takenFrom: "a/rank" };
  assert.deepEqual(cellState(taken, RANK8), { kind: "finished", result: expected });
  assert.equal(readFileSync(join(taken, "checkpoint", "weights"), "utf8"), "a/rank");
  assert.equal(readFileSync(join(folder, "checkpoint", "weights"), "utf8"), "a/rank", "the twin stays");

  const hasSwitch = ({ name }: Cell): boolean => existsSync(join(folderOf(name), "switch"));
  assert.equal(sharedStarts(CELLS).get(RANK8.name), RANK2);
  assert.equal(sharedStarts(CELLS, hasSwitch).get(RANK2.name), RANK8, "its switch is there already");
});

test("nothing goes on from a copy of a run that itself went on from another", (context) => {
  const { own, folderOf, finish } = experiments(context);
  const folder = finish("a/rank", { cell: RANK2, from: "first" }, ["checkpoint", "switch"]);
  const taken = folderOf(RANK2.name);
  takeOver(RANK2, findTwins([RANK2], own, folderOf).get(RANK2.name)!, taken);
  assert.deepEqual([existsSync(join(taken, "switch")), existsSync(join(taken, "checkpoint"))], [false, true]);
  assert.equal(startedFrom(taken), null);
  assert.ok(existsSync(join(folder, "switch")), "the twin keeps its own");
});
