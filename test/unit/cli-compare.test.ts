/** The parts of `compare`: teams of other sizes, equality before measuring, medians, advice, the page; and a small whole run. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { stackedGraph } from "../../exporters/graphs.ts";
import { resizeTeam } from "../../models/resize-team.ts";
import type { Team } from "../../models/team.ts";
import { type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { advise } from "../../src/cli/compare/advice.ts";
import { type CompareResult, compareTeam } from "../../src/cli/compare/compare-team.ts";
import { MODES, type Mode, type TeamFiles } from "../../src/cli/compare/contract.ts";
import { fastestModes } from "../../src/cli/compare/fastest.ts";
import { measureInProcess } from "../../src/cli/compare/measure.ts";
import { comparePage } from "../../src/cli/compare/page.ts";
import { compareJson, compareText, writeComparison } from "../../src/cli/compare/report.ts";
import { timeSteps } from "../../src/cli/compare/step-times.ts";
import { type CompareRow, summarise } from "../../src/cli/compare/summary.ts";
import { verifyModes } from "../../src/cli/compare/verify-modes.ts";
import { compareCommand } from "../../src/cli/compare.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime, Session } from "../../src/runtime/session.ts";
import { assertClose } from "../helpers/close.ts";
import { compareRow as row } from "../helpers/compare-rows.ts";
import { randomTeam, SHARINGS, type SharingName } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const runtime = createRuntime();

/** Actions [N, 1, K] of a team for observations that are the same function of agent and place, whatever N. */
function actions(team: Team): FloatTensor {
  const { size } = team.actor.encoder;
  const session = runtime.createSession(encodeModel(stackedGraph(team)));
  const observations = Float32Array.from({ length: team.agents.length * size }, (_, k) => Math.sin(k));
  const { action } = session.run({ obs: floatTensor([team.agents.length, 1, size], observations) });
  session.dispose();
  return action as FloatTensor;
}

for (const sharing of SHARINGS) {
  test(`a resized team of ${sharing} weights keeps the actions of the agents that it had`, () => {
    const team = randomTeam({ sharing, featureNorm: false });
    const before = actions(team).data;
    for (const agents of [1, 2, 4, 7]) {
      const resized = resizeTeam(team, agents, 1);
      assert.equal(resized.agents.length, agents);
      const after = actions(resized);
      assert.deepEqual(after.dims, [agents, 1, 2]);
      const kept = Math.min(agents, 3) * 2;
      assertClose(after.data.subarray(0, kept), before.subarray(0, kept));
    }
  });
}

test("repeated agents are of the clusters and types of those that they repeat", () => {
  const rowsOf = (sharing: SharingName) => resizeTeam(randomTeam({ sharing }), 5, 1).sharing;
  const clusterOf = [0, 1, 0, 0, 1];
  assert.deepEqual(rowsOf("clustered"), { kind: "clustered", clusterOf });
  const { sharing } = randomTeam({ sharing: "low-rank on clusters by type" });
  const adapterOf = [0, 1, 1, 0, 1];
  assert.deepEqual(rowsOf("low-rank on clusters by type"), { ...sharing, clusterOf, adapterOf });
});

test("repeated agents are near those that they repeat, and not the same", () => {
  const team = randomTeam();
  const { adapters, parameters, agents } = resizeTeam(team, 5, 1);
  const q = parameters.adapters!.size;
  assert.equal(new Set(agents.map(({ name }) => name)).size, 5);
  const layer = parameters.adapters!.view(adapters!, "mlp.1.lora_A", 0);
  const repeated = parameters.adapters!.view(adapters!, "mlp.1.lora_A", 3);
  const difference = Math.max(...layer.data.map((value, k) => Math.abs(value - repeated.data[k]!)));
  assert.ok(difference > 0 && difference < 0.1, `${difference}`);
  assert.equal(adapters!.length, 5 * q);
  assert.deepEqual(resizeTeam(team, 5, 1).adapters, adapters, "the same seed gives the same team");
  assert.equal(resizeTeam(team, 3, 1), team);
  const weight = (of: Team): Float32Array => of.parameters.backbone.view(of.backbone, "mlp.0.weight").data;
  // After five observations: the rows of ids 0, 1, 2, and again 0, 1.
  const wide = weight(resizeTeam(team, 5, 1));
  assert.deepEqual(wide.subarray(0, 64), weight(team));
  assert.deepEqual(wide.subarray(64), weight(team).subarray(40, 56));
});

