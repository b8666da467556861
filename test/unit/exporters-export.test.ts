import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type ExportContents, type ExportMode, exportContents } from "../../exporters/contents.ts";
import { exportTeam, replaceModel } from "../../exporters/export-team.ts";
import { LocalPolicyService } from "../../server/engine/policy-service.ts";
import { sha256 } from "../../src/base/files.ts";
import { decodeOnnxAdapter, encodeOnnxAdapter } from "../../src/checkpoint/onnx-adapter.ts";
import { readAdapter } from "../../src/checkpoint/peft.ts";
import { findModels, readModelManifest } from "../../src/checkpoint/repository-files.ts";
import { decodeSafetensors, encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { decodeModel } from "../../src/onnx/decode.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";
import { hasFactors } from "../helpers/policy-layouts.ts";
import { randomTeam, SHARINGS } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const MODES: readonly ExportMode[] = ["merged", "stacked", "factored"];

/** Every file under a folder with its contents. */
function snapshot(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    paths
      .filter((path) => statSync(join(folder, path)).isFile())
      .map((path) => [path, readFileSync(join(folder, path)).toString("base64")]),
  );
}

test("an export holds the files that its manifest says, and a server loads it", async (context) => {
  const repository = temporaryFolder(context);
  const team = randomTeam({ observationSizes: [5, 3], actionSizes: [2, 3], recurrent: true });
  for (const mode of MODES) {
    const result = exportTeam(team, {
      mode,
      repository,
      name: mode,
      sampled: mode !== "merged",
      provenance: { steps: "1000" },
    });
    assert.equal(result.directory, join(repository, mode));
    assert.ok(result.maxAbsDiff > 0 && result.maxAbsDiff < 1e-5, `${result.maxAbsDiff}`);
    const manifest = readModelManifest(result.directory);
    assert.deepEqual(
      [manifest.mode, manifest.version, manifest.sampled, manifest.opset, manifest.provenance["steps"]],
      [mode, "1", mode !== "merged", 15, "1000"],
    );
    const present = Object.keys(snapshot(result.directory)).sort();
    assert.deepEqual(result.files, present);
    assert.deepEqual(
      Object.keys(manifest.files),
      present.filter((path) => path !== "model.json"),
    );
    for (const [path, { bytes, sha256: sum }] of Object.entries(manifest.files)) {
      const contents = readFileSync(join(result.directory, path));
      assert.deepEqual([contents.length, sha256(contents)], [bytes, sum], path);
    }
    const total = present.reduce((sum, path) => sum + statSync(join(result.directory, path)).size, 0);
    assert.equal(result.bytes, total);
  }
  assert.deepEqual(findModels(repository), ["factored", "merged", "stacked"]);
  const service = await LocalPolicyService.open(repository, { runtime: createRuntime(), threads: 1 });
  const { endpoints } = service.repository;
  assert.ok(MODES.every((mode) => endpoints.has(mode) && endpoints.has(`${mode}.agent_1`)));
  await service.close();
});

test("a manifest gives the sizes, the graphs by role and the adapted layers", () => {
  const team = randomTeam({
    observationSizes: [5, 3],
    actionSizes: [2, 3],
    hidden: [6],
    recurrent: true,
    low: -2,
  });
  const { manifest } = exportContents(team, { mode: "factored", name: "team", version: 3 });
  assert.deepEqual(
    [manifest.observationSize, manifest.actionSize, manifest.hiddenSize, manifest.action],
    [5, 3, 6, { kind: "continuous", low: -2, high: 1 }],
  );
  assert.deepEqual(manifest.agents[1], { name: "agent_1", observationSize: 3, actionSize: 3 });
  assert.deepEqual(manifest.graphs, { team: "3/team.onnx", rows: "3/rows.onnx", single: "3/single.onnx" });
  assert.deepEqual(manifest.adapterLayers[0], { name: "mlp.0", in: 7, out: 6, rank: 2, scale: 1.5 });
  assert.deepEqual(manifest.adapterLayers.at(-1), {
    name: "head.log_std",
    in: 1,
    out: 3,
    rank: 1,
    scale: 1.5,
  });
  const merged = exportContents(team, { mode: "merged", name: "team", version: 3 });
  assert.deepEqual(merged.manifest.graphs, {
    agents: { agent_0: "team.agent_0/3/model.onnx", agent_1: "team.agent_1/3/model.onnx" },
  });
  assert.ok(merged.files.has("team.agent_1/config.pbtxt"));
  assert.deepEqual(merged.manifest.adapterLayers, []);
});

