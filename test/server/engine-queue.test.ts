/** What waits: bounds, urgency, timeouts, clients that go away, the delay that gathers, the end of the service. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { watchedRuntime } from "../helpers/engine-runtime.ts";
import {
  ask,
  assertRejects,
  floats,
  openTiny,
  type Parameters,
  push,
  type TinyEngine,
  turns,
} from "../helpers/engine-service.ts";

const OBS = { obs: floats([1, 2, 3], [0.5, -1, 2, 1, 0, -2]) };
const OWN = { obs: floats([1, 3], [0.5, -1, 2]) };
/** Longer than any test: a batch begins when its rows are full, or not at all. */
const UNTIL_FULL_US = 600e6;

test("a full queue refuses what comes, and only that", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" }, { queueLimit: 3 });
  const asked = Array.from({ length: 5 }, () => ask(engine, "team", OBS));
  const [a, b, c, ...refused] = await Promise.allSettled(asked);
  assert.deepEqual(
    [a, b, c].map((answer) => answer?.status),
    ["fulfilled", "fulfilled", "fulfilled"],
  );
  for (const answer of refused) {
    assert.equal(answer.status, "rejected");
    const full = /queue of team: expected fewer than 3 requests, received 3; .*--queue-limit/;
    await assertRejects(Promise.reject(answer.reason), "LORASA_UNAVAILABLE", full);
  }
  await ask(engine, "team", OBS);
});

test("what the queue refuses gives its adapter back", async (context) => {
  const engine = await openTiny(context, { mode: "factored" }, { queueLimit: 1 });
  const [answered, refused] = await Promise.allSettled([
    ask(engine, "team.agent_0", OWN),
    ask(engine, "team.agent_1", OWN),
  ]);
  assert.deepEqual([answered.status, refused.status], ["fulfilled", "rejected"]);
  assert.equal((await engine.adapters().unload("agent_1", false)).state, "UNAVAILABLE");
});

test("the most urgent first, equals in the order of their arrival, none said is level 2", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" }, { maxBatchRows: 1 });
  const priorities = [3, undefined, 1, 2, 0, 3, 1, "2", 9];
  const order: number[] = [];
  await Promise.all(
    priorities.map(async (priority, at) => {
      await ask(engine, "team", OBS, priority === undefined ? {} : { priority });
      order.push(at);
    }),
  );
  assert.deepEqual(order, [2, 6, 1, 3, 4, 7, 0, 5, 8]);
});

test("an urgent request goes before those that wait for the next batch", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" }, { maxBatchRows: 1 });
  const order: string[] = [];
  const note = (what: string, parameters: Parameters) =>
    ask(engine, "team", OBS, parameters).then(() => order.push(what));
  const early = [note("first", {}), note("second", {}), note("third", {})];
  await early[0];
  await Promise.all([...early, note("urgent", { priority: 1 })]);
  assert.deepEqual(order, ["first", "urgent", "second", "third"]);
});

test("a request that waits beyond its timeout is told so, and is not run", async (context) => {
  const runtime = watchedRuntime();
  const engine = await openTiny(
    context,
    { mode: "stacked" },
    { runtime, queueDelayUs: 20_000, maxBatchRows: 100 },
  );
  runtime.runs.length = 0;
  const [late, patient, forever] = await Promise.allSettled([
    ask(engine, "team", OBS, { timeout: 1000 }),
    ask(engine, "team", OBS, { timeout: 60_000_000 }),
    ask(engine, "team", OBS, { timeout: "0" }),
  ]);
  assert.equal(late.status, "rejected");
  await assertRejects(
    Promise.reject(late.reason),
    "LORASA_UNAVAILABLE",
    /inference: expected a batch within the request's timeout/,
  );
  assert.deepEqual([patient.status, forever.status], ["fulfilled", "fulfilled"]);
  assert.deepEqual(runtime.runs, ["2x2"], "one run of the two that waited");
});

test("priorities and timeouts that are no whole numbers", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  for (const value of [-1, 1.5, "soon", true, 2 ** 60]) {
    const refused = /parameters\.(priority|timeout): expected a whole number, received/;
    await assertRejects(ask(engine, "team", OBS, { priority: value }), "LORASA_REQUEST", refused);
    await assertRejects(ask(engine, "team", OBS, { timeout: value }), "LORASA_REQUEST", refused);
  }
});

