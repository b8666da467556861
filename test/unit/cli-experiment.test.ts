/** Experiments without running them: which runs a file asks for, what each starts from, and what is refused. */
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { VERSION } from "../../src/base/version.ts";
import { baselines } from "../../src/cli/experiment/baseline.ts";
import { cellProgress, cellState, prepareCell } from "../../src/cli/experiment/cell-folder.ts";
import { parseCellResult } from "../../src/cli/experiment/cell-result.ts";
import { parseExperiment, readExperiment } from "../../src/cli/experiment/experiment-file.ts";
import { resolveGrid } from "../../src/cli/experiment/grid.ts";
import { GridProgress, type GridState, secondsLeft } from "../../src/cli/experiment/grid-progress.ts";
import { lockFolder, requireNotTraining } from "../../src/cli/experiment/lock.ts";
import { making, makingNow, makingText } from "../../src/cli/experiment/machine.ts";
import { experimentPath } from "../../src/cli/experiment/ready-experiments.ts";
import { sharedStarts } from "../../src/cli/experiment/shared-start.ts";
import { assertFails } from "../helpers/fails.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const BASE = { env: "mujoco/HalfCheetah-2x3", steps: 8000, envs: 4, rolloutLength: 100 };

function gridOf(more: object) {
  return resolveGrid(parseExperiment({ name: "test", about: "A test.", base: BASE, seeds: [1], ...more }));
}

test("every combination of axes is run with every seed, over the preset and the base", () => {
  const { cells, groups } = gridOf({
    base: { preset: "harl-halfcheetah", steps: 40_000 },
    axes: {
      sharing: ["ps", "nps"],
      speed: { slow: { learningRate: 1e-5 }, fast: { learningRate: 1e-3, epochs: 2 } },
    },
    seeds: [3, 4],
  });
  assert.deepEqual(
    cells.map(({ name }) => name),
    [3, 4].flatMap((seed) =>
      ["ps_slow", "ps_fast", "nps_slow", "nps_fast"].map((name) => `${name}_seed${seed}`),
    ),
  );
  const { config } = cells.at(-1)!;
  assert.equal(config.seed, 4);
  assert.equal(config.sharing, "nps");
  assert.equal(config.epochs, 2, "the variant's fields");
  assert.equal(config.steps, 40_000, "the base's");
  assert.equal(config.clipRange, 0.05, "the preset's");
  assert.deepEqual(groups[1]!.labels, { sharing: "ps", speed: "fast" });
});

test("a numeric value is named with its axis, and a name never leaves the folder", () => {
  const { groups } = gridOf({
    axes: { rank: [2, 16] },
    include: [{ name: "../of: all, none", set: { sharing: "ps" } }],
  });
  assert.deepEqual(
    groups.map(({ name, title }) => [name, title]),
    [
      ["rank2", "rank 2"],
      ["rank16", "rank 16"],
      ["of-all-none", "../of: all, none"],
    ],
  );
});

test("exclusions name axes or fields, one value or several", () => {
  const axes = { sharing: ["ps", "nps", "lorasa"], rank: [2, 4] };
  const names = (exclude: object[]): string[] => gridOf({ axes, exclude }).groups.map(({ name }) => name);
  assert.deepEqual(names([{ sharing: ["ps", "nps"], rank: 4 }]), [
    "ps_rank2",
    "nps_rank2",
    "lorasa_rank2",
    "lorasa_rank4",
  ]);
  assert.deepEqual(names([{ sharing: "ps" }, { sharing: "nps", rank: 2 }]), [
    "nps_rank4",
    "lorasa_rank2",
    "lorasa_rank4",
  ]);
  assert.deepEqual(names([{ envs: 4, rank: 2 }]).length, 3);
  assertFails(() => names([{ envs: 4 }]), "LORASA_CONFIG", /at least one run/);
});

