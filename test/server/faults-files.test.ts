/** Files that vanish, change or were being written when the server was killed: it says so, and goes on with what it has. */
import assert from "node:assert/strict";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startServer } from "../../server/app.ts";
import { KilledServer } from "../helpers/killed-server.ts";
import { errorText, ManagedServer, OBS } from "../helpers/managed-server.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { writeTinyRepository } from "../helpers/tiny-models.ts";
import { ask } from "../helpers/tiny-server.ts";

const LOAD = "/v2/repository/models/team/load";

test("an adapter that was being stored when the server was killed is there whole, or not at all", {
  timeout: 60_000,
}, async (context) => {
  const killed = new KilledServer(temporaryFolder(context));
  for (const [answered, delayMs] of [
    [0, 0],
    [7, 3],
    [20, 1],
  ] as const) {
    await killed.round(answered, delayMs);
  }
});

/** What may have become of a model's folder; each answer is the client's, and one line. */
const DAMAGES: Readonly<
  Record<string, readonly [damage: (folder: string) => void, status: number, text: RegExp]>
> = {
  "a graph is gone": [(folder) => rmSync(join(folder, "1/rows.onnx")), 400, /^LORASA_FILE: model file/],
  "a graph is shorter": [
    (folder) => truncateSync(join(folder, "1/team.onnx"), 100),
    400,
    /^LORASA_CHECKSUM: team\/1\/team\.onnx/,
  ],
  "a graph is a folder": [
    (folder) => {
      rmSync(join(folder, "1/team.onnx"));
      mkdirSync(join(folder, "1/team.onnx"));
    },
    400,
    /^LORASA_FILE: model file/,
  ],
  "an adapter changed": [
    (folder) => writeFileSync(join(folder, "adapters/agent_0/adapter_model.safetensors"), "x"),
    400,
    /^LORASA_CHECKSUM/,
  ],
  "the manifest is empty": [
    (folder) => writeFileSync(join(folder, "model.json"), ""),
    400,
    /^LORASA_FILE: model manifest/,
  ],
  "the manifest is half": [
    (folder) => truncateSync(join(folder, "model.json"), 200),
    400,
    /^LORASA_FILE: model manifest/,
  ],
  "the manifest is of another kind": [
    (folder) => writeFileSync(join(folder, "model.json"), "[]"),
    400,
    /^LORASA_FILE: model manifest/,
  ],
  "the manifest leads outside": [
    (folder) => {
      const path = join(folder, "model.json");
      const text = readFileSync(path, "utf8");
      writeFileSync(path, text.replaceAll("1/team.onnx", "../team.onnx"));
    },
    400,
    /^LORASA_FILE: model manifest/,
  ],
  "the manifest is gone": [(folder) => rmSync(join(folder, "model.json")), 404, /^LORASA_UNKNOWN_MODEL/],
  "the folder is gone": [(folder) => rmSync(folder, { recursive: true }), 404, /^LORASA_UNKNOWN_MODEL/],
  "the folder is a file": [
    (folder) => {
      rmSync(folder, { recursive: true });
      writeFileSync(folder, "");
    },
    404,
    /^LORASA_UNKNOWN_MODEL/,
  ],
};

for (const [what, [damage, status, text]] of Object.entries(DAMAGES)) {
  test(`loading again when ${what}: told in one line, and the loaded model answers on`, async (context) => {
    const served = await ManagedServer.open(context);
    const before = await served.infer({ inputs: [OBS] });
    damage(join(served.tiny.repository, "team"));
    const reply = await served.post(LOAD, {});
    assert.equal(reply.status, status, reply.text);
    assert.match(errorText(reply), text);
    assert.doesNotMatch(errorText(reply), /\n|\/tmp|lorasa-\w{6}/);
    assert.equal((await served.infer({ inputs: [OBS] })).text, before.text);
    await served.assertServes();
  });
}

test("an adapter whose files vanish after it left memory is told so, and others answer", async (context) => {
  const served = await ManagedServer.open(context, { residentAdapters: 2 });
  const adapters = "/v2/repository/models/team/adapters";
  for (const name of ["first", "second"]) {
    const path = join(served.adapters, name);
    mkdirSync(path);
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      writeFileSync(join(path, file), readFileSync(join(served.adapters, "agent_0", file)));
    }
    const { status } = await served.post(`${adapters}/agent_0.${name}/load`, { parameters: { path: name } });
    assert.equal(status, 200);
  }
  renameSync(join(served.adapters, "agent_0"), join(served.adapters, "elsewhere"));
  const reply = await served.post("/v2/models/team.agent_0/infer", { inputs: [{ ...OBS, shape: [2, 3] }] });
  assert.equal(reply.status, 503, reply.text);
  assert.match(errorText(reply), /^LORASA_UNAVAILABLE: adapter agent_0: expected the files/);
  const other = await served.post("/v2/models/team.agent_0.second/infer", {
    inputs: [{ ...OBS, shape: [2, 3] }],
  });
  assert.equal(other.status, 200, other.text);
});

test("versions that killed servers left are removed but for the last two, and what was half written", async (context) => {
  const folder = temporaryFolder(context);
  const [repository, adapterStore] = [join(folder, "repository"), join(folder, "store")];
  writeTinyRepository(repository, [{ mode: "factored" }]);
  const stored = join(adapterStore, "team", "agent_0");
  for (const version of ["2", "3", "10", "11", "12-999-1.tmp"]) {
    cpSync(join(repository, "team", "adapters", "agent_0"), join(stored, version), { recursive: true });
  }
  // Its tensors were removed, or not there yet.
  mkdirSync(join(stored, "13"));
  const server = await startServer({ repository, adapterStore, port: 0 });
  const reply = await ask(`${server.url}/v2/models/team/adapters/agent_0`);
  await server.close();
  assert.equal((JSON.parse(reply.text) as { version: unknown }).version, "11");
  assert.deepEqual(readdirSync(stored).sort(), ["10", "11"]);
});

test("a store with files of somebody else is passed over", async (context) => {
  const folder = temporaryFolder(context);
  const [repository, adapterStore] = [join(folder, "repository"), join(folder, "store")];
  writeTinyRepository(repository, [{ mode: "factored" }]);
  mkdirSync(join(adapterStore, "team", "agent_0"), { recursive: true });
  writeFileSync(join(adapterStore, "team", "README"), "x");
  writeFileSync(join(adapterStore, "team", "agent_1"), "x");
  writeFileSync(join(adapterStore, "team", "agent_0", "7"), "x");
  const server = await startServer({ repository, adapterStore, port: 0 });
  await server.close();
});
