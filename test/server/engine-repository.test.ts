/** Models that come, go and are replaced while requests are answered. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LocalPolicyService } from "../../server/engine/policy-service.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import {
  adapterFiles,
  ask,
  assertRejects,
  floats,
  openTiny,
  push,
  type TinyEngine,
  turns,
} from "../helpers/engine-service.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { writeTinyRepository } from "../helpers/tiny-models.ts";

const TEAM = { obs: floats([1, 2, 3], [0.5, -1, 2, 1, 0, -2]) };
const OWN = { obs: floats([1, 3], [0.5, -1, 2]) };

function states({ service }: Pick<TinyEngine, "service">): Record<string, string> {
  return Object.fromEntries(
    service.index().map(({ name, state, reason }) => [name, `${state} ${reason}`.trim()]),
  );
}

test("loading again under load fails no request, and frees what was loaded before", async (context) => {
  const engine = await openTiny(context, [{ mode: "factored" }, { mode: "merged", name: "other" }]);
  let loading = true;
  let replies = 0;
  const names = ["team", "team.agent_1", "other"];
  const drive = async (name: string): Promise<void> => {
    const endpoint = engine.service.endpoint(name);
    while (loading) {
      const inputs = name.includes(".") ? OWN : TEAM;
      await ask(engine, name, inputs);
      // A door may have looked the name up before the model was loaded again.
      await ask({ service: { infer: serviceOf(engine).infer, endpoint: () => endpoint } }, name, inputs);
      replies += 1;
    }
  };
  const loads = (async () => {
    for (let round = 0; round < 6; round++) await engine.service.load(round % 2 === 0 ? "team" : "other");
  })().finally(() => {
    loading = false;
  });
  await Promise.all([loads, ...[...names, ...names].map(drive)]);
  assert.ok(replies > 12, `only ${replies}`);
  await turns(2);
  const gone = engine.events.models.filter(({ kind }) => kind === "unloaded").map(({ model }) => model);
  assert.deepEqual(gone.sort(), ["other", "other", "other", "team", "team", "team"]);
});

/** With its methods bound, so that one of them can be replaced. */
function serviceOf({ service }: TinyEngine): Pick<LocalPolicyService, "infer"> {
  return { infer: (...args) => service.infer(...args) };
}

test("an unloaded model is unknown at once; requests that began are answered", async (context) => {
  const engine = await openTiny(context, [{ mode: "factored" }, { mode: "stacked", name: "other" }]);
  const began = [ask(engine, "team", TEAM), ask(engine, "team.agent_0", OWN)];
  const unloading = engine.service.unload("team");
  await Promise.all(began);
  await unloading;
  for (const name of ["team", "team.agent_0"]) {
    assert.throws(() => engine.service.endpoint(name), /model "team/);
    assert.throws(() => engine.service.statistics(name), /model "team/);
  }
  assert.throws(() => engine.adapters(), /model "team": expected a loaded model/);
  assert.deepEqual(states(engine), {
    other: "READY",
    "other.agent_0": "READY",
    "other.agent_1": "READY",
    team: "UNAVAILABLE unloaded",
  });
  await ask(engine, "other", TEAM);
  await engine.service.load("team");
  assert.equal(states(engine)["team.agent_1"], "READY");
  await ask(engine, "team", TEAM);
});

test("a name that a door looked up before its model was unloaded is unknown", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  const endpoint = engine.service.endpoint("team");
  await engine.service.unload("team");
  const service = { infer: serviceOf(engine).infer, endpoint: () => endpoint };
  await assertRejects(ask({ service }, "team", TEAM), "LORASA_UNKNOWN_MODEL", /model "team"/);
});

test("a load that fails keeps what was loaded, with its adapters and its counts", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  await push(engine, "agent_0", 30);
  const before = await ask(engine, "team", TEAM);
  const path = join(engine.repository, "team/1/team.onnx");
  const good = readFileSync(path);
  writeFileSync(path, good.subarray(1));
  await assertRejects(engine.service.load("team"), "LORASA_CHECKSUM", /team\/1\/team\.onnx/);
  assert.equal(states(engine)["team"], "READY");
  assert.deepEqual(await ask(engine, "team", TEAM), before);
  assert.equal(engine.service.statistics("team")[0]!.inference_count, 2);
  await push(engine, "agent_0", 31);
  writeFileSync(path, good);
  await engine.service.load("team");
});

