/** Requests of one turn become one run, and none of them shows in another's answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import type { HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { watchedRuntime } from "../helpers/engine-runtime.ts";
import {
  type Answer,
  adapterFiles,
  ask,
  assertRejects,
  expectedAction,
  floats,
  type Inputs,
  indices,
  names,
  openTiny,
  overflowing,
  type Parameters,
  push,
  type TinyEngine,
} from "../helpers/engine-service.ts";

const EXACT = { atol: 1e-6, rtol: 1e-6 };
const SIZES = { observationSizes: [3, 5, 4], actionSizes: [2, 1, 3] };

type Asked = readonly [model: string, inputs: Inputs, parameters?: Parameters];

const random = new Random(11);

function rows(shape: readonly number[]) {
  const count = shape.reduce((product, size) => product * size, 1);
  return floats(
    shape,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}

const TEAM: Asked = ["team", { obs: rows([2, 3, 5]) }];
const TAGGED: Asked = ["team", { obs: rows([4, 5]), agent: indices(2, 0, 2, 1) }];
const NAMED_AGENTS: Asked = ["team", { obs: rows([2, 5]), agent: names("agent_1", "agent_0") }];
const OWN: Asked = ["team.agent_1", { obs: rows([3, 5]) }];
const BLUE: Asked = ["team.agent_1.blue", { obs: rows([1, 5]) }];
const RED: Asked = ["team.agent_1", { obs: rows([2, 5]) }, { adapter_id: "agent_1.red" }];
const ROW_ADAPTERS: Asked = [
  "team",
  { obs: rows([3, 5]), agent: indices(1, 1, 0), adapter: names("agent_1.red", "agent_1.blue", "agent_0") },
];

/** Kinds of requests, and how many names of the statistics they are counted under. */
const MIXES: Readonly<Record<string, { readonly asked: readonly Asked[]; readonly variants?: boolean }>> = {
  "team requests": { asked: [TEAM, TEAM, ["team", { obs: rows([1, 3, 5]) }]] },
  "tagged rows": { asked: [TAGGED, NAMED_AGENTS, TAGGED] },
  "an agent's rows": { asked: [OWN, OWN, OWN] },
  "teams, tagged rows and agents": { asked: [TEAM, TAGGED, OWN, NAMED_AGENTS, TEAM] },
  "different adapters of one agent": { asked: [OWN, BLUE, RED, OWN], variants: true },
  "everything at once": { asked: [TEAM, RED, TAGGED, ROW_ADAPTERS, BLUE, OWN], variants: true },
};

for (const [what, { asked, variants = false }] of Object.entries(MIXES)) {
  const modes = variants ? (["factored"] as const) : (["merged", "stacked", "factored"] as const);
  for (const mode of modes) {
    test(`${mode}: ${what} of one turn are one batch, each answered as if it were alone`, async (context) => {
      const engine = await openTiny(context, { mode, ...SIZES });
      if (variants) {
        await push(engine, "agent_1.blue", 50);
        await push(engine, "agent_1.red", 51);
      }
      const alone: Answer[] = [];
      for (const each of asked) alone.push(await ask(engine, ...each));
      engine.events.batches.length = 0;
      const before = executions(engine);
      const together = await Promise.all(asked.map((each) => ask(engine, ...each)));
      for (const [at, answer] of together.entries()) assertSame(answer, alone[at]!, `${what} ${at}`);
      assert.deepEqual(
        engine.events.batches.map(({ requests }) => requests),
        [asked.length],
      );
      const askedNames = new Set(asked.map(([model]) => model.split(".").slice(0, 2).join(".")));
      assert.equal(
        executions(engine) - before,
        askedNames.size,
        "one execution for each name that was asked",
      );
    });
  }
}

test("requests of different callbacks of one turn of the event loop are one batch", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  const inputs = { obs: rows([1, 2, 3]) };
  // As sockets are read: a callback each, all in one phase.
  const asked = Array.from(
    { length: 5 },
    () =>
      new Promise<Answer>((resolve, reject) => {
        setImmediate(() => ask(engine, "team", inputs).then(resolve, reject));
      }),
  );
  await Promise.all(asked);
  assert.deepEqual(
    engine.events.batches.map(({ requests }) => requests),
    [5],
  );
});

test("different adapters of one agent run as gathered rows, each with its own", async (context) => {
  const runtime = watchedRuntime();
  const engine = await openTiny(context, { mode: "factored", ...SIZES }, { runtime });
  await push(engine, "agent_1.blue", 50);
  await push(engine, "agent_1.red", 51);
  runtime.runs.length = 0;
  const [blue, red, own] = await Promise.all([BLUE, RED, OWN].map((each) => ask(engine, ...each)));
  assert.deepEqual(runtime.runs, ["6"]);
  const { policy } = engine;
  assertClose(blue!.outputs["action"]!, expectedAction(policy, BLUE[1]["obs"]!.data as Float32Array, 1, 50));
  assert.deepEqual(blue!.versions, { "agent_1.blue": 1 });
  assertClose(
    red!.outputs["action"]!.slice(0, 1),
    expectedAction(policy, RED[1]["obs"]!.data as Float32Array, 1, 51),
  );
  assert.deepEqual(red!.versions, { "agent_1.red": 1 });
  assert.deepEqual(own!.versions, { agent_1: 1 });
});

