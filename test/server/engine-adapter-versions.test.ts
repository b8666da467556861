/** Versions and names of adapters: rollbacks, unloads, limits, and what a failure leaves. */
import assert from "node:assert/strict";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exportTeam } from "../../exporters/export-team.ts";
import { agentAdapter } from "../../models/team.ts";
import type { AdapterLoad } from "../../server/engine/service.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { assertClose } from "../helpers/close.ts";
import {
  bound,
  check,
  FACTORED,
  OBS,
  OBSERVATION,
  residents,
  TEAM,
  UNTIL_FULL_US,
} from "../helpers/engine-adapters.ts";
import {
  adapterFiles,
  ask,
  assertRejects,
  expectedAction,
  floats,
  indices,
  names,
  openFolder,
  openTiny,
  push,
  type TinyEngine,
  turns,
} from "../helpers/engine-service.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

test("a rollback gives the content before under a new number; a second one takes it back", async (context) => {
  const engine = await openTiny(context, FACTORED);
  const { rollback } = bound(engine);
  await assertRejects(rollback("agent_0"), "LORASA_UNKNOWN_ADAPTER", /adapter agent_0, the version before 1/);
  await push(engine, "agent_0", 70);
  assert.equal(engine.adapters().status("agent_0").previousVersion, 1);
  const contents = [0, 70, 0];
  for (const [round, seed] of contents.entries()) {
    const status = await rollback("agent_0");
    assert.deepEqual([status.version, status.previousVersion], [round + 3, round + 2]);
    check(engine, await ask(engine, "team.agent_0", OBS), "agent_0", round + 3, 0, seed);
  }
  await push(engine, "agent_0", 71);
  await rollback("agent_0");
  check(engine, await ask(engine, "team.agent_0", OBS), "agent_0", 7, 0, 0);
});

test("a rollback to files that are not those that were replaced changes nothing", async (context) => {
  const store = temporaryFolder(context);
  const engine = await openTiny(context, FACTORED, { adapterStore: store });
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0", 71);
  const other = adapterFiles(engine.policy.adapter(90));
  writeFileSync(join(store, "team/agent_0/2", TENSORS_FILE), other.tensors);
  await assertRejects(engine.adapters().rollback("agent_0"), "LORASA_UNAVAILABLE", /adapter agent_0/);
  check(engine, await ask(engine, "team.agent_0", OBS), "agent_0", 3, 0, 71);
});

test("unloading waits for the requests that hold the adapter; those that come later find none", async (context) => {
  const engine = await openTiny(context, FACTORED, { maxBatchRows: 2, queueDelayUs: UNTIL_FULL_US });
  const { unload } = bound(engine);
  const held = ask(engine, "team.agent_0", OBS);
  await turns(2);
  await assertRejects(
    unload("agent_0", false),
    "LORASA_BUSY",
    /expected one that no request holds.*ask with drain/,
  );
  let unloaded = false;
  const unloading = unload("agent_0", true).finally(() => {
    unloaded = true;
  });
  await turns(5);
  assert.equal(unloaded, false, "while a request holds it");
  const unknown = /adapter "agent_0" of team: expected a loaded one/;
  await assertRejects(ask(engine, "team.agent_0", OBS), "LORASA_UNKNOWN_ADAPTER", unknown);
  await ask(engine, "team.agent_1", OBS);
  check(engine, await held, "agent_0", 1, 0, 0);
  assert.deepEqual([(await unloading).state, (await unloading).version], ["UNAVAILABLE", 1]);
});