test("the index tells what is loading, what failed and what is in the folder", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  writeTinyRepository(engine.repository, [
    { mode: "factored", name: "fresh" },
    { mode: "stacked", name: "broken" },
  ]);
  rmSync(join(engine.repository, "broken/1/team.onnx"));
  assert.deepEqual(
    [states(engine)["fresh"], states(engine)["broken"]],
    ["UNAVAILABLE not loaded", "UNAVAILABLE not loaded"],
  );
  const seen = new Set<string>();
  let loading = true;
  const load = engine.service.load("fresh").finally(() => {
    loading = false;
  });
  while (loading) {
    seen.add(states(engine)["fresh"]!);
    await turns(1);
  }
  await load;
  assert.ok(seen.has("LOADING"), [...seen].join(", "));
  assert.equal(states(engine)["fresh"], "READY");
  await assertRejects(engine.service.load("broken"), "LORASA_FILE", /team\.onnx/);
  assert.equal(states(engine)["broken"], "UNAVAILABLE failed to load");
  assert.throws(() => engine.service.endpoint("broken"), /model "broken"/);
  await engine.service.load("fresh");
  assert.equal(engine.service.index().filter(({ name }) => name === "fresh").length, 1);
});

test("names that are no folder, and agents, are not loaded; what is not loaded has nothing to unload", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  for (const name of ["taem", "", "..", "../team", "team/1", "team.agent_0"]) {
    await assertRejects(engine.service.load(name), "LORASA_UNKNOWN_MODEL", /expected a loaded model/);
  }
  await engine.service.unload("nobody");
  const agent = /unloading team\.agent_0: expected the name of a team.*the agent's adapter/;
  await assertRejects(engine.service.unload("team.agent_0"), "LORASA_REQUEST", agent);
  await engine.service.unload("team");
  await engine.service.unload("team");
  await ask(engine, "team", TEAM).then(
    () => assert.fail("unloaded"),
    () => undefined,
  );
});

test("two models that answer to one name: the second is refused, the first stays", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  writeTinyRepository(engine.repository, [{ mode: "stacked", name: "team.agent_0" }]);
  const twice = /model team\.agent_0: expected one model or agent of that name.*another --name/;
  await assertRejects(engine.service.load("team.agent_0"), "LORASA_EXISTS", twice);
  await ask(engine, "team.agent_0", OWN);
  assert.equal(states(engine)["team.agent_0"], "UNAVAILABLE failed to load");
  await engine.service.unload("team");
  await engine.service.load("team.agent_0");
  await ask(engine, "team.agent_0", TEAM);
  await assertRejects(engine.service.load("team"), "LORASA_EXISTS", twice);
});

test("loads and unloads that are asked for together are done in their order", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  const { service } = engine;
  const asked = [service.unload("team"), service.load("team"), service.load("taem"), service.unload("team")];
  const settled = await Promise.allSettled([...asked, service.load("team")]);
  assert.deepEqual(
    settled.map(({ status }) => status),
    ["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"],
  );
  await ask(engine, "team", TEAM);
});

test("what was asked for last holds, however long what was asked for before takes", async (context) => {
  const engine = await openTiny(context, { mode: "factored" });
  const { service } = engine;
  await Promise.all([service.load("team"), service.unload("team")]);
  assert.throws(() => service.endpoint("team"), /model "team"/);
  await Promise.all([service.load("team"), service.unload("team"), service.load("team")]);
  await ask(engine, "team", TEAM);
});

