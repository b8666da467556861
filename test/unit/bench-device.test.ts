/** The device benchmark's own logic: what is left out and why, going on with what is known, its tables and floors. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Findings, openFindings, saveFindings } from "../bench/device/findings.ts";
import {
  type Case,
  caseKey,
  casesOf,
  FULL,
  LIMITS,
  QUICK,
  runnersOf,
  type Sizes,
} from "../bench/device/plan.ts";
import { measureSteps, type StepCell, type StepFigures } from "../bench/device/steps.ts";
import {
  crossoverTable,
  deviceFloors,
  memoryTable,
  stepTable,
  swapTable,
  trainTable,
} from "../bench/device/tables.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const cpu = { name: "cpu", device: "cpu", threads: 1 } as const;
const webgpu = { name: "webgpu", device: "webgpu", threads: 1 } as const;
const tiny: Sizes = { ...QUICK, agents: [1, 2], rows: [1, 2], hidden: [8], warmUpMs: 0, measureMs: 0 };

function steps(
  sizes: Sizes,
  mode: "merged" | "stacked" | "factored",
  known: (cell: StepCell) => StepFigures | undefined = () => undefined,
): Map<string, StepFigures> {
  const found = new Map<string, StepFigures>();
  const each = { part: "steps", runner: cpu, hidden: sizes.hidden[0]!, mode } as const;
  measureSteps(each, sizes, known, ({ agents, rows }, figures) => found.set(`${agents} ${rows}`, figures));
  return found;
}

test("every mode is timed at every size, once", () => {
  for (const mode of ["merged", "stacked", "factored"] as const) {
    const found = steps(tiny, mode);
    assert.deepEqual([...found.keys()], ["1 1", "1 2", "2 1", "2 2"], mode);
    for (const figures of found.values())
      assert.ok("p50Us" in figures && figures.p50Us > 0 && figures.actionsPerSecond > 0, mode);
  }
});

test("what an earlier run measured is not measured again, and says how long larger steps take", () => {
  const known = { p50Us: 0.6 * LIMITS.stepMs * 1e3, p99Us: 1, actionsPerSecond: 1 };
  const found = steps(tiny, "stacked", ({ agents, rows }) =>
    agents === 1 && rows === 1 ? known : undefined,
  );
  assert.deepEqual([...found.keys()], ["1 2", "2 1", "2 2"]);
  const [first, , last] = [...found.values()];
  assert.deepEqual(first, { leftOut: `a step of up to ${1.2 * LIMITS.stepMs} ms` });
  assert.deepEqual(last, { leftOut: "a step of more than smaller ones, left out" });
});

test("steps over a limit of memory or sessions are left out before anything is loaded", () => {
  const rows = 2 ** 24;
  assert.deepEqual(steps({ ...tiny, agents: [1], rows: [rows] }, "factored").get(`1 ${rows}`), {
    leftOut: "a tensor of 4 GiB",
  });
  assert.deepEqual(steps({ ...tiny, agents: [2000], rows: [1] }, "merged").get("2000 1"), {
    leftOut: "2000 sessions",
  });
  assert.deepEqual(steps({ ...tiny, hidden: [4096], agents: [64], rows: [1] }, "stacked").get("64 1"), {
    leftOut: "a graph of 4.08 GiB",
  });
});

test("a case has a name of its own", () => {
  const runners = [cpu, webgpu];
  const parts = ["swap", "memory", "train", "steps"] as const;
  const cases = parts.flatMap((part): Case[] => casesOf(part, FULL, runners, ["cuda", "cpu"]));
  assert.equal(new Set(cases.map(caseKey)).size, cases.length);
  assert.equal(casesOf("steps", FULL, runners, []).length, FULL.hidden.length * runners.length * 3);
  assert.equal(runnersOf(["cpu", "webgpu"]).at(-1)!.name, "webgpu");
});

function findings(more: Partial<Findings> = {}): Findings {
  return {
    date: "2026-01-02",
    machine: { processor: "test", cores: 2, gpu: "GPU", driver: "1", software: false, node: "v20" },
    command: "npm run bench:device",
    sizes: { ...tiny, hidden: [64], swapHidden: 1024 },
    limits: LIMITS,
    swap: {},
    memory: {},
    train: {},
    steps: {},
    failed: {},
    ...more,
  };
}

function cell(agents: number, rows: number, us: number): StepCell & StepFigures {
  return { agents, rows, p50Us: us, p99Us: us, actionsPerSecond: (agents * rows * 1e6) / us };
}

test("the crossover is the smallest step that a device's best mode wins, and nothing where it never does", () => {
  const measured = {
    "steps | webgpu | 64 stacked": [cell(1, 1, 300), cell(1, 2, 300), cell(2, 1, 310), cell(2, 2, 310)],
    "steps | webgpu | 64 factored": [cell(1, 1, 400), cell(2, 2, 100)],
    "steps | cpu | 64 stacked": [cell(1, 1, 20), cell(1, 2, 200), cell(2, 1, 320), cell(2, 2, 1000)],
    "steps | cpu, 2 threads | 64 stacked": [
      cell(1, 1, 10),
      cell(2, 2, 50),
      { agents: 2, rows: 1, leftOut: "x" } as const,
    ],
  };
  const table = crossoverTable(findings({ steps: measured }));
  assert.deepEqual(table.slice(2), [
    "| 64 | webgpu | cpu | 2 of 4 sizes | 2 × 1 (stacked) | 10 times (2 × 2) |",
    "| 64 | webgpu | cpu, 2 threads | 0 of 2 sizes | never | – |",
  ]);
  const [head, , first, , third] = stepTable(findings({ steps: measured }), 64);
  assert.ok(
    head!.startsWith("| agents × rows | webgpu, merged | webgpu, stacked | webgpu, factored | cpu, merged"),
  );
  assert.equal(first, "| 1 × 1 |  | 300 µs | 400 µs |  | 20 µs |  |  | 10 µs |  | 3.33k | 50k | 100k |");
  assert.match(third!, /^\| 2 × 1 \|.*\| – \|/, "left out is not the same as not measured");
});

const memory = { adapters: 1000, hostBytes: 1, gpuUsedBytes: null };
const swap = { p50Us: 400, p99Us: 900, stepUs: 300, swapAndStepUs: 600, adapterBytes: 2048, slots: 64 };

test("floors hold by what was measured on WebGPU, merged sessions scaled to all adapters", () => {
  const all = findings({
    swap: { "swap | webgpu | 1024": swap, "swap | cpu | 1024": { ...swap, p50Us: 5 } },
    memory: {
      "memory | webgpu | 1024 factored": { ...memory, loaded: 1000, deviceBytes: 99 },
      "memory | webgpu | 1024 merged": { ...memory, loaded: 100, deviceBytes: 100 },
    },
    train: {
      "train | webgpu | 64": { ms: 1, steps: 10, losses: [0.5, 0.4] },
      "train | pytorch cuda | 64": { ms: 2, steps: 10, losses: [0.5, 0.4001], library: "PyTorch 2" },
      "train | webgpu | 1024": { ms: 1, steps: 10, losses: [7, 7] },
    },
  });
  assert.deepEqual(
    deviceFloors(all).map(({ value, holds }) => [Number(value.toPrecision(3)), holds]),
    [
      [400, true],
      [0.099, true],
      [0.00025, true],
    ],
  );
  const slow = findings({ swap: { "swap | webgpu | 1024": { ...swap, p50Us: 1001 } } });
  assert.deepEqual(
    deviceFloors(slow).map(({ holds }) => holds),
    [false],
  );
  assert.deepEqual(deviceFloors(findings()), []);
  assert.match(swapTable(all)[2]!, /webgpu, 1024 \| 2 KiB \| 400 µs \| 900 µs/);
  assert.match(memoryTable(all)[3]!, /webgpu, 1024 merged \| 100 \| 1000 B \| – \|/);
  assert.match(trainTable(all)[3]!, /pytorch cuda, 64 \| 2 ms \| 10 \| 0\.500000, 0\.400100 \| PyTorch 2/);
});

test("a run goes on with the findings of the same machine and sizes only", (context) => {
  const path = join(temporaryFolder(context), "found.json");
  const { date, machine, command, sizes, limits } = findings();
  const fresh = { date, machine, command, sizes, limits };
  saveFindings(path, findings({ swap: { known: swap } }));
  assert.deepEqual(Object.keys(openFindings(path, fresh).swap), ["known"]);
  for (const other of [
    { ...fresh, sizes: { ...sizes, rows: [1] } },
    { ...fresh, machine: { ...machine, gpu: "another" } },
  ])
    assert.deepEqual(openFindings(path, other).swap, {});
});

test("a software driver's figures make no page", (context) => {
  const folder = temporaryFolder(context);
  const [from, to] = [join(folder, "found.json"), join(folder, "page.md")];
  const write = (software: boolean) => {
    saveFindings(from, findings({ machine: { ...findings().machine, software } }));
    const given = ["--import", "tsx", "test/long/device-results.ts", "--from", from, "--to", to];
    return spawnSync(process.execPath, given, { encoding: "utf8" });
  };
  const refused = write(true);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /software driver/);
  assert.equal(existsSync(to), false);
  assert.equal(write(false).status, 0);
  assert.equal(existsSync(to), true);
});
