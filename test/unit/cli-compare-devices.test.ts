/** `compare` over several devices and precisions: what is left out, what lies where, crossovers, many adapters, the page. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { advise } from "../../src/cli/compare/advice.ts";
import { type CompareResult, compareTeam } from "../../src/cli/compare/compare-team.ts";
import { type CompareCase, MODES } from "../../src/cli/compare/contract.ts";
import { deviceReasons, duels, precisionReasons } from "../../src/cli/compare/device-advice.ts";
import { type AdaptersMemory, measureAdapters } from "../../src/cli/compare/many-adapters.ts";
import { comparePage } from "../../src/cli/compare/page.ts";
import { compareJson, compareText } from "../../src/cli/compare/report.ts";
import { type CompareRow, summarise } from "../../src/cli/compare/summary.ts";
import { modeBytes } from "../../src/cli/compare/team-files.ts";
import { verifyModes } from "../../src/cli/compare/verify-modes.ts";
import { layOutAxis } from "../../src/report/axis.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { deviceFault } from "../../src/runtime/probe.ts";
import { compareRow as row } from "../helpers/compare-rows.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

/** Takes 1 ms whatever it is asked, where the CPU takes 20 µs a row of a step. */
const SIZES = [
  [1, 1],
  [8, 1],
  [8, 64],
  [64, 64],
] as const;

function twoDevices(onDeviceUs = 1000): CompareRow[] {
  return SIZES.flatMap(([agents, rows]) => [
    row("stacked", 20 * agents * rows, { agents, rows }),
    row("factored", 25 * agents * rows, { agents, rows }),
    row("factored", onDeviceUs, { agents, rows, device: "webgpu", deviceBytes: 2 ** 20 }),
    row("stacked", 1.5 * onDeviceUs, { agents, rows, device: "webgpu", deviceBytes: 2 ** 22 }),
  ]);
}

test("the crossover is the smallest step at which a device wins, with how much it wins at most", () => {
  const [reason, ...others] = deviceReasons(twoDevices());
  assert.equal(
    reason,
    "webgpu is faster than cpu at 2 of 4 sizes, the smallest 8 agents with 64 rows each (512 rows a step, factored), by " +
      "up to 82 times (64 agents with 64 rows each). At the others stay on cpu.",
  );
  assert.deepEqual(others, []);
  assert.deepEqual(
    duels(twoDevices(), "webgpu", "cpu").map(({ gain }) => gain),
    [0.02, 0.16, 10.24, 81.92],
  );
});

test("a device that never wins is said to lose, and small policies to belong on the CPU", () => {
  const [reason] = deviceReasons(twoDevices(200_000));
  assert.match(
    reason!,
    /^cpu is the faster device, or as fast, at all 4 sizes: .* 2\.4 to 10k times as long/,
  );
  assert.match(
    reason!,
    /nearest at 64 agents with 64 rows each\. Small policies are often fastest on the CPU/,
  );
  const [always] = deviceReasons(twoDevices(1));
  assert.match(
    always!,
    /^webgpu is faster than cpu at all 4 sizes, the smallest 1 agent with 1 row each[^.]*\.$/,
  );
  assert.deepEqual(deviceReasons([row("stacked", 1)]), []);
});

test("the first sentence names device and mode of the team's size, and the quickest elsewhere", () => {
  const { headline, reasons } = advise(twoDevices(), { teamAgents: 8 });
  assert.equal(
    headline,
    "For 8 agents with 1 row each, stacked on cpu is the fastest (160 µs a team step). Choose factored when adapters " +
      "change while serving: a swap takes 20 µs instead of 4 ms, at 1.3 times the latency. The quickest elsewhere: 1 ms " +
      "on webgpu (factored).",
  );
  assert.ok(reasons.some((reason) => reason.startsWith("cpu: Fastest of the 4 sizes")));
  assert.ok(
    reasons.some((reason) => /^webgpu: Memory at .* in the process/.test(reason)),
    reasons.join("\n"),
  );
});

test("half precision is weighed against fp32 of the same mode, size and device only", () => {
  const rows = [
    row("stacked", 100),
    row("factored", 300),
    row("stacked", 80, { precision: "fp16", weightBytes: 2 ** 18 }),
    row("factored", 240, { precision: "fp16", weightBytes: 2 ** 18 }),
    row("stacked", 1, { precision: "fp16", device: "webgpu" }),
  ];
  const target = { device: "cpu", precision: "fp16", maxAbsDiff: 0.02, maxActionDiff: 0.0012 } as const;
  assert.deepEqual(precisionReasons(rows, [{ ...target, precision: "fp32" }, target]), [
    "fp16 on cpu: actions differ from the trained network's by at most 1.2e-3; weights take 0.5 times fp32's bytes, and a " +
      "step 0.8 times its time (medians).",
  ]);
  assert.match(advise(rows, { teamAgents: 8 }).headline, /100 µs/, "fp32 is what modes are compared by");
});