test("overrides set fields where their condition holds, the later one last", () => {
  const { groups } = gridOf({
    axes: { sharing: ["ps", "lorasa"], size: { small: { hidden: [8] }, large: { hidden: [32] } } },
    overrides: [
      { when: { sharing: "lorasa" }, set: { epochs: 3 } },
      { when: { sharing: "lorasa", size: "large" }, set: { epochs: 4 } },
      { when: { epochs: 4 }, set: { criticEpochs: 7 } },
    ],
  });
  assert.deepEqual(
    groups.map(({ name, config }) => [name, config.epochs, config.criticEpochs]),
    [
      ["ps_small", 5, 5],
      ["ps_large", 5, 5],
      ["lorasa_small", 3, 5],
      ["lorasa_large", 4, 7],
    ],
  );
});

test("what is wrong is refused in one line that names the run and the field", () => {
  const refused: readonly (readonly [object, RegExp])[] = [
    [{ axes: { rank: [2, 0] } }, /^cell rank0, rank: /],
    [{ axes: { rnak: [2] } }, /^cell rnak2, rnak: .*did you mean rank/],
    [{ base: { ...BASE, env: "mujoco/HalfCheetah-9x9" } }, /^cell run, env: .*HalfCheetah-9x9/],
    [{ base: { ...BASE, envs: 3 } }, /^cell run, envs: expected an even number, received 3/],
    [{ base: { preset: "harl-halfcheeta" } }, /preset harl-halfcheeta; did you mean harl-halfcheetah/],
    [{ axes: { seed: [1] } }, /^axes.seed: /],
    [{ base: { ...BASE, seed: 3 } }, /^base.seed: expected seeds in a list of their own/],
    [{ axes: { size: { small: { seed: 3 } } } }, /^axes.size.small.seed: /],
    [{ include: [{ name: "more", set: { seed: 3 } }] }, /^include more, set.seed: /],
    [{ seeds: [1, 2], exclude: [{ seed: 2 }] }, /^exclude.seed: /],
    [{ seeds: [1, 2], overrides: [{ when: { seed: 2 }, set: {} }] }, /^overrides, when.seed: /],
    [{ overrides: [{ when: {}, set: { seed: 2 } }] }, /^overrides, set.seed: /],
    [{ seeds: [1, 2], baseline: { seed: 1 } }, /^baseline.seed: /],
    [{ axes: { sharing: ["ps", "ps"] } }, /^cell ps: expected a name of its own/],
    [
      { include: [{ name: "same", set: {} }] },
      /^cell same: expected a configuration of its own, received that of run/,
    ],
    [{ exclude: [{ sharign: "ps" }] }, /^exclude.sharign: .*did you mean sharing/],
    [
      { axes: { size: { small: { hidden: [8] } } }, exclude: [{ size: "smal" }] },
      /^exclude.size: .*did you mean small/,
    ],
    [{ axes: { sharing: ["ps", "nps"] }, baseline: { sharing: "lorasa" } }, /^baseline: .*groups: ps, nps/],
    [{ seeds: [] }, /^experiment, seeds: /],
    [{ sedes: [1] }, /sedes/],
    [{ name: "../elsewhere" }, /^experiment, name: /],
  ];
  for (const [change, message] of refused) {
    const code = message.source.includes("9x9") ? "LORASA_UNKNOWN_TASK" : "LORASA_CONFIG";
    assertFails(() => baselines(gridOf(change)), code, message);
  }
});

test("a group stands beside the baseline at its own place on the other axes", () => {
  const grid = gridOf({
    axes: { envs: [2, 4], sharing: ["ps", "nps", "lorasa"] },
    baseline: { sharing: "ps" },
  });
  const pairs = [...baselines(grid)].map(([name, { name: other }]) => [name, other]);
  assert.deepEqual(pairs, [
    ["envs2_nps", "envs2_ps"],
    ["envs2_lorasa", "envs2_ps"],
    ["envs4_nps", "envs4_ps"],
    ["envs4_lorasa", "envs4_ps"],
  ]);
  const named = gridOf({
    axes: { rank: [2, 4] },
    include: [{ name: "none", set: { sharing: "ps" } }],
    baseline: "none",
  });
  assert.deepEqual(
    [...baselines(named)].map(([name, { name: other }]) => [name, other]),
    [
      ["rank2", "none"],
      ["rank4", "none"],
    ],
  );
});