test("a request that nobody waits for is never run and lets its adapter go", async (context) => {
  const runtime = watchedRuntime();
  const engine = await openTiny(context, { mode: "factored" }, { runtime });
  runtime.runs.length = 0;
  const gone = ask(engine, "team.agent_0", OWN, {}, { cancelled: () => true });
  await assertRejects(gone, "LORASA_CANCELLED", /inference: received a client that went away/);
  assert.deepEqual(runtime.runs, []);
  assert.equal((await engine.adapters().unload("agent_0", false)).state, "UNAVAILABLE");
  const fails = engine.service.statistics("team.agent_0")[0]!.inference_stats.fail;
  assert.equal(fails.count, 1);
});

test("whether a client went away is asked when its batch begins, not when it came", async (context) => {
  const runtime = watchedRuntime();
  const engine = await openTiny(
    context,
    { mode: "stacked" },
    { runtime, maxBatchRows: 4, queueDelayUs: UNTIL_FULL_US },
  );
  runtime.runs.length = 0;
  let here = true;
  const leaving = ask(engine, "team", OBS, {}, { cancelled: () => !here });
  const refused = assertRejects(leaving, "LORASA_CANCELLED", /went away/);
  await turns(3);
  here = false;
  await ask(engine, "team", OBS);
  await refused;
  assert.deepEqual(runtime.runs, ["2x1"]);
});

test("a queue delay gathers requests of several turns", async (context) => {
  const engine = await openTiny(
    context,
    { mode: "stacked" },
    { maxBatchRows: 6, queueDelayUs: UNTIL_FULL_US },
  );
  const asked = [ask(engine, "team", OBS)];
  await turns(4);
  asked.push(ask(engine, "team", OBS));
  await turns(4);
  assert.deepEqual(engine.events.batches, [], "not before there are enough rows");
  asked.push(ask(engine, "team", OBS));
  await Promise.all(asked);
  assert.deepEqual(requestsOf(engine), [3]);
});

test("a queue delay ends by itself", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" }, { queueDelayUs: 5000 });
  const started = performance.now();
  await ask(engine, "team", OBS);
  assert.ok(performance.now() - started >= 4.9, "it waited");
  assert.deepEqual(requestsOf(engine), [1]);
});

test("closing answers what waits, then refuses", async (context) => {
  const engine = await openTiny(context, { mode: "factored", hidden: 4 }, { maxBatchRows: 2 });
  const hidden = { hidden_in: floats([1, 2, 4], new Array(8).fill(0)) };
  const asked = Array.from({ length: 6 }, () => ask(engine, "team", { ...OBS, ...hidden }));
  const closing = engine.service.close();
  await Promise.all(asked);
  await closing;
  assert.equal(engine.service.isReady(), false);
  await assertRejects(
    ask(engine, "team", { ...OBS, ...hidden }),
    "LORASA_UNAVAILABLE",
    /inference: expected a server that is ready/,
  );
});

test("closing answers the requests of a sequence that wait for each other", async (context) => {
  const engine = await openTiny(context, { mode: "factored", hidden: 4 });
  const start = ask(engine, "team", OBS, { sequence_id: 1, sequence_start: true });
  const rest = Array.from({ length: 5 }, () => ask(engine, "team", OBS, { sequence_id: 1 }));
  const closing = engine.service.close();
  await Promise.all([start, ...rest]);
  await closing;
});

test("closing answers a request whose adapter is still being read", async (context) => {
  const engine = await openTiny(context, { mode: "factored" }, { residentAdapters: 2 });
  for (const variant of ["blue", "red", "green"]) await push(engine, `agent_0.${variant}`, 1);
  assert.equal(engine.adapters().status("agent_0.blue").resident, false);
  const cold = ask(engine, "team.agent_0.blue", OWN);
  const closing = engine.service.close();
  assert.deepEqual((await cold).versions, { "agent_0.blue": 1 });
  await closing;
});

function requestsOf({ events }: TinyEngine): readonly number[] {
  return events.batches.map(({ requests }) => requests);
}