test("requests that ask for different outputs share a batch, and each has its own in its order", async (context) => {
  for (const mode of ["merged", "stacked", "factored"] as const) {
    const engine = await openTiny(context, { mode, discrete: true, hidden: 2, ...SIZES });
    const inputs = { obs: rows([2, 3, 5]), hidden_in: rows([2, 3, 2]) };
    const all = await ask(engine, "team", inputs);
    const wanted = [["logits"], ["action"], ["hidden_out", "action"], ["action", "logits", "hidden_out"]];
    const answers = await Promise.all(wanted.map((outputs) => ask(engine, "team", inputs, {}, { outputs })));
    assert.deepEqual(engine.events.batches.at(-1)?.requests, wanted.length);
    for (const [at, { outputs }] of answers.entries()) {
      assert.deepEqual(Object.keys(outputs), wanted[at]);
      for (const name of wanted[at]!)
        assertClose(outputs[name]!, all.outputs[name]!, EXACT, `${mode} ${name}`);
    }
    await assertRejects(
      ask(engine, "team", inputs, {}, { outputs: ["actoin"] }),
      "LORASA_NAME",
      /output actoin/,
    );
  }
});

test("more distinct adapters in a batch than there are places for", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  const seeds = Array.from({ length: 150 }, (_, at) => 100 + at);
  for (const seed of seeds) await push(engine, `agent_0.v${seed}`, seed);
  const observation = [0.5, -1, 2];
  const obs = floats([1, 3], observation);
  for (const round of [0, 1]) {
    const answers = await Promise.all(seeds.map((seed) => ask(engine, `team.agent_0.v${seed}`, { obs })));
    for (const [at, { outputs }] of answers.entries()) {
      const expected = expectedAction(engine.policy, observation, 0, seeds[at]!);
      assertClose(outputs["action"]!, expected, EXACT, `round ${round}, adapter ${seeds[at]}`);
    }
  }
  assert.equal(engine.events.batches.length, 2);
});

test("a batch holds no more rows than the bound; a request beyond it runs alone", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" }, { maxBatchRows: 8 });
  const sizes = [2, 2, 1, 6, 1, 1];
  const answers = sizes.map((size) => ask(engine, "team", { obs: rows([size, 2, 3]) }));
  await Promise.all(answers);
  assert.deepEqual(
    engine.events.batches.map(({ rows: count }) => count),
    [8, 2, 12, 4],
  );
});

test("a request that is refused is refused alone", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  const good = ["team", { obs: rows([1, 2, 3]) }] as const;
  const alone = await ask(engine, ...good);
  const wrongs = [
    ask(engine, "team", { obs: rows([1, 2, 4]) }),
    ask(engine, "team", { obs: rows([1, 3]), agent: indices(7) }),
    ask(engine, "team", { obs: floats([1, 2, 3], [1, 2, 3, Number.NaN, 5, 6]) }),
    ask(engine, "team.agent_0", { obs: rows([1, 3]) }, { adapter_id: "agent_0.none" }),
    ask(engine, "team", good[1], { priority: "high" }),
  ];
  const [first, last, ...failures] = await Promise.all([
    ask(engine, ...good),
    ask(engine, ...good),
    ...wrongs.map((wrong) =>
      wrong.then(
        () => undefined,
        (error: Error & { code: string }) => error.code,
      ),
    ),
  ]);
  assertSame(first as Answer, alone, "before");
  assertSame(last as Answer, alone, "after");
  assert.deepEqual(failures, [
    "LORASA_SHAPE",
    "LORASA_UNKNOWN_AGENT",
    "LORASA_NOT_FINITE",
    "LORASA_UNKNOWN_ADAPTER",
    "LORASA_REQUEST",
  ]);
  assert.equal(engine.events.batches.at(-1)?.requests, 2);
});

test("a run that fails is tried again request by request, so that only the guilty one fails", async (context) => {
  const runtime = watchedRuntime();
  const engine = await openTiny(context, { mode: "stacked" }, { runtime });
  const poison = 4.25;
  runtime.before = ({ obs }) => {
    if (((obs as HostTensor).data as Float32Array).includes(poison)) throw new Error("a run that fails");
  };
  const good = { obs: rows([1, 2, 3]) };
  const answers = await Promise.allSettled([
    ask(engine, "team", good),
    ask(engine, "team", { obs: floats([1, 2, 3], [0, 0, 0, 0, 0, poison]) }),
    ask(engine, "team", good),
  ]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  const first = (answers[0] as PromiseFulfilledResult<Answer>).value;
  runtime.before = () => {};
  assertSame(await ask(engine, "team", good), first, "the same numbers as alone");
});

test("an answer that is not finite fails alone", async (context) => {
  const engine = await openTiny(context, { mode: "factored", discrete: true });
  const { policy } = engine;
  const files = adapterFiles(overflowing(policy));
  await engine.adapters().load("agent_0.huge", { files, replace: false });
  const inputs = { obs: floats([1, 3], [1e3, 2e3, 3e3]) };
  const alone = await ask(engine, "team.agent_0", inputs);
  engine.events.batches.length = 0;
  const huge = assertRejects(ask(engine, "team.agent_0.huge", inputs), "LORASA_NOT_FINITE", /output logits/);
  const [before, , after] = await Promise.all([
    ask(engine, "team.agent_0", inputs),
    huge,
    ask(engine, "team.agent_0", inputs),
  ]);
  assert.deepEqual(
    engine.events.batches.map(({ requests }) => requests),
    [3],
  );
  assertSame(before, alone, "before");
  assertSame(after, alone, "after");
});

function executions({ service }: TinyEngine): number {
  return service.statistics().reduce((sum, { execution_count }) => sum + execution_count, 0);
}

function assertSame(actual: Answer, expected: Answer, what: string): void {
  assert.equal(actual.model, expected.model, what);
  assert.deepEqual(actual.versions, expected.versions, what);
  assert.deepEqual(Object.keys(actual.outputs), Object.keys(expected.outputs), what);
  for (const [name, values] of Object.entries(expected.outputs)) {
    assertClose(actual.outputs[name]!, values, EXACT, `${what}, ${name}`);
  }
}