test("no group stands beside one of another task or of other options", () => {
  const pairs = (more: object) =>
    [...baselines(gridOf(more))].map(([name, { name: other }]) => [name, other]);
  const env = ["mujoco/HalfCheetah-2x3", "mujoco/HalfCheetah-6x1"];
  assert.deepEqual(
    pairs({
      axes: { env, sharing: ["lorasa"] },
      include: [{ name: "none", set: { sharing: "ps" } }],
      baseline: "none",
    }),
    [["mujoco-HalfCheetah-2x3_lorasa", "none"]],
  );
  // It has no place on any axis, so that only the task tells it apart.
  const elsewhere = { name: "other", set: { env: env[1], sharing: "nps" } };
  assert.deepEqual(
    pairs({ axes: { sharing: ["ps", "lorasa"] }, include: [elsewhere], baseline: { sharing: "ps" } }),
    [["lorasa", "ps"]],
  );
  const short = { name: "short", set: { envOptions: { episodeLimit: 100 }, sharing: "nps" } };
  assert.deepEqual(
    pairs({ axes: { sharing: ["ps", "lorasa"] }, include: [short], baseline: { sharing: "ps" } }),
    [["lorasa", "ps"]],
  );
});

test("runs that differ only in their adapters start from the switch of the first, and from no later one", () => {
  const { cells } = gridOf({
    axes: { switchAt: [0.5, 0.25, 0.75], rank: [2, 4] },
    include: [
      { name: "ps", set: { sharing: "ps" } },
      { name: "nps", set: { sharing: "nps" } },
      { name: "other", set: { learningRate: 1e-5 } },
    ],
  });
  const starts = Object.fromEntries([...sharedStarts(cells)].map(([name, from]) => [name, from.name]));
  assert.deepEqual(starts, {
    "switchAt0.25_rank4_seed1": "switchAt0.25_rank2_seed1",
    "switchAt0.5_rank2_seed1": "switchAt0.25_rank2_seed1",
    "switchAt0.5_rank4_seed1": "switchAt0.5_rank2_seed1",
    "switchAt0.75_rank2_seed1": "switchAt0.5_rank2_seed1",
    "switchAt0.75_rank4_seed1": "switchAt0.75_rank2_seed1",
    ps_seed1: "switchAt0.75_rank2_seed1",
  });
});

test("runs of other seeds, networks or settings share nothing", () => {
  const { cells } = gridOf({
    axes: { clipRange: [0.1, 0.2], hidden: [[8], [16]], gamma: [0.9, 0.99] },
    seeds: [1, 2],
  });
  assert.equal(cells.length, 16);
  assert.equal(sharedStarts(cells).size, 0);
});

test("a folder's run of another configuration is refused with what changed, saving apart", (context) => {
  const folder = join(temporaryFolder(context), "run_seed1");
  const { cells } = gridOf({});
  const [cell] = cells as [(typeof cells)[number]];
  assert.equal(cellState(folder, cell).kind, "new");
  prepareCell(folder, cell, null);
  assert.equal(
    cellState(folder, cell).kind,
    "new",
    "a run that ended before its first checkpoint starts anew",
  );
  mkdirSync(join(folder, "checkpoint"));
  assert.equal(cellState(folder, cell).kind, "stopped");
  const changed = (change: object) => ({ ...cell, config: { ...cell.config, ...change } });
  assert.equal(cellState(folder, changed({ saveEvery: 400 })).kind, "stopped");
  assertFails(
    () => cellState(folder, changed({ rank: 3, hidden: [9] })),
    "LORASA_EXISTS",
    /cell run_seed1: expected rank 8, hidden \[64,64,64\] as .*, received rank 3, hidden \[9\]; /,
  );
});