test("bytes lie where the device has its memory, and that is what a row tells", () => {
  const teams = [{ agents: 2, graphs: [], bytes: { backbone: 100, bank: 60, adapter: 30 } }];
  const cases = (["cpu", "webgpu", "cuda"] as const).map(
    (device): CompareCase => ({ mode: "factored", device, precision: "fp32", teams }),
  );
  const step = { rows: 1, p50Us: 1, p99Us: 1, stepsPerSecond: 1, hostBytes: 7 };
  const measured = [{ agents: 2, createMs: 1, swapMs: 1, steps: [step] }];
  const rows = summarise(cases, [new Map(cases.map((each) => [each, measured]))]);
  assert.deepEqual(
    rows.map(({ device, residentBytes, hostBytes, deviceBytes }) => [
      device,
      residentBytes,
      hostBytes,
      deviceBytes,
    ]),
    [
      ["cpu", 7, 7, 0],
      ["webgpu", 160, 7, 160],
      // The bank is copied from the host at each run.
      ["cuda", 100, 7, 100],
    ],
  );
  assert.ok(rows.every(({ weightBytes, adapterBytes }) => weightBytes === 160 && adapterBytes === 30));
});

test("fp16 modes are held to the network, not to each other, and their difference is told", () => {
  const runtime = createRuntime();
  const team = randomTeam({ recurrent: true });
  const exact = verifyModes(team, MODES, runtime);
  const half = verifyModes(team, MODES, runtime, "fp16");
  assert.ok(exact.maxActionDiff > 0 && exact.maxActionDiff < 1e-5, JSON.stringify(exact));
  assert.ok(half.maxActionDiff > 1e-4 && half.maxActionDiff < 0.05, JSON.stringify(half));
  const choices = randomTeam({ head: "categorical", actionSizes: [2, 4, 3] });
  const { maxAbsDiff, maxActionDiff } = verifyModes(choices, MODES, runtime, "fp16");
  assert.ok(maxAbsDiff > 1e-4, "logits differ");
  assert.ok(
    maxActionDiff >= 0 && maxActionDiff <= 2 * maxAbsDiff,
    "a choice loses what rounding of logits can turn",
  );
});

test("weights that half precision does not hold leave it out, and fail where nothing else was asked for", async () => {
  const team = randomTeam({ sharing: "shared" });
  const { backbone } = team;
  const spec = team.parameters.backbone.specs.findIndex(({ name }) => name === "mlp.1.weight");
  assert.ok(spec >= 0);
  team.parameters.backbone.view(backbone, "mlp.1.weight").data[0] = 1e5;
  const quick = { quick: true, agents: [3], rows: [1], rounds: 1, modes: ["stacked"] } as const;
  const { rows, missing } = await compareTeam(team, { ...quick, precisions: ["fp32", "fp16"] });
  assert.deepEqual(
    rows.map(({ precision }) => precision),
    ["fp32"],
  );
  assert.deepEqual(
    missing.map(({ device, precision }) => [device, precision]),
    [["cpu", "fp16"]],
  );
  assert.match(missing[0]!.reason, /mlp\.1\.weight.*65504/);
  await assert.rejects(compareTeam(team, { ...quick, precisions: ["fp16"] }), { code: "LORASA_RANGE" });
});

const cuda = deviceFault(createRuntime("cuda"));
const skip = cuda ? false : "this machine has CUDA";