test("an .onnx_adapter holds all of the single graph's inputs but the rows", (context) => {
  const team = randomTeam({ observationSizes: [4, 4], actionSizes: [2, 2] });
  const { directory } = exportTeam(team, { mode: "factored", repository: temporaryFolder(context) });
  const single = decodeModel(readFileSync(join(directory, "1/single.onnx")), "single");
  const file = decodeOnnxAdapter(readFileSync(join(directory, "adapters/agent_1.onnx_adapter")), "agent_1");
  assert.deepEqual(
    [...file.parameters].map(([name, { dims }]) => [name, dims]),
    single.inputs.filter(({ name }) => name !== "obs").map(({ name, shape }) => [name, shape]),
  );
  assert.deepEqual([...file.parameters.get("agent_id")!.data], [0, 1]);
  const { layers } = readAdapter(join(directory, "adapters/agent_1"));
  const layer = layers.find(({ name }) => name === "mlp.0");
  const folded = file.parameters.get("mlp.0.lora_B.weight")!.data;
  assert.deepEqual([...folded], [...layer!.loraB.data.map((value) => value * 1.5)]);
});

test("exporting again makes the next version and removes the old one", (context) => {
  const repository = temporaryFolder(context);
  const first = exportTeam(randomTeam({ seed: 1 }), { mode: "factored", repository });
  const second = exportTeam(randomTeam({ seed: 2 }), { mode: "merged", repository });
  const third = exportTeam(randomTeam({ seed: 3 }), { mode: "factored", repository });
  assert.deepEqual([first.version, second.version, third.version], ["1", "2", "3"]);
  assert.deepEqual(readdirSync(third.directory).sort(), ["3", "adapters", "model.json"]);
  assert.deepEqual(readdirSync(repository), ["team"]);
});

test("a broken manifest does not stand in the way of the export that mends it", (context) => {
  const repository = temporaryFolder(context);
  const { directory } = exportTeam(randomTeam(), { mode: "stacked", repository });
  writeFileSync(join(directory, "model.json"), "{");
  assertFails(() => readModelManifest(directory), "LORASA_FILE", /JSON/);
  assert.equal(exportTeam(randomTeam(), { mode: "stacked", repository }).version, "1");
});

/** Each makes one file of an export wrong; with the message that must come. */
const FAULTS: readonly [string, ExportMode, string, (bytes: Uint8Array) => Uint8Array, RegExp][] = [
  [
    "a weight of one agent",
    "merged",
    "m.agent_1/1/model.onnx",
    tamperGraph,
    /graph m\.agent_1\/1\/model\.onnx/,
  ],
  ["a weight of the stack", "stacked", "1/team.onnx", tamperGraph, /graph 1\/team\.onnx, output/],
  ["a weight of the team graph", "factored", "1/team.onnx", tamperGraph, /graph 1\/team\.onnx, output/],
  ["a weight of the rows graph", "factored", "1/rows.onnx", tamperGraph, /graph 1\/rows\.onnx, output/],
  [
    "a weight of the single graph",
    "factored",
    "1/single.onnx",
    tamperGraph,
    /graph 1\/single\.onnx with agent_0/,
  ],
  [
    "an adapter in PEFT's format",
    "factored",
    "adapters/agent_1/adapter_model.safetensors",
    tamperPeft,
    /team\.onnx.* of agent_1/,
  ],
  [
    "an .onnx_adapter",
    "factored",
    "adapters/agent_1.onnx_adapter",
    tamperOnnxAdapter,
    /single\.onnx with agent_1/,
  ],
];

for (const [what, mode, path, tamper, message] of FAULTS) {
  test(`verification finds ${what} that is wrong, and the previous export stays`, (context) => {
    const repository = temporaryFolder(context);
    const team = randomTeam({ recurrent: true });
    const { directory } = exportTeam(randomTeam({ seed: 9 }), { mode: "stacked", repository, name: "m" });
    const before = snapshot(repository);
    const sound = exportContents(team, { mode, name: "m", version: 1 });
    const wrong: ExportContents = {
      ...sound,
      files: new Map(sound.files).set(path, tamper(sound.files.get(path)!)),
    };
    assertFails(() => replaceModel(team, directory, wrong), "LORASA_VERIFY", message);
    assert.deepEqual(snapshot(repository), before);
    assert.equal(replaceModel(team, directory, sound).mode, mode, "the sound one passes");
  });
}

