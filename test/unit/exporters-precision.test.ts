/** Half-precision exports: what in a graph is float16, what files hold, and what is refused. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { exportContents } from "../../exporters/contents.ts";
import { exportTeam, replaceModel } from "../../exporters/export-team.ts";
import {
  type GraphOptions,
  mergedGraph,
  OPSETS,
  rowsGraph,
  singleGraph,
  stackedGraph,
  teamGraph,
} from "../../exporters/graphs.ts";
import type { Team } from "../../models/team.ts";
import { fromHalf } from "../../src/base/half.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { decodeOnnxAdapter } from "../../src/checkpoint/onnx-adapter.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import { checkModel } from "../../src/onnx/check.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertFails } from "../helpers/fails.ts";
import { type RandomTeamOptions, randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const HALF = { precision: "fp16" } as const;
const MODES = ["merged", "stacked", "factored"] as const;
const UNEQUAL: RandomTeamOptions = { observationSizes: [5, 3], actionSizes: [2, 3], recurrent: true };

function allGraphs(team: Team, options: GraphOptions): [string, OnnxModel][] {
  return [
    ["merged", mergedGraph(team, 1, options)],
    ["stacked", stackedGraph(team, options)],
    ["team", teamGraph(team, options)],
    ["rows", rowsGraph(team, options)],
    ["single", singleGraph(team, options)],
  ];
}

/** Names without scopes of the constants of a type, sorted. */
function constants(model: OnnxModel, dtype: HostTensor["dtype"]): string[] {
  const own = [...model.initializers].filter(([, tensor]) => tensor.dtype === dtype);
  return own
    .map(([name]) => name.split("/").at(-1)!)
    .filter((name) => /\.(weight|bias|log_std)$/.test(name))
    .sort();
}

/** The same team with one number of its backbone changed. */
function withWeight(team: Team, name: string, at: number, value: number): Team {
  const backbone = team.backbone.slice();
  team.parameters.backbone.view(backbone, name).data[at] = value;
  return { ...team, backbone };
}

test("adapters of a float16 graph are float16, every other edge is what it was", () => {
  for (const head of ["squashed-gaussian", "categorical"] as const) {
    const team = randomTeam({ ...UNEQUAL, head });
    const full = allGraphs(team, { sampled: true });
    for (const [at, [name, half]] of allGraphs(team, { ...HALF, sampled: true }).entries()) {
      const expected = full[at]![1].inputs.map((info) =>
        info.name.includes(".lora_") ? { ...info, dtype: "float16" } : info,
      );
      assert.deepEqual(half.inputs, expected, name);
      assert.deepEqual(half.outputs, full[at]![1].outputs, name);
      assert.equal(half.metadata["lorasa.precision"], "fp16");
    }
  }
});

test("linear maps after a normalisation are float16, norms, log-std and the head are float32", () => {
  for (const options of [
    { featureNorm: true, standardise: false },
    { featureNorm: false, standardise: true },
  ]) {
    const team = randomTeam({ ...UNEQUAL, ...options });
    for (const [name, model] of allGraphs(team, { ...HALF, sampled: true })) {
      const halves = constants(model, "float16");
      const layers = ["gru.hidden", "gru.input", "mlp.0", "mlp.1", "post.0"];
      assert.deepEqual(
        halves,
        layers.flatMap((layer) => [`${layer}.bias`, `${layer}.weight`]),
        name,
      );
      const full = constants(model, "float32");
      assert.ok(
        ["head.bias", "head.log_std", "head.weight", "mlp.0.norm.bias"].every((one) => full.includes(one)),
      );
    }
  }
});

test("a layer that reads raw observations is float32, and takes those that float16 cannot hold", () => {
  const team = randomTeam({ observationSizes: [3], actionSizes: [2], featureNorm: false });
  for (const [name, model] of [
    ["merged", mergedGraph(team, 0, HALF)],
    ["single", singleGraph(team, HALF)],
  ] as const) {
    assert.deepEqual(constants(model, "float16"), ["mlp.1.bias", "mlp.1.weight"], name);
    const session = createRuntime().createSession(encodeModel(model));
    const feeds = Object.fromEntries(
      session.inputs.map(({ name: input, dtype, shape }): [string, HostTensor] => {
        const dims = shape.map((size) => (size === "batch" ? 1 : (size as number)));
        const count = dims.reduce((product, size) => product * size, 1);
        if (dtype === "float16") return [input, { dtype, dims, data: new Uint16Array(count).fill(0x3c00) }];
        return [input, floatTensor(dims, input === "obs" ? [1e6, 2e6, -3e6] : new Float32Array(count))];
      }),
    );
    const { action } = session.run(feeds) as Record<string, HostTensor>;
    assert.ok(Array.from(action!.data, Number).every(Number.isFinite), name);
    session.dispose();
  }
});