test("a device without its files is named in one line while another is measured, and alone fails", {
  skip,
}, async () => {
  const team = randomTeam({ observationSizes: [3, 3], hidden: [4] });
  const quick = { quick: true, agents: [2], rows: [1], rounds: 1, modes: ["stacked"] } as const;
  const result = await compareTeam(team, { ...quick, devices: ["cuda", "cpu"] });
  assert.deepEqual(
    result.rows.map(({ device }) => device),
    ["cpu"],
  );
  assert.equal(result.missing.length, 1);
  const line = compareText(result).split("\n")[1]!;
  assert.match(line, /^cuda is left out: none of ONNX Runtime's CUDA files/);
  assert.equal((compareJson(result) as { device: string }).device, "cpu");
  await assert.rejects(compareTeam(team, { ...quick, devices: ["cuda"] }), { code: "LORASA_DEVICE" });
});

test("many adapters take one backbone and a bank, merged ones a session each, scaled where they are not all loaded", async (context) => {
  const folder = temporaryFolder(context);
  const team = randomTeam({ observationSizes: [6, 6], hidden: [32, 32] });
  const [measured] = await measureAdapters(team, 20_000, [{ device: "cpu", precision: "fp32" }], folder);
  const { adapters, sessions, factored, merged, ratio } = measured!;
  assert.deepEqual([adapters, sessions], [20_000, 64]);
  const { adapter } = modeBytes(team, "rows", "fp32").bytes;
  const { backbone } = modeBytes(team, "merged", "fp32").bytes;
  const graph = backbone / team.agents.length;
  // Pages that the library had freed are used again, so that a little less is seen than is held.
  assert.ok(
    factored.hostBytes >= 0.7 * adapters * adapter,
    `${factored.hostBytes} for ${adapters * adapter}`,
  );
  assert.ok(merged.hostBytes >= adapters * graph, `${merged.hostBytes} for ${adapters * graph}`);
  assert.ok(ratio < 0.5 && Math.abs(ratio - factored.hostBytes / merged.hostBytes) < 1e-12, `${ratio}`);
  assert.equal(factored.deviceBytes, 0);
});

function adaptersMemory(): AdaptersMemory {
  return {
    device: "webgpu",
    precision: "fp32",
    adapters: 1000,
    sessions: 64,
    factored: { hostBytes: 2 ** 20, deviceBytes: 2 ** 25 },
    merged: { hostBytes: 2 ** 28, deviceBytes: 2 ** 31 },
    ratio: 2 ** -6,
  };
}

test("the advice tells the memory of many adapters where the model runs", () => {
  const { reasons } = advise(twoDevices(), { teamAgents: 8, adapters: [adaptersMemory()] });
  assert.ok(
    reasons.includes(
      "1k adapters on webgpu: 32 MiB on one backbone, 2 GiB as merged graphs (64 sessions loaded, scaled), 1/64 of the memory.",
    ),
    reasons.join("\n"),
  );
});

function sideBySide(): CompareResult {
  const half = row("factored", 900, { ...SIZES[0], agents: 1, rows: 1, device: "webgpu", precision: "fp16" });
  const rows = [...twoDevices(), half];
  const exact = { precision: "fp32", maxAbsDiff: 1e-6, maxActionDiff: 1e-6 } as const;
  const targets = [
    { device: "cpu", ...exact },
    { device: "webgpu", ...exact },
    { device: "webgpu", precision: "fp16", maxAbsDiff: 0.002, maxActionDiff: 0.001 },
  ] as const;
  const adapters = [adaptersMemory()];
  return {
    environment: "test/Random",
    teamAgents: 8,
    targets,
    missing: [{ device: "cuda", reason: "none of <its> files" }],
    maxAbsDiff: 1e-6,
    rows,
    adapters,
    advice: advise(rows, { teamAgents: 8, targets, adapters }),
    rounds: 3,
    seconds: 1,
    machine: { processor: "test", cores: 2, platform: "linux-x64", node: "v20" },
  };
}

test("the page shows devices side by side, who wins by how much, half precision, many adapters and what is missing", async () => {
  const page = await comparePage(sideBySide());
  for (const text of [
    "Which device",
    "cuda is left out: none of &lt;its&gt; files.",
    "cpu, stacked (webgpu 50 ×)",
    "webgpu, factored (cpu 82 ×)",
    "1 row from each agent, webgpu",
    "Memory of a loaded team, cpu",
    "Memory of 1k adapters",
    "Half precision",
    "8 agents, webgpu",
  ])
    assert.ok(page.includes(text), text);
  // Two numbers of rows: the devices', then each device's modes; memory of each, adapters, swaps.
  assert.equal(page.match(/<svg /g)?.length, 2 + 4 + 2 + 1 + 1);
  assert.equal(page.match(/class="side"/g)?.length, 4);
});

test("the table has columns for what differs", () => {
  const lines = compareText(sideBySide()).split("\n");
  assert.match(lines.find((line) => line.includes("agents"))!, /agents +rows +device +precision +mode/);
  assert.equal(
    lines.filter((line) => line.startsWith("›")).length,
    SIZES.length,
    "one a size, over all devices",
  );
});

test("an axis has room for values that another chart draws", () => {
  for (const scale of ["linear", "log"] as const) {
    const { domain } = layOutAxis({ title: "", scale, holds: [1, 1000] }, [10, 20]);
    assert.ok(domain[0] <= 1 && domain[1] >= 1000, `${scale} ${domain}`);
  }
});