test("a resized team of any kind is one that every mode agrees on", () => {
  const kinds = [
    { recurrent: true, standardise: true },
    { head: "categorical", observationSizes: [3, 5], actionSizes: [2, 4] },
    // The encoded observation, of 3 places, caps the first layer's rank; with five agents more than it holds.
    { observationSizes: [1, 1], rank: 4 },
  ] as const;
  for (const kind of kinds) {
    for (const agents of [1, 5]) {
      const { maxAbsDiff } = verifyModes(resizeTeam(randomTeam(kind), agents, 2), MODES, runtime);
      assert.ok(maxAbsDiff > 0 && maxAbsDiff < 1e-5, `${JSON.stringify(kind)}: ${maxAbsDiff}`);
    }
  }
});

test("a mode that answers something else stops the comparison and is named", () => {
  const team = randomTeam({ recurrent: true });
  // Merged sessions are opened first, one an agent; the next is the stacked one.
  for (const [at, name] of [
    [1, "merged"],
    [3, "stacked"],
    [5, "rows"],
  ] as const) {
    assert.throws(
      () => verifyModes(team, MODES, tampered(at, 1e-4)),
      (error: Error) =>
        /LORASA_VERIFY/.test(String((error as never)["code"])) && error.message.includes(name),
    );
  }
  assert.throws(() => verifyModes(team, MODES, tampered(4, Number.NaN)), { code: "LORASA_VERIFY" });
  assert.ok(verifyModes(team, MODES, tampered(4, 1e-6)).maxAbsDiff >= 1e-6 * 0.9);
});

test("fp32 modes are held to each other, fp16 ones to the network alone", () => {
  const team = randomTeam({ recurrent: true });
  // Merged sessions of three agents, then stacked and factored: as far from the network as is allowed, to both sides.
  const exact = tampered(3, 0.8e-5, tampered(4, -0.8e-5));
  assert.throws(() => verifyModes(team, MODES, exact), {
    code: "LORASA_VERIFY",
    message: /^factored and stacked on cpu, fp32, output action/,
  });
  const half = tampered(3, 0.015, tampered(4, -0.015));
  const { maxActionDiff } = verifyModes(team, MODES, half, "fp16");
  assert.ok(maxActionDiff > 0.014 && maxActionDiff < 0.02, `${maxActionDiff}`);
  assert.throws(() => verifyModes(team, MODES, tampered(5, 0.5), "fp16"), {
    code: "LORASA_VERIFY",
    message: /^network and rows on cpu, fp16/,
  });
});

/** A runtime whose session number `at` adds to the first action of every run. */
function tampered(at: number, added: number, own: Runtime = runtime): Runtime {
  let opened = 0;
  return {
    ...own,
    createSession(model, options) {
      const session = own.createSession(model, options);
      return opened++ === at ? withAdded(session, added) : session;
    },
  };
}

function withAdded(session: Session, added: number): Session {
  return {
    device: session.device,
    inputs: session.inputs,
    outputs: session.outputs,
    cpuNodes: session.cpuNodes,
    sharedWeights: session.sharedWeights,
    run: (feeds, fetches) => session.run(feeds, fetches),
    dispose: () => session.dispose(),
    bind(feeds, fetches) {
      const bound = session.bind(feeds, fetches);
      const data = (fetches["action"] as HostTensor).data as Float32Array;
      return {
        run() {
          bound.run();
          data[0]! += added;
        },
      };
    },
  };
}

test("a step is warmed up, then run until its time is over, at least a few times", () => {
  let calls = 0;
  const busy = (ms: number): void => {
    const end = performance.now() + ms;
    while (performance.now() < end) calls += 0;
    calls++;
  };
  const slow = timeSteps(() => busy(2), 0, 1);
  assert.equal(calls, 9, "two to warm up and seven samples");
  assert.ok(slow.p50Us >= 2000 && slow.p99Us >= slow.p50Us, JSON.stringify(slow));
  assert.ok(slow.stepsPerSecond <= 500);
  const fast = timeSteps(() => busy(0), 1, 4);
  assert.ok(fast.p50Us < 2000 && fast.stepsPerSecond > 500, JSON.stringify(fast));
});