test("a checkpoint and a switch that were set aside as their writer was killed are put back, not deleted", (context) => {
  const folder = join(temporaryFolder(context), "run_seed1");
  const [cell] = gridOf({}).cells as [ReturnType<typeof gridOf>["cells"][number]];
  prepareCell(folder, cell, null);
  for (const part of ["checkpoint", "switch"]) mkdirSync(join(folder, `${part}.previous`));
  assert.equal(cellState(folder, cell).kind, "stopped");
  assert.deepEqual(readdirSync(folder).sort(), ["cell.json", "checkpoint", "start.json", "switch"]);
});

test("a run that an earlier command's process still trains is refused, and only while that lives", (context) => {
  const folder = temporaryFolder(context);
  const file = join(folder, "training.pid");
  requireNotTraining(folder, "run_seed1");
  writeFileSync(file, String(process.ppid));
  assertFails(
    () => requireNotTraining(folder, "run_seed1"),
    "LORASA_BUSY",
    new RegExp(`^cell run_seed1: .*process ${process.ppid} that still trains it.*delete .*training.pid`),
  );
  writeFileSync(file, "4194305");
  requireNotTraining(folder, "run_seed1");
});

test("what runs are made with names the version, the machine and the runs at once; without it a result is read too", () => {
  const made = makingNow(3);
  assert.deepEqual(making.parse(made), made);
  assert.equal(made.lorasa, VERSION);
  assert.equal(made.node, process.version);
  assert.match(makingText(made), /^lorasa .*, Node v.*, .*, \d+ cores?, 3 runs at once$/);
  const sizes = {
    agents: 2,
    actorParameters: 9,
    trainableParameters: 9,
    ownParameters: 0,
    criticParameters: 5,
  };
  const old = {
    cell: "ps_seed1",
    group: "ps",
    config: { env: BASE.env, steps: 80, seed: 1 },
    startedFrom: null,
    envSteps: 80,
    return: { mean: 1, std: 0 },
    won: null,
    phases: [],
    sizes: { ...sizes, actorBytes: 36, criticBytes: 20 },
    times: { seconds: 1, envStepsPerSecond: 80, peakMemoryBytes: null },
    curves: {},
  };
  assert.equal(parseCellResult(old, "kept").madeWith, undefined);
  assert.deepEqual(parseCellResult({ ...old, madeWith: made }, "new").madeWith, made);
});

test("progress is read from the last whole line of a run's metrics", (context) => {
  const folder = temporaryFolder(context);
  assert.equal(cellProgress(folder), null);
  const row = (envSteps: number): string =>
    JSON.stringify({ envSteps, seconds: envSteps / 10, phase: "shared", return: -1.5 });
  const filler = `${row(1)}\n`.repeat(500);
  writeFileSync(join(folder, "metrics.jsonl"), `${filler}${row(700)}\n${row(800).slice(0, 20)}`);
  assert.deepEqual(cellProgress(folder), { envSteps: 700, seconds: 70, meanReturn: -1.5 });
  writeFileSync(
    join(folder, "metrics.jsonl"),
    `{"envSteps":900,"seconds":1,"phase":"shared","return":null}\n`,
  );
  assert.deepEqual(cellProgress(folder), { envSteps: 900, seconds: 1, meanReturn: null });
});

const STATE: GridState = {
  cells: 6,
  finished: 2,
  failed: 1,
  running: [
    { name: "a", envSteps: 500, total: 1000, seconds: 5, meanReturn: 12.3 },
    { name: "b", envSteps: 900, total: 1000, seconds: 9, meanReturn: null },
  ],
  stepsWaiting: 2000,
};

test("the time left is that of all steps at the speed of all runs, and no less than the slowest run's", () => {
  // 500 + 100 + 2,000 steps at 100 + 300 a second.
  assert.equal(secondsLeft(STATE, [100, 300]), 6.5);
  assert.equal(secondsLeft({ ...STATE, stepsWaiting: 0 }, [10, 300]), 50);
  assert.equal(secondsLeft(STATE, [100, null]), null);
  assert.equal(secondsLeft({ ...STATE, running: [], stepsWaiting: 0 }, []), 0);
});

