/** What the statistics say after a known series of requests, to the last count. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ModelStatistics } from "../../server/engine/service.ts";
import {
  ask,
  assertRejects,
  floats,
  indices,
  openTiny,
  push,
  type TinyEngine,
} from "../helpers/engine-service.ts";

const FACTORED = { mode: "factored" } as const;

function team(environments: number) {
  return { obs: floats([environments, 2, 3], new Array(environments * 6).fill(0.5)) };
}

function own(rows: number) {
  return { obs: floats([rows, 3], new Array(rows * 3).fill(0.5)) };
}

function tagged(...agents: readonly number[]) {
  return { ...own(agents.length), agent: indices(...agents) };
}

function statisticsOf({ service }: TinyEngine, name: string): ModelStatistics {
  const [only, ...more] = service.statistics(name);
  assert.deepEqual(more, []);
  return only!;
}

/** The counts, without times. */
function counts({ inference_stats, ...rest }: ModelStatistics) {
  const { success, fail, queue, compute_input, compute_infer, compute_output } = inference_stats;
  const parts = [compute_input, compute_infer, compute_output].map(({ count }) => count);
  return {
    inferences: rest.inference_count,
    executions: rest.execution_count,
    success: success.count,
    fail: fail.count,
    queue: queue.count,
    parts,
    batches: rest.batch_stats.map(({ batch_size, compute_infer: { count } }) => [batch_size, count]),
  };
}

test("nothing was asked yet: zeros, and every field is there", async (context) => {
  const engine = await openTiny(context, FACTORED);
  const none = { count: 0, ns: 0 };
  const zeros = [
    "success",
    "fail",
    "queue",
    "compute_input",
    "compute_infer",
    "compute_output",
    "cache_hit",
    "cache_miss",
  ];
  assert.deepEqual(statisticsOf(engine, "team.agent_0"), {
    name: "team.agent_0",
    version: "1",
    last_inference: 0,
    inference_count: 0,
    execution_count: 0,
    inference_stats: Object.fromEntries(zeros.map((name) => [name, none])),
    response_stats: {},
    batch_stats: [],
    memory_usage: [],
  });
  const { memory_usage } = statisticsOf(engine, "team");
  assert.equal(memory_usage.length, 1);
  assert.deepEqual([memory_usage[0]!.type, memory_usage[0]!.id], ["CPU", 0]);
  assert.ok(memory_usage[0]!.byte_size > 0);
  assert.deepEqual(
    engine.service.statistics().map(({ name }) => name),
    ["team", "team.agent_0", "team.agent_1"],
  );
});

test("one at a time: a batch of rows counts its rows, one success and one execution", async (context) => {
  const engine = await openTiny(context, FACTORED);
  await ask(engine, "team", team(1));
  await ask(engine, "team", team(64));
  await ask(engine, "team", tagged(1, 0, 1));
  await ask(engine, "team", team(64));
  assert.deepEqual(counts(statisticsOf(engine, "team")), {
    // 1 + 64 + 3 + 64
    inferences: 132,
    executions: 4,
    success: 4,
    fail: 0,
    queue: 4,
    parts: [4, 4, 4],
    batches: [
      [1, 1],
      [64, 2],
      [3, 1],
    ],
  });
  assert.deepEqual(counts(statisticsOf(engine, "team.agent_0")).inferences, 0);
});

test("fused requests count one execution; each name counts its own rows of a batch", async (context) => {
  const engine = await openTiny(context, FACTORED);
  await push(engine, "agent_0.blue", 3);
  const asked = [
    ask(engine, "team", team(2)),
    ask(engine, "team", team(3)),
    ask(engine, "team.agent_0", own(4)),
    ask(engine, "team.agent_0.blue", own(1)),
    ask(engine, "team.agent_1", own(7)),
    ask(engine, "team", tagged(0)),
  ];
  await Promise.all(asked);
  const parts = (count: number) => [count, count, count];
  assert.deepEqual(counts(statisticsOf(engine, "team")), {
    inferences: 6,
    executions: 1,
    success: 3,
    fail: 0,
    queue: 3,
    parts: parts(3),
    batches: [[6, 1]],
  });
  // An agent's variants are counted with it.
  for (const name of ["team.agent_0", "team.agent_0.blue"]) {
    const { batches, ...rest } = counts(statisticsOf(engine, name));
    assert.deepEqual(rest, { inferences: 5, executions: 1, success: 2, fail: 0, queue: 2, parts: parts(2) });
    assert.deepEqual(batches, [[5, 1]]);
    assert.equal(statisticsOf(engine, name).name, name);
  }
  assert.equal(counts(statisticsOf(engine, "team.agent_1")).inferences, 7);
});

