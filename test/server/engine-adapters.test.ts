/** Adapters in memory and out of it: which go first, which stay, what requests hold, what became of the files. */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import {
  bound,
  check,
  evicted,
  FACTORED,
  OBS,
  OBSERVATION,
  residents,
  TEAM,
  told,
  UNTIL_FULL_US,
} from "../helpers/engine-adapters.ts";
import {
  adapterFiles,
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

test("the least recently used adapter goes first, whichever way it was used", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 5 });
  for (const variant of ["a", "b", "c"]) await push(engine, `agent_0.${variant}`, 1);
  await ask(engine, "team", TEAM);
  await ask(engine, "team.agent_0.a", OBS);
  await ask(engine, "team", { ...OBS, agent: indices(0), adapter: names("agent_0.c") });
  await push(engine, "agent_0.d", 1);
  await ask(engine, "team.agent_0", OBS, { adapter_id: "agent_0.a" });
  await ask(engine, "team", TEAM);
  await push(engine, "agent_0.e", 1);
  assert.deepEqual(told(engine, "evicted"), ["agent_0.b", "agent_0.c"]);
  assert.equal(residents(engine).length, 5);
});

test("an agent's own adapter that was used lately outlives a variant that was not", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 3 });
  await ask(engine, "team", TEAM);
  await push(engine, "agent_0.old", 1);
  await ask(engine, "team.agent_0", OBS);
  await ask(engine, "team.agent_1", OBS);
  await push(engine, "agent_0.new", 1);
  assert.deepEqual(told(engine, "evicted"), ["agent_0.old"]);
});

test("a request of the team uses every agent's adapter", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 3 });
  await push(engine, "agent_0.old", 1);
  await ask(engine, "team", TEAM);
  await push(engine, "agent_0.new", 1);
  assert.deepEqual(told(engine, "evicted"), ["agent_0.old"]);
});

test("a limit below the team's size still keeps every agent's own", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 1 });
  assert.deepEqual(residents(engine), ["agent_0", "agent_1"]);
});

test("a request finishes with the adapter that it began with, evicted or replaced meanwhile", async (context) => {
  const options = { residentAdapters: 3, maxBatchRows: 4, queueDelayUs: UNTIL_FULL_US };
  const engine = await openTiny(context, FACTORED, options);
  await push(engine, "agent_0.blue", 40);
  const asked = [ask(engine, "team.agent_0.blue", OBS), ask(engine, "team.agent_1", OBS)];
  await turns(2);
  await push(engine, "agent_0.red", 41);
  await push(engine, "agent_0.green", 42);
  await push(engine, "agent_1", 43);
  assert.equal(engine.adapters().status("agent_0.blue").resident, false);
  asked.push(ask(engine, "team.agent_1", OBS), ask(engine, "team.agent_0.green", OBS));
  const [blue, old, replaced, green] = await Promise.all(asked);
  check(engine, blue!, "agent_0.blue", 1, 0, 40);
  check(engine, old!, "agent_1", 1, 1, 1);
  check(engine, replaced!, "agent_1", 2, 1, 43);
  check(engine, green!, "agent_0.green", 1, 0, 42);
});

test("requests that come together for an evicted adapter read it once", async (context) => {
  const engine = await evicted(context);
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(engine, "team.agent_0.blue", OBS)));
  for (const answer of answers) check(engine, answer, "agent_0.blue", 1, 0, 40);
  assert.deepEqual(
    told(engine, "read").filter((name) => name.includes("blue")),
    ["agent_0.blue"],
  );
});

test("pushes while evicted adapters are read fail no request and give no version back", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 2 });
  const variants = ["agent_0.a", "agent_0.b", "agent_0.c", "agent_0.d"];
  for (const name of variants) await push(engine, name, 1);
  const newest = new Map(variants.map((name) => [name, 1]));
  let pushing = true;
  const read = async (name: string): Promise<void> => {
    while (pushing) {
      const least = newest.get(name)!;
      const answer = await ask(engine, `team.${name}`, OBS);
      const version = answer.versions[name]!;
      assert.ok(version >= least, `${name} went back from ${least} to ${version}`);
      // The seed of each push is its version.
      check(engine, answer, name, version, 0, version);
    }
  };
  const swap = async (name: string): Promise<void> => {
    for (let version = 2; version <= 40; version++) {
      await push(engine, name, version);
      newest.set(name, version);
    }
  };
  const readers = [...variants, ...variants].map(read);
  await Promise.all(variants.map(swap)).finally(() => {
    pushing = false;
  });
  await Promise.all(readers);
  assert.ok(told(engine, "read").length > 40, "adapters were read again meanwhile");
});

