/** Batches that take long run in a thread of their own: the same numbers, and the event loop goes on. */
import assert from "node:assert/strict";
import { renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Worker } from "node:worker_threads";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import {
  ask,
  assertRejects,
  floats,
  indices,
  names,
  openTiny,
  push,
  turns,
} from "../helpers/engine-service.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";
import { ask as askHttp } from "../helpers/tiny-server.ts";

const LONG = { longRunMs: 0 };
const EXACT = { atol: 1e-6, rtol: 1e-6 };
const SIZES = { observationSizes: [3, 5, 4], actionSizes: [2, 1, 3] };
const NUMBERS = Array.from({ length: 30 }, (_, at) => Math.sin(at));
const TEAM = { obs: floats([2, 3, 5], NUMBERS) };
const TAGGED = { obs: floats([6, 5], NUMBERS), agent: indices(2, 0, 2, 1, 1, 0) };
const OWN = { obs: floats([6, 5], NUMBERS) };

const MODES = ["merged", "stacked", "factored"] as const;

for (const discrete of [false, true]) {
  test(`${discrete ? "discrete" : "continuous"}: the thread answers as the event loop does, in every mode`, async (context) => {
    const models = MODES.map((mode) => ({ mode, name: mode, discrete, hidden: 2, ...SIZES }));
    const here = await openTiny(context, models);
    const away = await openTiny(context, models, LONG);
    for (const mode of MODES) {
      const asked = [
        [mode, { ...TEAM, hidden_in: floats([2, 3, 2], NUMBERS.slice(0, 12)) }],
        [mode, { ...TAGGED, hidden_in: floats([6, 2], NUMBERS.slice(0, 12)) }],
        [`${mode}.agent_1`, { ...OWN, hidden_in: floats([6, 2], NUMBERS.slice(0, 12)) }],
      ] as const;
      away.events.batches.length = 0;
      const together = await Promise.all(asked.map(([name, inputs]) => ask(away, name, inputs)));
      assert.deepEqual(
        away.events.batches.map(({ requests }) => requests),
        [3],
      );
      for (const [at, [name, inputs]] of asked.entries()) {
        const expected = await ask(here, name, inputs);
        assert.deepEqual(together[at]!.versions, expected.versions);
        assert.deepEqual(Object.keys(together[at]!.outputs), Object.keys(expected.outputs));
        for (const [output, values] of Object.entries(expected.outputs)) {
          assertClose(together[at]!.outputs[output]!, values, EXACT, `${name} ${output}`);
        }
      }
    }
  });
}

test("more distinct adapters than there are places for, in the thread", async (context) => {
  const here = await openTiny(context, { mode: "factored" });
  const away = await openTiny(context, { mode: "factored" }, LONG);
  const variants = Array.from({ length: 90 }, (_, at) => `agent_0.v${at}`);
  for (const [at, name] of variants.entries()) {
    await push(here, name, at);
    await push(away, name, at);
  }
  const inputs = {
    obs: floats([90, 3], new Array(90).fill([0.5, -1, 2]).flat()),
    agent: indices(...new Array(90).fill(0)),
    adapter: names(...variants),
  };
  const [expected, actual] = [await ask(here, "team", inputs), await ask(away, "team", inputs)];
  assertClose(actual.outputs["action"]!, expected.outputs["action"]!, EXACT);
});

test("the event loop turns while a long run is away: health is answered before it", async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "factored" }]);
  // The thread starts with the first run, which takes far longer than a request for health.
  const server = await startServer({ repository, port: 0, ...LONG });
  const client = new ServerClient(server.url);
  context.after(async () => {
    client.close();
    await server.close();
  });
  const order: string[] = [];
  const obs = floatTensor([2000, 2, 3], new Float32Array(12_000).fill(0.5));
  const inferred = client.infer("team", { obs }).then(({ outputs }) => {
    order.push("inference");
    return outputs["action"]!.data as Float32Array;
  });
  const healthy = (async () => {
    for (const path of ["live", "ready", "live"]) {
      assert.equal((await askHttp(`${server.url}/v2/health/${path}`)).status, 200);
      order.push(path);
    }
  })();
  const [action] = await Promise.all([inferred, healthy]);
  assert.deepEqual(order, ["live", "ready", "live", "inference"]);
  const policy = new TinyPolicy({});
  const expected = policy.logits([0.5, 0.5, 0.5], 1, policy.adapter(1)).map(Math.tanh);
  assertClose(action.subarray(action.length - 2), expected);
});

test("requests whose thread ends are told to try again, and the next ones have another thread", async (context) => {
  const workers: Worker[] = [];
  const note = (worker: Worker): void => {
    workers.push(worker);
  };
  process.on("worker", note);
  context.after(() => process.off("worker", note));
  const engine = await openTiny(context, { mode: "stacked", ...SIZES }, LONG);
  // The thread has the graph then, and what is asked next is on its way at once.
  await ask(engine, "team", TEAM);
  assert.equal(workers.length, 1);
  const lost = [ask(engine, "team", TEAM), ask(engine, "team", TEAM)];
  const told = lost.map((answer) =>
    assertRejects(answer, "LORASA_UNAVAILABLE", /a long run: .*received one that ended/),
  );
  await turns(2);
  await workers[0]!.terminate();
  await Promise.all(told);
  const first = await ask(engine, "team", TEAM);
  assert.equal(workers.length, 2);
  // One that ends with nothing to do is replaced as well.
  await workers[1]!.terminate();
  assert.deepEqual(await ask(engine, "team", TEAM), first);
  assert.equal(workers.length, 3);
  assert.equal(engine.service.statistics("team")[0]!.inference_stats.fail.count, 2);
});

test("a request that is away when its model is loaded again is answered by the model that it asked", async (context) => {
  const engine = await openTiny(context, { mode: "stacked", ...SIZES }, LONG);
  const away = ask(engine, "team", TEAM);
  await turns(2);
  await engine.service.load("team");
  const next = ask(engine, "team", TEAM);
  assert.deepEqual((await away).outputs, (await next).outputs);
});

test("a model whose files changed after it was loaded goes on with what it loaded", async (context) => {
  const engine = await openTiny(context, { mode: "merged" }, LONG);
  const own = { obs: floats([1, 3], [1, 2, 3]) };
  const before = await ask(engine, "team.agent_0", own);
  const other = temporaryFolder(context);
  // Another policy under the same name: the thread has not seen agent 1's old graph yet.
  writeTinyRepository(other, [{ mode: "merged", observationSizes: [3, 4] }]);
  renameSync(join(engine.repository, "team"), join(other, "old"));
  renameSync(join(other, "team"), join(engine.repository, "team"));
  const both = { obs: floats([1, 2, 3], [1, 2, 3, 1, 2, 3]) };
  const { outputs } = await ask(engine, "team", both);
  assert.deepEqual(outputs["action"]!.slice(0, 2), before.outputs["action"]);
  const asked = ask(engine, "team", both);
  await turns(2);
  const loading = engine.service.load("team");
  assert.deepEqual((await asked).outputs, outputs);
  await loading;
  await ask(engine, "team", { obs: floats([1, 2, 4], [1, 2, 3, 0, 1, 2, 3, 4]) });
});