test("a model of another version answers under that version", async (context) => {
  const engine = await openTiny(context, { mode: "stacked" });
  const path = join(engine.repository, "team/model.json");
  writeFileSync(path, readFileSync(path, "utf8").replace('"version": "1"', '"version": "2"'));
  await engine.service.load("team");
  assert.equal(engine.service.endpoint("team", "2").name, "team");
  assert.throws(() => engine.service.endpoint("team", "1"), /model team version 1: expected version 2/);
});

test("a push while its model is loaded again is kept or refused, and does not block those after it", async (context) => {
  const adapterStore = temporaryFolder(context);
  const engine = await openTiny(context, { mode: "factored" }, { adapterStore });
  let version = 1;
  for (let round = 0; round < 8; round++) {
    const loading = engine.service.load("team");
    const pushes: Promise<number>[] = [];
    let done = false;
    const finished = loading.finally(() => {
      done = true;
    });
    while (!done) {
      const pushed = push(engine, "agent_0", 200 + round).then(
        (status) => status.version,
        (error: { code: string }) => {
          assert.equal(error.code, "LORASA_UNAVAILABLE");
          return 0;
        },
      );
      pushes.push(pushed);
      await Promise.all([pushed, turns(1)]);
    }
    await finished;
    version = Math.max(version, ...(await Promise.all(pushes)));
    const { versions } = await ask(engine, "team.agent_0", OWN);
    assert.ok(versions["agent_0"]! >= version, `acknowledged ${version}, serves ${versions["agent_0"]}`);
    const next = await push(engine, "agent_0", 300 + round);
    assert.ok(next.version > version);
    version = next.version;
  }
});

test("what a temporary store held goes with the service", async (context) => {
  const before = new Set(storeFolders());
  const engine = await openTiny(context, { mode: "factored" });
  assert.deepEqual(
    storeFolders().filter((name) => !before.has(name)),
    [],
    "not before the first push",
  );
  await engine.adapters().unload("agent_1", true);
  await push(engine, "agent_0", 5);
  const made = storeFolders().filter((name) => !before.has(name));
  assert.equal(made.length, 1);
  await engine.service.close();
  assert.equal(existsSync(join(tmpdir(), made[0]!)), false);
  await engine.service.close();
});

test("closing waits for a push and for a load under way, and leaves nothing of them", async (context) => {
  const before = new Set(storeFolders());
  const engine = await openTiny(context, { mode: "factored" });
  const began = [push(engine, "agent_0", 5), engine.service.load("team")] as const;
  await Promise.all([engine.service.close(), ...began]);
  assert.deepEqual(
    storeFolders().filter((name) => !before.has(name)),
    [],
  );
  await assertRejects(push(engine, "agent_0", 6), "LORASA_UNAVAILABLE", /expected model team to stay/);
});

function storeFolders(): readonly string[] {
  return readdirSync(tmpdir()).filter((name) => name.startsWith("lorasa-adapters-"));
}

test("a repository of which one model cannot be loaded is not opened, and gives back the others", async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "factored", name: "a" }]);
  cpSync(join(repository, "a"), join(repository, "b"), { recursive: true });
  const options = { runtime: createRuntime(), threads: 1 };
  await assertRejects(
    LocalPolicyService.open(repository, options),
    "LORASA_FILE",
    /model folder b: .*received a/,
  );
});

test("adapters of two models of one store do not meet", async (context) => {
  const adapterStore = temporaryFolder(context);
  const models = ["a", "b"].map((name) => ({ mode: "factored" as const, name }));
  const { service, policy } = await openTiny(context, models, { adapterStore });
  const files = adapterFiles(policy.adapter(44));
  await service.adapters("a").load("agent_0", { files, replace: true });
  assert.deepEqual((await ask({ service }, "a.agent_0", OWN)).versions, { agent_0: 2 });
  assert.deepEqual((await ask({ service }, "b.agent_0", OWN)).versions, { agent_0: 1 });
  assert.deepEqual(readdirSync(adapterStore), ["a"]);
});