test("a row is the median of its rounds, whatever the order in which sizes were measured", () => {
  const teams: TeamFiles[] = [
    { agents: 2, graphs: [], bytes: { backbone: 8, bank: 2, adapter: 1 } },
    { agents: 8, graphs: [], bytes: { backbone: 32, bank: 8, adapter: 1 } },
  ];
  const merged = { mode: "merged", device: "cpu", precision: "fp32", teams } as const;
  const measurement = (agents: number, p50Us: number, swapMs: number) => ({
    agents,
    createMs: 2 * swapMs,
    swapMs,
    steps: [{ rows: 4, p50Us, p99Us: 2 * p50Us, stepsPerSecond: 1e6 / p50Us, hostBytes: 100 * agents }],
  });
  const rounds = [
    new Map([[merged, [measurement(2, 10, 1), measurement(8, 50, 5)]]]),
    new Map([[merged, [measurement(8, 40, 7), measurement(2, 30, 3)]]]),
    new Map([[merged, [measurement(2, 20, 2), measurement(8, 60, 6)]]]),
  ];
  const rows = summarise([merged], rounds);
  assert.deepEqual(rows[0], {
    mode: "merged",
    device: "cpu",
    precision: "fp32",
    agents: 2,
    rows: 4,
    p50Us: 20,
    p99Us: 40,
    actionsPerSecond: 400_000,
    residentBytes: 200,
    hostBytes: 200,
    deviceBytes: 0,
    weightBytes: 10,
    backboneBytes: 8,
    bankBytes: 2,
    adapterBytes: 1,
    createMs: 4,
    swapMs: 2,
    p50UsRounds: [10, 30, 20],
    swapMsRounds: [1, 3, 2],
    residentBytesRounds: [200, 200, 200],
  });
  assert.deepEqual(rows[1]!.p50UsRounds, [50, 40, 60]);
});

test("the advice names the fastest mode, and what factored costs and gives where it is another", () => {
  const { headline } = advise([row("merged", 70), row("stacked", 31), row("factored", 40)], {
    teamAgents: 8,
  });
  assert.equal(
    headline,
    "For 8 agents with 1 row each, stacked is the fastest (31 µs a team step). Choose factored when adapters change " +
      "while serving: a swap takes 20 µs instead of 4 ms, at 1.3 times the latency.",
  );
  const best = advise([row("merged", 70), row("stacked", 41), row("factored", 40)], {
    teamAgents: 8,
  }).headline;
  assert.match(best, /use factored: nothing measured is faster \(40 µs a team step\).* swapped in 20 µs/);
  const without = advise([row("merged", 70), row("stacked", 31)], { teamAgents: 8 }).headline;
  assert.equal(without, "For 8 agents with 1 row each, stacked is the fastest (31 µs a team step).");
  assert.match(advise([row("rows", 30)], { teamAgents: 8 }).headline, /Only the rows graph/);
});

test("a mode within 5 % or within the noise of the fastest is level with it; rows is not a way to answer a team", () => {
  const names = (rows: readonly CompareRow[]): Mode[] => fastestModes(rows).map(({ mode }) => mode);
  assert.deepEqual(names([row("rows", 10), row("merged", 70), row("stacked", 31)]), ["stacked"]);
  assert.deepEqual(names([row("stacked", 31), row("factored", 32)]), ["stacked", "factored"]);
  const noisy = { p50UsRounds: [30, 31, 40] };
  assert.deepEqual(names([row("stacked", 31, noisy), row("factored", 38)]), ["stacked", "factored"]);
  assert.deepEqual(names([row("stacked", 31), row("factored", 38)]), ["stacked"]);
});

test("the reasons tell memory, swaps, scattered rows and rounds that differ", () => {
  const large = { agents: 64, rows: 8 };
  const reasons = advise(
    [
      row("stacked", 31),
      row("factored", 40),
      row("rows", 60),
      row("stacked", 900, { ...large, residentBytes: 10 * 2 ** 20 }),
      row("factored", 500, { ...large, residentBytes: 3 * 2 ** 20, p50UsRounds: [300, 500, 600] }),
      row("rows", 1500, large),
    ],
    { teamAgents: 8 },
  ).reasons;
  assert.equal(reasons.length, 5);
  assert.match(reasons[0]!, /the 2 sizes measured.*stacked at 1 \(8 × 1\), factored at 1 \(64 × 8\)/);
  assert.match(reasons[1]!, /64 agents with 8 rows each: factored 3 MiB .*, stacked 10 MiB/);
  assert.match(reasons[2]!, /20 µs factored, 4 ms stacked/);
  assert.match(reasons[3]!, /up to 3 times the grouped step \(64 agents with 8 rows each\)/);
  assert.match(reasons[4]!, /rounds of 1 of 6 rows differ by more than 30 %/);
});

function result(): CompareResult {
  const rows = MODES.flatMap((mode, at) =>
    [2, 8].map((agents) => row(mode, agents * (10 + at), { agents })),
  ).sort((a, b) => a.agents - b.agents);
  return {
    environment: "test/<Random>",
    teamAgents: 2,
    targets: [{ device: "cpu", precision: "fp32", maxAbsDiff: 3e-7, maxActionDiff: 2e-7 }],
    missing: [],
    maxAbsDiff: 3e-7,
    rows,
    adapters: [],
    advice: advise(rows, { teamAgents: 2 }),
    rounds: 3,
    seconds: 1,
    machine: { processor: "test", cores: 2, platform: "linux-x64", node: "v20" },
  };
}