test("an adapter that was evicted or replaced while requests hold it is in use all the same", async (context) => {
  const options = { residentAdapters: 2, maxBatchRows: 3, queueDelayUs: UNTIL_FULL_US };
  const engine = await openTiny(context, FACTORED, options);
  const { unload } = bound(engine);
  await push(engine, "agent_0.evicted", 40);
  await push(engine, "agent_0.replaced", 41);
  const held = [ask(engine, "team.agent_0.evicted", OBS), ask(engine, "team.agent_0.replaced", OBS)];
  await turns(2);
  await push(engine, "agent_0.replaced", 42);
  await push(engine, "agent_0.other", 43);
  assert.equal(engine.adapters().status("agent_0.evicted").resident, false);
  let unloaded = 0;
  const unloads: Promise<void>[] = [];
  for (const name of ["agent_0.evicted", "agent_0.replaced"]) {
    await assertRejects(unload(name, false), "LORASA_BUSY", /expected one that no request holds/);
    unloads.push(
      unload(name, true).then(() => {
        unloaded += 1;
      }),
    );
  }
  await turns(5);
  assert.equal(unloaded, 0, "while requests hold them");
  await ask(engine, "team.agent_0.other", OBS);
  check(engine, (await held[0])!, "agent_0.evicted", 1, 0, 40);
  check(engine, (await held[1])!, "agent_0.replaced", 1, 0, 41);
  await Promise.all(unloads);
  assert.deepEqual(residents(engine), ["agent_0.other"]);
});

test("versions go on rising after an unload, and there is nothing to roll back to", async (context) => {
  const engine = await openTiny(context, FACTORED);
  const { unload, rollback } = bound(engine);
  await push(engine, "agent_0", 70);
  await unload("agent_0", true);
  await assertRejects(rollback("agent_0"), "LORASA_UNKNOWN_ADAPTER", /agent_0/);
  await assertRejects(unload("agent_0", true), "LORASA_UNKNOWN_ADAPTER", /agent_0/);
  assert.deepEqual(
    [(await push(engine, "agent_0", 71)).version, engine.adapters().status("agent_0").previousVersion],
    [3, 0],
  );
  await assertRejects(rollback("agent_0"), "LORASA_UNKNOWN_ADAPTER", /the version before 3/);
});

test("a row may name any adapter; INT32 means an agent's own", async (context) => {
  const engine = await openTiny(context, FACTORED);
  await push(engine, "agent_0.blue", 40);
  const rows = {
    obs: floats([3, 3], [...OBSERVATION, ...OBSERVATION, ...OBSERVATION]),
    agent: indices(0, 1, 0),
  };
  const named = await ask(engine, "team", {
    ...rows,
    adapter: names("agent_0.blue", "agent_0.blue", "agent_1"),
  });
  const { policy } = engine;
  const expected = [
    ...expectedAction(policy, OBSERVATION, 0, 40),
    ...expectedAction(policy, OBSERVATION, 1, 40),
    ...expectedAction(policy, OBSERVATION, 0, 1),
  ];
  assertClose(named.outputs["action"]!, expected);
  assert.deepEqual(named.versions, { "agent_0.blue": 1, agent_1: 1 });
  const swapped = await ask(engine, "team", { ...rows, adapter: indices(1, 1, 0) });
  assertClose(swapped.outputs["action"]!.slice(0, 2), expectedAction(policy, OBSERVATION, 0, 1));
  assert.deepEqual(swapped.versions, { agent_1: 1, agent_0: 1 });
  const own = await ask(
    engine,
    "team.agent_0",
    { ...OBS, adapter: names("agent_0.blue") },
    { adapter_id: "agent_1" },
  );
  check(engine, own, "agent_0.blue", 1, 0, 40);
});

test("adapters of rows that are not one a row", async (context) => {
  const engine = await openTiny(context, FACTORED);
  const one = { ...OBS, agent: indices(0) };
  const two = { ...one, adapter: names("agent_0", "agent_1") };
  await assertRejects(
    ask(engine, "team", two),
    "LORASA_SHAPE",
    /input adapter: expected \[1\], received \[2\]/,
  );
  await assertRejects(
    ask(engine, "team", { ...TEAM, adapter: names("agent_0") }),
    "LORASA_SHAPE",
    /with agent \[B\]/,
  );
  const beyond = ask(engine, "team", { ...one, adapter: indices(2) });
  await assertRejects(beyond, "LORASA_UNKNOWN_AGENT", /input adapter\[0\]: expected 0 to 1/);
  const unknown = ask(engine, "team", { ...one, adapter: names("agent_0.none") });
  await assertRejects(unknown, "LORASA_UNKNOWN_ADAPTER", /agent_0\.none/);
  for (const id of ["", 5, true]) {
    await assertRejects(ask(engine, "team.agent_0", OBS, { adapter_id: id }), "LORASA_REQUEST", /adapter_id/);
  }
});