test("verification finds a missing output and a choice that is not the best", (context) => {
  const directory = join(temporaryFolder(context), "m");
  const team = randomTeam({ head: "categorical" });
  const sound = exportContents(team, { mode: "stacked", name: "m", version: 1 });
  const graph = decodeModel(sound.files.get("1/team.onnx")!, "team");
  const fails = (changed: typeof graph, message: RegExp): void => {
    const files = new Map([["1/team.onnx", encodeModel(changed)]]);
    assertFails(() => replaceModel(team, directory, { ...sound, files }), "LORASA_VERIFY", message);
  };
  fails(
    { ...graph, outputs: graph.outputs.filter(({ name }) => name !== "logits") },
    /output logits.*received none/,
  );
  const nodes = graph.nodes.map((node) => {
    return node.op === "ArgMax" ? { ...node, inputs: [graph.nodes[0]!.outputs[0]!] } : node;
  });
  fails({ ...graph, nodes }, /output action of/);
});

for (const sharing of SHARINGS) {
  test(`every mode that there is verifies, and the others are refused before anything is written: ${sharing}`, (context) => {
    const team = randomTeam({ sharing, recurrent: true, head: "categorical", actionSizes: [3, 2, 3] });
    for (const mode of MODES) {
      const repository = temporaryFolder(context);
      if (mode === "factored" && !hasFactors(team)) {
        assertFails(
          () => exportTeam(team, { mode, repository }),
          "LORASA_CONFIG",
          /--mode merged or stacked/,
        );
        assert.deepEqual(readdirSync(repository), []);
        continue;
      }
      const { maxAbsDiff } = exportTeam(team, { mode, repository });
      assert.ok(maxAbsDiff < 1e-5, `${mode}: ${maxAbsDiff}`);
    }
  });
}

test("names and folders that cannot be are refused before anything is written", (context) => {
  const repository = temporaryFolder(context);
  const team = randomTeam();
  const refused = { mode: "stacked", repository } as const;
  for (const name of ["", "../x", "a/b", ".hidden", "x".repeat(125)]) {
    assertFails(() => exportTeam(team, { ...refused, name }), "LORASA_NAME", /model name/, name);
  }
  assertFails(
    () => exportTeam(randomTeam({ sharing: "shared" }), { ...refused, mode: "factored" }),
    "LORASA_CONFIG",
    /--mode merged or stacked/,
  );
  assert.deepEqual(readdirSync(repository), []);
  mkdirSync(join(repository, "team"));
  writeFileSync(join(repository, "team", "thesis.txt"), "mine");
  assertFails(() => exportTeam(team, refused), "LORASA_EXISTS", /model\.json/);
  assert.deepEqual(readdirSync(join(repository, "team")), ["thesis.txt"]);
});

/** A hundredth added to one number of a weight that every row meets. */
function tamperGraph(bytes: Uint8Array): Uint8Array {
  const model = decodeModel(bytes, "graph");
  const [name, tensor] = [...model.initializers].find(([key]) => key.endsWith("head.bias"))!;
  const data = (tensor.data as Float32Array).slice();
  data[data.length - 1]! += 0.01;
  return encodeModel({ ...model, initializers: new Map(model.initializers).set(name, { ...tensor, data }) });
}

function tamperPeft(bytes: Uint8Array): Uint8Array {
  const { tensors, metadata } = decodeSafetensors(bytes, "adapter");
  (tensors.get("base_model.model.head.lora_B.weight")!.data as Float32Array)[0]! += 0.01;
  return encodeSafetensors(tensors, metadata);
}

function tamperOnnxAdapter(bytes: Uint8Array): Uint8Array {
  const { parameters, ...versions } = decodeOnnxAdapter(bytes, "adapter");
  (parameters.get("head.lora_B.weight")!.data as Float32Array)[0]! += 0.01;
  return encodeOnnxAdapter(parameters, versions);
}