test("float16 graphs are well formed and load at each operator set", () => {
  const team = randomTeam({ ...UNEQUAL, standardise: true });
  for (const opset of OPSETS) {
    for (const [, model] of allGraphs(team, { ...HALF, opset, sampled: true })) {
      checkModel(model);
      createRuntime().createSession(encodeModel(model)).dispose();
    }
  }
});

test("an export says its precision and what verification found, twice with the same bytes", (context) => {
  const repository = temporaryFolder(context);
  const team = randomTeam(UNEQUAL);
  for (const mode of MODES) {
    const half = exportTeam(team, { mode, repository, name: mode, ...HALF });
    const { precision, verification } = readModelManifest(half.directory);
    assert.equal(precision, "fp16");
    const { maxAbsDiff, maxActionDiff, tolerance, device } = half;
    assert.deepEqual(verification, { maxAbsDiff, maxActionDiff, tolerance, device });
    assert.ok(maxActionDiff > 1e-6 && maxActionDiff <= maxAbsDiff, `${maxActionDiff} of ${maxAbsDiff}`);
    const [first, second] = ["a", "b"].map((name) =>
      exportTeam(team, { mode, repository: join(repository, name), name: mode, ...HALF }),
    );
    for (const path of first!.files) {
      assert.deepEqual(
        readFileSync(join(first!.directory, path)),
        readFileSync(join(second!.directory, path)),
        path,
      );
    }
  }
});

test("a larger graph in float16 is little more than half as large", () => {
  const team = randomTeam({ hidden: [128, 128] });
  const [full, half] = [{}, HALF].map((options) => encodeModel(stackedGraph(team, options)).length);
  assert.ok(half! < 0.55 * full!, `${half} of ${full} bytes`);
});

test("a manifest without a verification is an older one and loads", (context) => {
  const { directory } = exportTeam(randomTeam(), { mode: "stacked", repository: temporaryFolder(context) });
  const path = join(directory, "model.json");
  const { verification, ...older } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  assert.deepEqual(Object.keys(verification as object).sort(), [
    "device",
    "maxAbsDiff",
    "maxActionDiff",
    "tolerance",
  ]);
  writeFileSync(path, JSON.stringify(older));
  assert.equal(readModelManifest(directory).verification, undefined);
});

test("PEFT's files are float32 as ever, an .onnx_adapter is the single graph's inputs", () => {
  const team = randomTeam(UNEQUAL);
  const options = { mode: "factored", name: "team", version: 1 } as const;
  const [full, half] = [{}, HALF].map((own) => exportContents(team, { ...options, ...own }).files);
  const peft = [...full!.keys()].filter((path) => path.includes("adapter_"));
  assert.equal(peft.length, 4);
  for (const path of peft) assert.deepEqual(half!.get(path), full!.get(path), path);
  const path = "adapters/agent_1.onnx_adapter";
  const [exact, rounded] = [full!, half!].map(
    (files) => decodeOnnxAdapter(files.get(path)!, path).parameters,
  );
  const inputs = singleGraph(team, HALF).inputs.filter(({ name }) => exact!.has(name));
  assert.deepEqual(
    [...rounded!].map(([name, { dtype, dims }]) => ({ name, dtype, shape: dims })),
    inputs,
  );
  const name = "mlp.0.lora_B.weight";
  const [wanted, given] = [exact!.get(name)!.data, fromHalf(rounded!.get(name)!.data as Uint16Array)];
  for (const [at, value] of given.entries()) {
    assert.ok(Math.abs(value - Number(wanted[at])) <= 2 ** -11 * Math.abs(Number(wanted[at])), `${at}`);
  }
});

test("numbers that float16 does not hold are refused with their layer", (context) => {
  const repository = temporaryFolder(context);
  const team = randomTeam();
  const huge = withWeight(team, "mlp.1.weight", 3, -70_000);
  for (const mode of ["stacked", "factored"] as const) {
    const message = /mlp\.1\.weight in float16: .*65504, received -70000.*--precision fp32/;
    assertFails(() => exportTeam(huge, { mode, repository, ...HALF }), "LORASA_RANGE", message, mode);
  }
  const adapters = team.adapters!.slice();
  // 50,000 fits; folded with a scale of 1.5 it does not.
  team.parameters.adapters!.view(adapters, "mlp.0.lora_B", 2).data[1] = 50_000;
  assertFails(
    () => exportTeam({ ...team, adapters }, { mode: "factored", repository, ...HALF }),
    "LORASA_RANGE",
    /mlp\.0\.lora_B\.weight in float16: .*received 75000 at index 1/,
  );
  // The head is float32.
  const head = withWeight(randomTeam({ sharing: "shared" }), "head.bias", 0, 70_000);
  assert.equal(exportTeam(head, { mode: "stacked", repository, ...HALF }).precision, "fp16");
});