test("an adapter's own name is a model, as long as it is loaded", async (context) => {
  const engine = await openTiny(context, FACTORED);
  assert.throws(() => engine.service.endpoint("team.agent_0.blue"), /model "team.agent_0.blue"/);
  await push(engine, "agent_0.blue", 40);
  const answer = await ask(engine, "team.agent_0.blue", OBS);
  check(engine, answer, "agent_0.blue", 1, 0, 40);
  assert.equal(answer.model, "team.agent_0.blue");
  const endpoint = engine.service.endpoint("team.agent_0.blue");
  assert.deepEqual(endpoint.inputs, engine.service.endpoint("team.agent_0").inputs);
  await engine.adapters().unload("agent_0.blue", true);
  assert.throws(() => engine.service.endpoint("team.agent_0.blue"), /model "team.agent_0.blue"/);
});

for (const mode of ["merged", "stacked"] as const) {
  test(`${mode}: adapters that are in the graphs cannot be chosen`, async (context) => {
    const engine = await openTiny(context, { mode });
    const refused = new RegExp(`expected a factored model, received a ${mode} one`);
    await assertRejects(ask(engine, "team", TEAM, { adapter_id: "agent_0" }), "LORASA_ADAPTER", refused);
    const rows = { ...OBS, agent: indices(0), adapter: names("agent_0") };
    await assertRejects(ask(engine, "team", rows), "LORASA_ADAPTER", refused);
    assert.throws(() => engine.adapters(), refused);
    assert.throws(() => engine.service.endpoint("team.agent_0.blue"), /model "team.agent_0.blue"/);
    assert.deepEqual((await ask(engine, "team", TEAM)).versions, {});
  });
}

test("names with dots belong to the longest agent's name that they begin with", async (context) => {
  const base = randomTeam({ observationSizes: [3, 3, 3] });
  const names3 = ["red", "red.two", "blue"];
  const team = { ...base, agents: base.agents.map((agent, at) => ({ ...agent, name: names3[at]! })) };
  const repository = temporaryFolder(context);
  exportTeam(team, { repository, mode: "factored", name: "my.team" });
  const { service } = await openFolder(context, repository);
  const adapters = service.adapters("my.team");
  const { backboneSha256 } = service.endpoint("my.team").model.manifest;
  const files = adapterFiles({ backboneSha256, layers: agentAdapter(team, 0) });
  const owners = {
    "red.x": "red",
    "red.two.x": "red.two",
    "red.twox": "red",
    "red.two": "red.two",
    "blue.a.b": "blue",
  };
  for (const [name, agent] of Object.entries(owners)) {
    assert.equal((await adapters.load(name, { files, replace: true })).agent, agent, name);
    const answer = await ask({ service }, `my.team.${name}`, OBS);
    const own = await ask({ service }, `my.team.${agent}`, OBS, { adapter_id: name });
    assert.deepEqual([answer.versions, answer.outputs], [own.versions, own.outputs], name);
  }
  for (const name of ["reds", "redx.two", "green.x", ".red", "red/x", "", "red.".repeat(60)]) {
    const refused = /expected an agent of my\.team, or <agent>\.<variant>/;
    await assertRejects(adapters.load(name, { files, replace: true }), "LORASA_UNKNOWN_AGENT", refused);
  }
});

test("no more adapters than the bound, however they are asked for together; an unloaded one makes room", async (context) => {
  const engine = await openTiny(context, FACTORED, { maxAdapters: 4 });
  const pushes = ["a", "b", "c", "d"].map((variant) => push(engine, `agent_0.${variant}`, 1));
  const settled = await Promise.allSettled(pushes);
  assert.deepEqual(
    settled.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "rejected"],
  );
  const refused = Promise.reject((settled[2] as PromiseRejectedResult).reason);
  await assertRejects(
    refused,
    "LORASA_TOO_LARGE",
    /adapter agent_0\.c: expected at most 4 adapters.*--max-adapters/,
  );
  await push(engine, "agent_0.a", 2);
  await engine.adapters().unload("agent_0.b", true);
  assert.equal((await push(engine, "agent_0.c", 1)).version, 1);
  await assertRejects(push(engine, "agent_0.d", 1), "LORASA_TOO_LARGE", /at most 4/);
  assert.equal(engine.adapters().list().length, 4);
});