test("the page shows the advice, every mode and every round, and says which teams are synthetic", async () => {
  const page = await comparePage(result(), "lorasa compare checkpoint --out folder");
  assert.match(page, /test\/&lt;Random&gt;/);
  assert.match(page, /merged is the fastest/);
  assert.match(page, /8 agents: the trained weights repeated/);
  for (const text of ["round 3", "lorasa compare checkpoint --out folder", "process ÷ weights"])
    assert.ok(page.includes(text), text);
  assert.equal(page.match(/<svg /g)?.length, 3, "latency, memory and swaps");
});

test("the JSON is the contract's and the table marks the fastest of each size", () => {
  const json = compareJson(result()) as Record<string, unknown>;
  assert.equal(json["maxAbsDiff"], 3e-7);
  assert.equal(typeof json["advice"], "string");
  const [first] = json["rows"] as Record<string, unknown>[];
  const fields = "mode device agents rows p50Us p99Us actionsPerSecond residentBytes createMs swapMs".split(
    " ",
  );
  for (const field of fields) assert.ok(field in first!, field);
  const marked = compareText(result())
    .split("\n")
    .filter((line) => line.startsWith("›"));
  assert.deepEqual(
    marked.map((line) => line.trim().split(/\s+/).slice(1, 4)),
    [
      ["2", "1", "merged"],
      ["8", "1", "merged"],
    ],
  );
});

test("a small team is compared from equality to the files", async (context) => {
  const folder = temporaryFolder(context);
  const team = randomTeam({ observationSizes: [3, 3], recurrent: true, hidden: [8] });
  const lines: string[] = [];
  const compared = await compareTeam(team, {
    quick: true,
    agents: [2, 3],
    rows: [2],
    rounds: 1,
    onProgress: (line) => lines.push(line),
  });
  assert.ok(compared.maxAbsDiff < 1e-5);
  assert.deepEqual(
    compared.rows.map(({ mode, agents, rows }) => `${mode} ${agents} ${rows}`),
    [2, 3].flatMap((agents) => MODES.map((mode) => `${mode} ${agents} 2`)),
  );
  for (const { p50Us, p99Us, actionsPerSecond, createMs, swapMs, weightBytes } of compared.rows) {
    assert.ok(p50Us > 0 && p99Us >= p50Us && actionsPerSecond > 0 && createMs > 0 && swapMs > 0);
    assert.ok(weightBytes > 1000);
  }
  assert.ok(lines.includes("round 1 of 1: rows"));
  const files = await writeComparison(compared, join(folder, "new", "folder"));
  const json = JSON.parse(readFileSync(files.json, "utf8")) as { rows: unknown[] };
  assert.equal(json.rows.length, 8);
  assert.match(readFileSync(files.report, "utf8"), /^<!doctype html>/);
});

test("modes that a team cannot have are left out, or refused by name", async () => {
  const team = randomTeam({ sharing: "shared" });
  await assert.rejects(compareTeam(team, { modes: ["factored"] }), {
    code: "LORASA_FLAG",
    message: /mode factored.*choose from merged, stacked/,
  });
});

test("a measuring process that fails is reported in one line", async (context) => {
  const folder = temporaryFolder(context);
  const teams = [
    { agents: 1, graphs: [join(folder, "none.onnx")], bytes: { backbone: 1, bank: 0, adapter: 0 } },
  ];
  const target = { mode: "stacked", device: "cpu", precision: "fp32" } as const;
  const task = { ...target, rows: [1], warmUpMs: 1, measureMs: 1, teams };
  await assert.rejects(measureInProcess(task, folder), {
    code: "LORASA_MEASURE",
    message: /^measuring stacked on cpu: .*no such file[^\n]*$/,
  });
});

test("flags that make no sense are refused by the command line", async () => {
  for (const flags of [
    ["--rows", "0"],
    ["--agents", "2,x"],
    ["--modes", "merged,fast"],
    ["--rounds", "0"],
    ["--device", "cpu,gpu"],
    ["--precision", "fp8"],
    ["--adapters", "0"],
  ]) {
    const command = compareCommand()
      .exitOverride()
      .configureOutput({ writeErr: () => {} });
    await assert.rejects(command.parseAsync(["checkpoint", ...flags], { from: "user" }), {
      code: "commander.invalidArgument",
    });
  }
});