test("progress is a block that is drawn over itself on a terminal, and lines elsewhere", () => {
  for (const isTTY of [true, false]) {
    let [text, now] = ["", 0];
    const stream = { write: (part: string) => (text += part), isTTY, columns: 60 };
    const progress = new GridProgress({ stream, now: () => now });
    progress.update(STATE);
    now += 60_000;
    progress.update({
      ...STATE,
      running: STATE.running.map((cell) => ({
        ...cell,
        envSteps: cell.envSteps + 50,
        seconds: cell.seconds + 1,
      })),
    });
    progress.note("a: finished");
    progress.close();
    assert.match(text, /2\/6 runs done, 2 running, 1 failed, -:--:-- left/);
    assert.match(text, /2\/6 runs done, 2 running, 1 failed, 0:00:25 left/);
    assert.match(text, /a {2}55% of 1k, 50\/s, return 12\.30/);
    assert.match(text, /a: finished\n/);
    assert.equal(text.includes("\x1b[3A\x1b[J"), isTTY);
  }
});

test("a folder that a living process runs is refused; one whose process ended is not", (context) => {
  const folder = temporaryFolder(context);
  const file = join(folder, "running.pid");
  writeFileSync(file, String(process.ppid));
  assertFails(
    () => lockFolder(folder),
    "LORASA_BUSY",
    new RegExp(`process ${process.ppid} .*delete .*running.pid`),
  );
  // Larger than any process id.
  writeFileSync(file, "4194305");
  lockFolder(folder)();
  assert.deepEqual(readdirSync(folder), []);
});

test("the file that docs/experiments.md shows gives the groups and baselines that it tells", () => {
  const [, shown] = /```json\n([\s\S]*?)```/.exec(readFileSync(join("docs", "experiments.md"), "utf8"))!;
  const grid = resolveGrid(parseExperiment(JSON.parse(shown!)));
  assert.deepEqual(
    grid.groups.map(({ name, config }) => [name, config.rank, config.epochs]),
    [
      ["mappo_small", 2, 5],
      ["mappo_large", 16, 5],
      ["a2po_large", 16, 10],
      ["shared", 8, 5],
    ],
  );
  assert.equal(baselines(grid).size, 3);
});

/** Files that compare tasks, not ways of sharing. */
const TASKS_ALONE = ["battles.json", "harl-robots.json"];

test("every ready file of experiments/ gives runs and, where it compares ways of sharing, their baselines", () => {
  const files = readdirSync("experiments").filter((name) => name.endsWith(".json"));
  assert.ok(files.length >= 9, files.join());
  for (const name of files) {
    const file = readExperiment(join("experiments", name));
    assert.equal(`${file.name}.json`, name);
    const grid = resolveGrid(file);
    const beside = baselines(grid);
    assert.equal(grid.cells.length, grid.groups.length * file.seeds.length, name);
    if (TASKS_ALONE.includes(name)) continue;
    assert.ok(beside.size > 0, name);
    assert.ok(
      sharedStarts(grid.cells).size > 0,
      `${name}: parameter sharing and LoRASA train the same at first`,
    );
  }
});

test("a ready experiment goes by its name from any folder; a path stays a path", (context) => {
  const here = process.cwd();
  const folder = temporaryFolder(context);
  try {
    process.chdir(folder);
    assert.equal(readExperiment(experimentPath("rank-halfcheetah")).name, "rank-halfcheetah");
    assert.equal(experimentPath("rank-halfcheetah.json"), "rank-halfcheetah.json");
    assert.equal(experimentPath(join("grids", "mine")), join("grids", "mine"));
    assertFails(
      () => experimentPath("rank-cheetah"),
      "LORASA_FILE",
      /name of a ready experiment.*rank-halfcheetah/,
    );
    writeFileSync("rank-halfcheetah", "{}");
    assert.equal(experimentPath("rank-halfcheetah"), "rank-halfcheetah");
  } finally {
    process.chdir(here);
  }
});