test("float16 that differs by more than is allowed is refused, and nothing is written", (context) => {
  const repository = temporaryFolder(context);
  const team = randomTeam(UNEQUAL);
  const options = { mode: "factored", repository, ...HALF } as const;
  const { maxAbsDiff } = exportTeam(team, options);
  const before = readModelManifest(join(repository, "team"));
  assertFails(
    () => exportTeam(team, { ...options, maxDifference: maxAbsDiff / 100 }),
    "LORASA_VERIFY",
    /at most .* from the trained network, received .*--max-difference/,
  );
  assert.deepEqual(readModelManifest(join(repository, "team")), before);
  const allowed = exportTeam(team, { ...options, maxDifference: 0.5 });
  assert.deepEqual([allowed.tolerance, allowed.maxAbsDiff], [0.5, maxAbsDiff]);
});

test("verification of float16 finds an adapter of other numbers, in either file", (context) => {
  const directory = join(temporaryFolder(context), "m");
  const team = randomTeam({ ...UNEQUAL, seed: 4 });
  const options = { mode: "factored", name: "m", version: 1, ...HALF } as const;
  const sound = exportContents(team, options);
  const other = exportContents(randomTeam({ ...UNEQUAL, seed: 5 }), options);
  for (const [path, message] of [
    ["adapters/agent_1/adapter_model.safetensors", /team\.onnx, output .* of agent_1/],
    ["adapters/agent_1.onnx_adapter", /single\.onnx with agent_1/],
  ] as const) {
    const files = new Map(sound.files).set(path, other.files.get(path)!);
    assertFails(() => replaceModel(team, directory, { ...sound, files }), "LORASA_VERIFY", message);
  }
});

test("precisions that are not written are refused, int8 with the reason", (context) => {
  const options = { mode: "stacked", repository: temporaryFolder(context) } as const;
  // From a command line or JavaScript any text may come.
  const refused = (precision: string, message: RegExp): void =>
    assertFails(
      () => exportTeam(randomTeam(), { ...options, precision: precision as "fp32" }),
      "LORASA_CONFIG",
      message,
    );
  refused("int8", /expected fp32 or fp16, received int8; int8 measured/);
  refused("half", /expected fp32 or fp16, received half/);
  refused("toString", /received toString/);
  const fixed = { ...options, maxDifference: 0.1 };
  assertFails(() => exportTeam(randomTeam(), fixed), "LORASA_CONFIG", /fp32 is held to 0\.00001/);
  for (const maxDifference of [0, -1, Number.NaN]) {
    const wrong = { ...options, ...HALF, maxDifference };
    assertFails(() => exportTeam(randomTeam(), wrong), "LORASA_CONFIG", /a number above 0/);
  }
});

test("WebGPU has a kernel for every node of float16 graphs", { skip: NO_WEBGPU }, () => {
  const runtime = createRuntime("webgpu");
  for (const head of ["squashed-gaussian", "categorical"] as const) {
    const team = randomTeam({ ...UNEQUAL, head, standardise: true });
    for (const [name, model] of allGraphs(team, { ...HALF, sampled: true })) {
      const session = runtime.createSession(encodeModel(model));
      assert.deepEqual(session.cpuNodes, [], name);
      session.dispose();
    }
  }
});

test("exports are verified on the device that is named", { skip: NO_WEBGPU }, (context) => {
  const team = randomTeam(UNEQUAL);
  const options = { mode: "factored", repository: temporaryFolder(context), device: "webgpu" } as const;
  const full = exportTeam(team, options);
  assert.deepEqual(readModelManifest(full.directory).verification?.device, "webgpu");
  assert.ok(full.maxAbsDiff > 0);
  // The software driver has no half precision: then that is what the error says.
  try {
    assert.ok(exportTeam(team, { ...options, ...HALF }).maxAbsDiff > 1e-6);
  } catch (error) {
    assertFails(
      () => {
        throw error;
      },
      "LORASA_DEVICE",
      /half precision.*--precision fp32/,
    );
  }
});
