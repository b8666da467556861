/** A backbone lies in the device's memory once, however many sessions read it, and as long as one of them does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { mergedGraph, rowsGraph, singleGraph, stackedGraph, teamGraph } from "../../exporters/graphs.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { OnnxModel } from "../../src/onnx/model.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Session, SharedWeight } from "../../src/runtime/session.ts";
import { assertClose } from "../helpers/close.ts";
import { assertFails } from "../helpers/fails.ts";
import { randomFeeds } from "../helpers/random-feeds.ts";
import { randomTeam } from "../helpers/team.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** Wide enough that layers are shared; biases of 24 are not. */
const WIDE = { hidden: [24, 24], recurrent: true } as const;
const TEAM = randomTeam(WIDE);

const gpu = () => createRuntime("webgpu");
const residentBytes = (): number => gpu().residentBytes;

function open(model: OnnxModel, shareWeights = true): Session {
  return gpu().createSession(encodeModel(model), { shareWeights });
}

function distinctBytes(weights: readonly SharedWeight[]): number {
  const bytes = new Map(weights.map((weight) => [weight.sha256, weight.bytes]));
  return [...bytes.values()].reduce((sum, each) => sum + each, 0);
}

/** Sizes that are open in a graph of rows or of a team, as numbers. */
function fixed(model: OnnxModel): OnnxModel["inputs"] {
  return model.inputs.map((input) => ({
    ...input,
    shape: input.shape.map((size) => (typeof size === "string" ? 3 : size)),
  }));
}

test("every graph of a team reads one backbone, which goes with the last of their sessions", { skip }, () => {
  const before = residentBytes();
  const sessions = [teamGraph(TEAM), rowsGraph(TEAM), singleGraph(TEAM), teamGraph(TEAM)].map((model) =>
    open(model),
  );
  const [team] = sessions;
  const backbone = distinctBytes(team!.sharedWeights);
  // Two hidden layers, the GRU's two and the head; smaller ones are folded by the library.
  assert.ok(backbone >= 4 * (2 * 24 * 24 + 2 * 3 * 24 * 24), `${backbone} bytes are shared`);
  for (const { sharedWeights } of sessions) assert.equal(distinctBytes(sharedWeights), backbone);
  assert.equal(residentBytes() - before, backbone);
  for (const [at, session] of sessions.entries()) {
    session.dispose();
    session.dispose();
    assert.equal(residentBytes() - before, at < sessions.length - 1 ? backbone : 0);
  }
  open(teamGraph(TEAM)).dispose();
  assert.equal(residentBytes(), before, "it can be loaded again");
});

test("another backbone shares nothing with it, layers that are alike are one", { skip }, () => {
  const before = residentBytes();
  const [own, other] = [teamGraph(TEAM), teamGraph(randomTeam({ ...WIDE, seed: 2 }))].map((model) =>
    open(model),
  );
  assert.equal(residentBytes() - before, 2 * distinctBytes(own!.sharedWeights));
  own!.dispose();
  assert.equal(residentBytes() - before, distinctBytes(other!.sharedWeights));
  other!.dispose();
  const merged = [0, 1].map((agent) => open(mergedGraph(TEAM, agent)));
  assert.equal(
    residentBytes() - before,
    distinctBytes(merged.flatMap(({ sharedWeights }) => sharedWeights)),
    "adapters are merged into each agent's own",
  );
  for (const session of merged) session.dispose();
  assert.equal(residentBytes(), before);
});

test("with shared weights a graph gives the same bits as with its own, and names no input of them", {
  skip,
}, () => {
  for (const [name, model] of Object.entries({
    stacked: stackedGraph(TEAM),
    merged: mergedGraph(TEAM, 1),
    team: teamGraph(TEAM),
  })) {
    const [shared, own] = [open(model), open(model, false)];
    assert.ok(shared.sharedWeights.length > 0);
    assert.deepEqual(own.sharedWeights, []);
    assert.deepEqual(shared.inputs, own.inputs, name);
    assert.deepEqual(shared.outputs, own.outputs, name);
    const feeds = randomFeeds(fixed(model));
    assert.deepEqual(shared.run(feeds), own.run(feeds), name);
    const cpu = createRuntime().createSession(encodeModel(model));
    const expected = cpu.run(feeds);
    for (const [output, tensor] of Object.entries(shared.run(feeds))) {
      assert.ok("data" in tensor && "data" in expected[output]!);
      assertClose(
        tensor.data as Float32Array,
        expected[output].data as Float32Array,
        { atol: 1e-5 },
        `${name}: ${output}`,
      );
    }
    for (const session of [shared, own, cpu]) session.dispose();
  }
});

test("a graph that does not load gives back the weights that it took", { skip }, () => {
  const before = residentBytes();
  const weight = floatTensor([32, 32]);
  const broken: OnnxModel = {
    irVersion: 8,
    opset: 15,
    name: "broken",
    inputs: [{ name: "x", dtype: "float32", shape: ["rows", 16] }],
    outputs: [{ name: "y", dtype: "float32", shape: ["rows", 32] }],
    initializers: new Map([["weight", weight]]),
    nodes: [{ name: "m", op: "MatMul", inputs: ["x", "weight"], outputs: ["y"], attributes: {} }],
    metadata: {},
  };
  assertFails(() => open(broken), "LORASA_DEVICE", /^loading a graph on device webgpu: [^\n/]*$/);
  assert.equal(residentBytes(), before);
});