test("a load that is refused makes no room and takes none", async (context) => {
  const engine = await openTiny(context, FACTORED, { maxAdapters: 3 });
  await push(engine, "agent_0.a", 1);
  await engine.adapters().unload("agent_0.a", true);
  const broken = { config: "{", tensors: new Uint8Array() };
  for (const name of ["agent_0.b", "agent_0.c"]) {
    await assertRejects(
      engine.adapters().load(name, { files: broken, replace: true }),
      "LORASA_ADAPTER",
      /not JSON/,
    );
  }
  assert.equal((await push(engine, "agent_0.a", 1)).version, 2, "the number of the unloaded one is kept");
});

test("whatever a load fails of, nothing changes: status, files and answers are as before", async (context) => {
  const store = temporaryFolder(context);
  const engine = await openTiny(context, FACTORED, {
    adapterStore: store,
    maxAdapters: 4,
    residentAdapters: 3,
  });
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0", 71);
  await push(engine, "agent_1.blue", 72, true);
  await push(engine, "agent_1.red", 73);
  const { policy } = engine;
  const good = policy.adapter(9);
  const [layer] = good.layers;
  const files = adapterFiles(good);
  const changed = (change: object): AdapterLoad["files"] =>
    adapterFiles({ ...good, layers: [{ ...layer!, ...change }] });
  const nan = Buffer.from(files.tensors);
  nan.writeFloatLE(Number.NaN, nan.length - 4);
  const faults: readonly (readonly [string, Partial<AdapterLoad>, string, RegExp])[] = [
    ["agent_0", { replace: false }, "LORASA_EXISTS", /load_inplace true/],
    [
      "agent_0",
      { sha256: "0".repeat(64) },
      "LORASA_CHECKSUM",
      /SHA-256.*expected 0{64}, received [0-9a-f]{64}/,
    ],
    ["agent_0", { files: adapterFiles(policy.adapter(9, "0".repeat(64))) }, "LORASA_ADAPTER", /backbone/],
    ["agent_0", { files: changed({ name: "other" }) }, "LORASA_ADAPTER", /layer policy/],
    ["agent_0", { files: changed({ scale: 3 }) }, "LORASA_ADAPTER", /scale/],
    [
      "agent_0",
      { files: changed({ loraB: floatTensor([2, 2], [1, 1, 3e38, 1]) }) },
      "LORASA_NOT_FINITE",
      /lora_B/,
    ],
    ["agent_0", { files: { ...files, tensors: nan } }, "LORASA_NOT_FINITE", /./],
    ["agent_0", { files: { ...files, tensors: files.tensors.subarray(0, 40) } }, "LORASA_FILE", /./],
    ["agent_0", { files: { ...files, config: "[]" } }, "LORASA_ADAPTER", /./],
    ["agent_1.red", { pin: true }, "LORASA_BUSY", /at most 1 pinned/],
    ["agent_1.new", {}, "LORASA_TOO_LARGE", /at most 4 adapters/],
    ["agent_7", {}, "LORASA_UNKNOWN_AGENT", /did you mean agent_/],
  ];
  const before = await snapshot(engine);
  for (const [name, load, code, message] of faults) {
    const loading = engine.adapters().load(name, { files, replace: true, ...load });
    await assertRejects(loading, code as "LORASA_FILE", message);
    const after = await snapshot(engine);
    assert.deepEqual(after, before, `${name}: ${message}`);
  }
  renameSync(join(store, "team/agent_0/3"), join(store, "team/agent_0/kept"));
  const blocked = join(store, "team/agent_0/4");
  writeFileSync(blocked, "in the way");
  await assertRejects(push(engine, "agent_0", 74), "LORASA_DISK", /storing adapter agent_0/);
  assert.deepEqual(await snapshot(engine), before);
});

async function snapshot(engine: TinyEngine): Promise<unknown> {
  const answers = [];
  for (const name of ["team", "team.agent_0", "team.agent_1.blue", "team.agent_1.red"]) {
    answers.push(await ask(engine, name, name === "team" ? TEAM : OBS));
  }
  const list = engine
    .adapters()
    .list()
    .map(({ lastUsedMs: _, resident: __, ...status }) => status);
  return { answers, list };
}
