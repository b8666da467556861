/** `inspect` on everything that lorasa writes, and on what it does not know. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { exportTeam } from "../../exporters/export-team.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { inspectPath } from "../../src/cli/inspect.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { train } from "../../src/training/run.ts";
import { assertFails } from "../helpers/fails.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

/** A repository of two exported models. */
function repository(context: TestContext): string {
  const folder = temporaryFolder(context);
  const team = randomTeam({ observationSizes: [4, 5], actionSizes: [2, 3], recurrent: true });
  exportTeam(team, { repository: folder, name: "adapters", mode: "factored" });
  exportTeam(team, { repository: folder, name: "plain", mode: "merged" });
  return folder;
}

test("a run and its checkpoint: parameters of the backbone and of each agent, and their share", async (context) => {
  const folder = temporaryFolder(context);
  await train({ config: tinyConfig({ switchAt: 0.5 }), directory: folder, runtime: createRuntime() });
  const { json, text } = inspectPath(join(folder, "checkpoint"));
  assert.equal(json.kind, "checkpoint");
  const parameters = json["parameters"] as Record<string, number>;
  // Feature norm 9 + 9; linear, norm, linear, norm of 9 → 8; GRU 2 × (8·24 + 24) and its norm; block; head 8·3 + 3 + 3.
  const block = (inSize: number): number => inSize * 8 + 8 + 16;
  assert.equal(parameters["backbone"], 18 + block(9) + 2 * (8 * 24 + 24) + 16 + block(8) + 30);
  const pair = (inSize: number, out: number): number => 2 * (inSize + out);
  const adapter = pair(9, 8) + 2 * pair(8, 24) + pair(8, 8) + pair(8, 3) + 3;
  assert.equal(parameters["adapterPerAgent"], adapter);
  assert.equal(json["adapterShare"], adapter / parameters["backbone"]!);
  assert.match(text, /mujoco\/HalfCheetah-2x3, 2 agents/);
  assert.match(text, new RegExp(`${adapter} parameters an agent`));
  assert.match(text, /gru\.hidden +8 +24 +2 +1\.5 +64/);
  assert.deepEqual(inspectPath(join(folder, "checkpoint", "lorasa.json")).json, json);
  const run = inspectPath(folder);
  assert.equal(run.json.kind, "run");
  assert.deepEqual(run.json["checkpoint"], json);
  assert.match(run.text, /metrics\.jsonl/);
  const file = join(folder, "checkpoint", "critic.safetensors");
  const bytes = readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(file, bytes);
  assertFails(() => inspectPath(folder), "LORASA_CHECKSUM", /critic\.safetensors/);
});

test("a repository lists its models, a model its agents, layers and files", (context) => {
  const folder = repository(context);
  const all = inspectPath(folder);
  const models = all.json["models"] as { name: string; mode: string }[];
  assert.deepEqual(
    models.map(({ name, mode }) => [name, mode]),
    [
      ["adapters", "factored"],
      ["plain", "merged"],
    ],
  );
  assert.match(all.text, /adapters +1 +factored +test\/Random +2/);
  const model = inspectPath(join(folder, "adapters"));
  assert.equal(model.json.kind, "model");
  assert.match(model.text, /agent_1 +5 +3/);
  assert.match(model.text, /1\/team\.onnx/);
  assert.match(inspectPath(join(folder, "plain", "model.json")).text, /merged/);
  writeFileSync(join(folder, "plain", "plain.agent_0", "config.pbtxt"), "changed");
  assertFails(
    () => inspectPath(join(folder, "plain")),
    "LORASA_CHECKSUM",
    /config\.pbtxt.*export the model again/,
  );
});

test("a graph shows what it takes and gives, and its nodes when asked", (context) => {
  const path = join(repository(context), "adapters", "1", "team.onnx");
  const { json, text } = inspectPath(path);
  assert.equal(json.kind, "onnx");
  const inputs = json["inputs"] as { name: string; shape: unknown }[];
  assert.deepEqual(inputs.find(({ name }) => name === "obs")?.shape, [2, "envs", 5]);
  assert.match(text, /hidden_out +float32 +\[2, envs, 8\]/);
  assert.match(text, /operator set 15/);
  assert.match(text, /lorasa\.mode +factored/);
  assert.doesNotMatch(text, / = MatMul\(/);
  assert.match(inspectPath(path, true).text, / = MatMul\(/);
});

test("adapters of both formats", (context) => {
  const folder = join(repository(context), "adapters", "adapters");
  const peft = inspectPath(join(folder, "agent_0"));
  assert.equal(peft.json.kind, "peft-adapter");
  assert.match(String(peft.json["backboneSha256"]), /^[0-9a-f]{64}$/);
  const layers = peft.json["layers"] as { name: string; in: number; out: number; rank: number }[];
  // Five observations and two ids; a log-std of three has B alone.
  assert.deepEqual(
    layers.find(({ name }) => name === "mlp.0"),
    { name: "mlp.0", in: 7, out: 8, rank: 2, scale: 1.5 },
  );
  const counted = layers.reduce(
    (sum, { in: inSize, out, rank }) => sum + (inSize > 1 ? inSize * rank : 0) + rank * out,
    0,
  );
  assert.equal(peft.json["parameters"], counted);
  const onnx = inspectPath(join(folder, "agent_0.onnx_adapter"));
  assert.equal(onnx.json.kind, "onnx-adapter");
  assert.match(onnx.text, /mlp\.0\.lora_A\.weight +float32 +\[7, 2\] +14/);
});

test("a tensor file: shapes, metadata and whether all is finite", (context) => {
  const folder = temporaryFolder(context);
  const tensors = new Map([
    ["a", floatTensor([2, 3], [1, 2, 3, 4, 5, 6])],
    ["b", floatTensor([1], [Number.NaN])],
  ]);
  const path = join(folder, "x.safetensors");
  writeFileSync(path, encodeSafetensors(tensors, { made: "by hand" }));
  const { json, text } = inspectPath(path);
  assert.equal(json["elements"], 7);
  assert.equal(json["finite"], false);
  assert.match(text, /NaN or infinity among them/);
  assert.match(text, /made +by hand/);
  assert.match(text, /a +float32 +\[2, 3\] +6/);
});

test("what is missing, unknown or broken is one line", (context) => {
  const folder = temporaryFolder(context);
  const file = (name: string, contents: string): string => {
    writeFileSync(join(folder, name), contents);
    return join(folder, name);
  };
  mkdirSync(join(folder, "empty"));
  const cases = [
    [join(folder, "none"), /expected a file or folder, received none/],
    [join(folder, "empty"), /none of their manifests/],
    [file("notes.txt", "hello"), /\.onnx.*received a file of \.txt/],
    [file("README", "hello"), /without an ending/],
    [file("a.onnx", "not a model at all"), /a\.onnx/],
    [file("a.safetensors", "{}"), /truncated/],
    [file("a.onnx_adapter", "not an adapter"), /onnx_adapter/],
    [file("lorasa.json", "{"), /lorasa\.json|JSON/],
  ] as const;
  for (const [path, message] of cases) assertFails(() => inspectPath(path), "LORASA_FILE", message, path);
});