test("what fails is counted as such, whatever it fails of, and in nothing else", async (context) => {
  const engine = await openTiny(context, FACTORED, { queueLimit: 1 });
  await assertRejects(ask(engine, "team", own(1)), "LORASA_SHAPE", /./);
  await assertRejects(ask(engine, "team", tagged(9)), "LORASA_UNKNOWN_AGENT", /./);
  await assertRejects(ask(engine, "team", team(1), { adapter_id: "nobody" }), "LORASA_UNKNOWN_ADAPTER", /./);
  await assertRejects(ask(engine, "team", team(1), { timeout: -1 }), "LORASA_REQUEST", /./);
  await assertRejects(ask(engine, "team", team(1), {}, { cancelled: () => true }), "LORASA_CANCELLED", /./);
  const [, full] = await Promise.allSettled([ask(engine, "team", team(1)), ask(engine, "team", team(1))]);
  assert.equal(full.status, "rejected");
  const { fail, success, queue, inferences, executions, parts } = counts(statisticsOf(engine, "team"));
  assert.deepEqual(
    { fail, success, queue, inferences, executions, parts },
    {
      fail: 6,
      success: 1,
      queue: 1,
      inferences: 1,
      executions: 1,
      parts: [1, 1, 1],
    },
  );
});

test("runs in the thread are counted alike", async (context) => {
  const engine = await openTiny(context, { mode: "merged" }, { longRunMs: 0 });
  await Promise.all([ask(engine, "team", team(2)), ask(engine, "team", team(1))]);
  assert.deepEqual(counts(statisticsOf(engine, "team")), {
    inferences: 3,
    executions: 1,
    success: 2,
    fail: 0,
    queue: 2,
    parts: [2, 2, 2],
    batches: [[3, 1]],
  });
});

test("every number is whole and none ever falls", async (context) => {
  const engine = await openTiny(context, FACTORED);
  const started = Date.now();
  let before = leaves(engine.service.statistics());
  for (let round = 0; round < 20; round++) {
    const asked = [ask(engine, "team", team(1 + (round % 3))), ask(engine, "team.agent_0", own(2))];
    if (round % 4 === 0) asked.push(ask(engine, "team", own(1)));
    await Promise.allSettled(asked);
    const now = leaves(engine.service.statistics());
    for (const [path, value] of now) {
      assert.ok(Number.isSafeInteger(value) && value >= 0, `${path} is ${value}`);
      // Memory is of the moment.
      if (!path.includes("byte_size"))
        assert.ok(value >= (before.get(path) ?? 0), `${path} fell to ${value}`);
    }
    before = now;
  }
  const { last_inference, inference_stats: stats } = statisticsOf(engine, "team");
  assert.ok(last_inference >= started && last_inference <= Date.now());
  const parts = stats.queue.ns + stats.compute_input.ns + stats.compute_infer.ns + stats.compute_output.ns;
  assert.ok(stats.success.ns >= parts, "a request takes at least as long as its parts");
  assert.ok(stats.compute_infer.ns > 0);
});

test("batch sizes beyond those that are told apart are in the totals alone", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  for (let size = 1; size <= 70; size++) await ask(engine, "team", team(size));
  const { inference_count, batch_stats } = statisticsOf(engine, "team");
  assert.equal(inference_count, (70 * 71) / 2);
  assert.equal(batch_stats.length, 64);
});

test("a model that is loaded again counts from zero", async (context) => {
  const engine = await openTiny(context, FACTORED);
  await ask(engine, "team", team(1));
  await engine.service.load("team");
  assert.equal(statisticsOf(engine, "team").inference_count, 0);
  assert.throws(() => engine.service.statistics("taem"), /model "taem".*did you mean team/);
  assert.throws(() => engine.service.statistics("team", "2"), /model team version 2/);
});

/** Every number by its path. */
function leaves(value: unknown, path = ""): Map<string, number> {
  if (typeof value === "number") return new Map([[path, value]]);
  if (typeof value !== "object" || value === null) return new Map();
  return new Map(Object.entries(value).flatMap(([key, child]) => [...leaves(child, `${path}.${key}`)]));
}
