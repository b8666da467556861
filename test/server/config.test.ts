/** A model's configuration and metadata as clients of Triton read them. Not the routes that show them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServedModel } from "../../server/engine/service.ts";
import { type ModelFacts, modelConfig } from "../../server/protocol/config.ts";
import type { Datatype } from "../../server/protocol/datatypes.ts";
import { modelMetadata, serverMetadata } from "../../server/protocol/metadata.ts";

const FACTS: ModelFacts = {
  version: "3",
  mode: "factored",
  environment: "test/Tiny",
  backboneSha256: "ab".repeat(32),
  agents: ["agent_0", "agent_1", "agent_2"],
  device: "cpu",
  queueDelayMicroseconds: 0,
  queueLimit: 1024,
  rowLimit: 65_536,
  sequenceIdleMicroseconds: 60_000_000,
  sequenceLimit: 4096,
};

const TEAM = model("team", [
  ["obs", "FP32", [-1, 3, 17]],
  ["action_mask", "FP32", [-1, 3, 5]],
]);

const RECURRENT = model(
  "team.agent_0",
  [
    ["obs", "FP32", [-1, 17]],
    ["hidden_in", "FP32", [-1, 8]],
  ],
  [
    ["action", "INT64", [-1, 1]],
    ["hidden_out", "FP32", [-1, 8]],
  ],
);

test("sizes leave out the batch, and the largest batch is what the row limit holds of whole teams", () => {
  const config = read(TEAM, FACTS);
  assert.equal(config["max_batch_size"], Math.floor(65_536 / 3));
  assert.deepEqual(
    list(config["input"]).map(({ name, dims, data_type }) => ({ name, dims, data_type })),
    [
      { name: "obs", dims: [3, 17], data_type: "TYPE_FP32" },
      { name: "action_mask", dims: [3, 5], data_type: "TYPE_FP32" },
    ],
  );
  const { agents: _, ...one } = FACTS;
  assert.equal(read(RECURRENT, one)["max_batch_size"], 65_536);
  assert.deepEqual(
    list(read(RECURRENT, one)["output"]).map(({ data_type, dims }) => [data_type, dims]),
    [
      ["TYPE_INT64", [1]],
      ["TYPE_FP32", [8]],
    ],
  );
});

test("only what the server fills is optional: clients leave out what is", () => {
  const optional = (served: ServedModel) =>
    list(read(served, FACTS)["input"])
      .filter((input) => input["optional"])
      .map(({ name }) => name);
  assert.deepEqual(optional(TEAM), ["action_mask"]);
  assert.deepEqual(optional(RECURRENT), ["hidden_in"]);
});

test("every input and output of the configuration is one of the metadata, whose first size is the batch", () => {
  for (const served of [TEAM, RECURRENT]) {
    const config = read(served, FACTS);
    const metadata = modelMetadata(served, FACTS) as Record<string, unknown>;
    for (const [inConfig, inMetadata] of [
      ["input", "inputs"],
      ["output", "outputs"],
    ] as const) {
      assert.deepEqual(
        list(config[inConfig]).map(({ name, dims }) => [name, [-1, ...(dims as number[])]]),
        list(metadata[inMetadata]).map(({ name, shape }) => [name, shape]),
      );
    }
  }
});

test("a model of its own state is a sequence model and no other: clients tell by the key", () => {
  const recurrent = read(RECURRENT, FACTS);
  assert.equal("dynamic_batching" in recurrent, false);
  const { state, max_sequence_idle_microseconds } = recurrent["sequence_batching"] as Record<string, unknown>;
  assert.equal(max_sequence_idle_microseconds, 60_000_000);
  assert.deepEqual(
    list(state).map(({ input_name, output_name, dims }) => [input_name, output_name, dims]),
    [["hidden_in", "hidden_out", [8]]],
  );
  const plain = read(TEAM, FACTS);
  assert.equal("sequence_batching" in plain, false);
  const { default_queue_policy } = plain["dynamic_batching"] as Record<string, Record<string, unknown>>;
  assert.equal(default_queue_policy?.["max_queue_size"], 1024);
});

test("keys that would make a client take the model for another kind are absent", () => {
  const config = read(TEAM, FACTS);
  for (const key of ["ensemble_scheduling", "model_transaction_policy", "response_cache"]) {
    assert.equal(key in config, false, key);
  }
});

test("the instance group says where it runs", () => {
  const kind = (device: ModelFacts["device"]) =>
    list(read(TEAM, { ...FACTS, device })["instance_group"]).map((group) => [group["kind"], group["gpus"]]);
  assert.deepEqual(kind("cpu"), [["KIND_CPU", []]]);
  assert.deepEqual(kind("cuda"), [["KIND_GPU", [0]]]);
});

test("parameters and properties tell the same facts", () => {
  const parameters = read(TEAM, FACTS)["parameters"] as Record<string, { string_value: string }>;
  const { properties } = modelMetadata(TEAM, FACTS) as { properties: Record<string, string> };
  assert.equal(properties["lorasa.agents"], "agent_0,agent_1,agent_2");
  assert.deepEqual(
    Object.fromEntries(Object.entries(parameters).map(([key, value]) => [key, value.string_value])),
    properties,
  );
  const { agents: _, ...one } = FACTS;
  const own = modelMetadata(RECURRENT, one) as { properties: object };
  assert.equal("lorasa.agents" in own.properties, false);
});

test("warm-up names every input with the size that it has", () => {
  const [warmup] = list(read(RECURRENT, FACTS)["model_warmup"]);
  assert.deepEqual(warmup?.["inputs"], {
    obs: { data_type: "TYPE_FP32", dims: [17], zero_data: true },
    hidden_in: { data_type: "TYPE_FP32", dims: [8], zero_data: true },
  });
});

test("statistics are announced, and nothing that the server does not have", () => {
  const { extensions } = serverMetadata() as { extensions: string[] };
  assert.ok(extensions.includes("statistics"));
  for (const absent of ["classification", "system_shared_memory", "cuda_shared_memory", "trace", "logging"]) {
    assert.equal(extensions.includes(absent), false, absent);
  }
});

type Row = readonly [name: string, datatype: Datatype, shape: readonly number[]];

function model(name: string, inputs: readonly Row[], outputs: readonly Row[] = []): ServedModel {
  const tensors = (rows: readonly Row[]) =>
    rows.map(([own, datatype, shape]) => ({ name: own, datatype, shape }));
  return { name, inputs: tensors(inputs), outputs: tensors(outputs) };
}

function read(served: ServedModel, facts: ModelFacts): Record<string, unknown> {
  return JSON.parse(JSON.stringify(modelConfig(served, facts))) as Record<string, unknown>;
}

function list(value: unknown): readonly Record<string, unknown>[] {
  assert.ok(Array.isArray(value));
  return value as readonly Record<string, unknown>[];
}