test("one cold adapter whose files are gone beside a name that nobody has fails the request, not the process", async (context) => {
  const store = temporaryFolder(context);
  const engine = await evicted(context, { adapterStore: store });
  rmSync(join(store, "team", "agent_0.blue"), { recursive: true });
  const unhandled: unknown[] = [];
  const note = (error: unknown): number => unhandled.push(error);
  process.on("unhandledRejection", note);
  const rows = { obs: floats([2, 3], [...OBSERVATION, ...OBSERVATION]), agent: indices(0, 0) };
  const asked = ask(engine, "team", { ...rows, adapter: names("agent_0.blue", "agent_0.none") });
  await assertRejects(asked, "LORASA_UNKNOWN_ADAPTER", /adapter "agent_0.none" of team/);
  await turns(20);
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

const DAMAGES: Readonly<Record<string, (folder: string, files: Buffer) => void>> = {
  vanished: (folder) => rmSync(folder, { recursive: true }),
  "of another adapter": (folder, other) => writeFileSync(join(folder, TENSORS_FILE), other),
  truncated: (folder) => writeFileSync(join(folder, TENSORS_FILE), "x"),
  "without its configuration": (folder) => rmSync(join(folder, "adapter_config.json")),
  "with a broken configuration": (folder) => writeFileSync(join(folder, "adapter_config.json"), "{"),
};

for (const [what, damage] of Object.entries(DAMAGES)) {
  test(`files of an evicted adapter ${what}: 503 for it alone, until it is pushed again`, async (context) => {
    const store = temporaryFolder(context);
    const engine = await evicted(context, { adapterStore: store });
    const other = Buffer.from(adapterFiles(engine.policy.adapter(77)).tensors);
    damage(join(store, "team", "agent_0.blue", "1"), other);
    const gone = /adapter agent_0\.blue: expected the files that it was loaded from, .*; push it again/;
    const asked = ask(engine, "team.agent_0.blue", OBS);
    await assertRejects(asked, "LORASA_UNAVAILABLE", gone);
    check(engine, await ask(engine, "team.agent_1", OBS), "agent_1", 1, 1, 1);
    await push(engine, "agent_0.blue", 61);
    check(engine, await ask(engine, "team.agent_0.blue", OBS), "agent_0.blue", 2, 0, 61);
  });
}

test("a pinned adapter stays in memory, and is not unloaded before it is unpinned", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 4 });
  const { load, pin, unload } = bound(engine);
  assert.equal((await load("agent_0.kept", 1, { pin: true })).pinned, true);
  for (const variant of ["a", "b", "c", "d"]) await push(engine, `agent_0.${variant}`, 1);
  assert.equal(engine.adapters().status("agent_0.kept").resident, true);
  await assertRejects(
    unload("agent_0.kept", true),
    "LORASA_BUSY",
    /expected one that is not pinned.*unpin it first/,
  );
  assert.equal((await push(engine, "agent_0.kept", 2)).pinned, true, "a new version stays pinned");
  assert.equal((await pin("agent_0.kept", false)).pinned, false);
  for (const variant of ["a", "b", "c", "d"]) await ask(engine, `team.agent_0.${variant}`, OBS);
  assert.equal(engine.adapters().status("agent_0.kept").resident, false);
  assert.equal((await unload("agent_0.kept", false)).state, "UNAVAILABLE");
});

test("pinning reads what is not in memory, and an unpinned one is not missed", async (context) => {
  const engine = await evicted(context);
  const status = await engine.adapters().pin("agent_0.blue", true);
  assert.deepEqual([status.resident, status.pinned], [true, true]);
  await engine.adapters().pin("agent_0.blue", true);
  assert.equal((await engine.adapters().pin("agent_0.blue", false)).resident, true);
  await assertRejects(engine.adapters().pin("agent_0.none", true), "LORASA_UNKNOWN_ADAPTER", /agent_0\.none/);
});

test("pinned variants leave room for each agent's own, however they are asked for together", async (context) => {
  const engine = await openTiny(context, FACTORED, { residentAdapters: 4 });
  const { load, pin } = bound(engine);
  for (const variant of ["a", "b", "c", "d"]) await push(engine, `agent_0.${variant}`, 1);
  const pins = ["a", "b", "c", "d"].map((variant) => pin(`agent_0.${variant}`, true));
  const settled = await Promise.allSettled([
    ...pins,
    load("agent_0.e", 1, { pin: true }),
    pin("agent_1", true),
  ]);
  assert.deepEqual(
    settled.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "rejected", "rejected", "fulfilled"],
  );
  for (const refused of settled.slice(2, 5)) {
    const error = Promise.reject((refused as PromiseRejectedResult).reason);
    await assertRejects(
      error,
      "LORASA_BUSY",
      /at most 2 pinned besides the agents' own.*--resident-adapters/,
    );
  }
  assert.equal(
    engine
      .adapters()
      .list()
      .filter(({ pinned }) => pinned).length,
    3,
  );
  assert.throws(() => engine.adapters().status("agent_0.e"), /LORASA_UNKNOWN_ADAPTER|adapter "agent_0.e"/);
});
