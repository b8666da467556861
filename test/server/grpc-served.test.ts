/** The gRPC door over the engine: the same numbers as over HTTP, sequences over a stream, and what models say of themselves. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { startServer } from "../../server/app.ts";
import { messageType } from "../../server/grpc/definitions.ts";
import { type ModelFacts, modelConfig } from "../../server/protocol/config.ts";
import { Random } from "../../src/base/random.ts";
import { assertClose } from "../helpers/close.ts";
import { collect, encode, GrpcClient, type Json } from "../helpers/grpc-client.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { type TinyOptions, writeTinyRepository } from "../helpers/tiny-models.ts";

const FACTS: ModelFacts = {
  version: "1",
  mode: "factored",
  environment: "tiny",
  backboneSha256: "00",
  agents: ["agent_0", "agent_1"],
  device: "cpu",
  queueDelayMicroseconds: 50,
  queueLimit: 64,
  rowLimit: 1024,
  sequenceIdleMicroseconds: 2 ** 40,
  sequenceLimit: 10,
};

const TOKEN = "a token for tests";

/** Both doors of one server of one tiny model. */
async function serveBoth(context: TestContext, model: TinyOptions) {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [model]);
  const server = await startServer({ repository, port: 0, grpcPort: 0, token: TOKEN, logLevel: "silent" });
  const port = Number(server.grpcUrl?.split(":").at(-1));
  const clients = [new GrpcClient(port), new GrpcClient(port, TOKEN)] as const;
  context.after(async () => {
    for (const client of clients) client.close();
    await server.close();
  });
  return { url: server.url, client: clients[0], manager: clients[1] };
}

interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

function tensor(name: string, shape: readonly number[], seed: number): Tensor {
  const random = new Random(seed);
  const count = shape.reduce((product, size) => product * size, 1);
  return { name, shape, data: Float32Array.from({ length: count }, () => random.normal()) };
}

function datatype({ data }: Tensor): "INT32" | "FP32" {
  return data instanceof Int32Array ? "INT32" : "FP32";
}

async function overHttp(
  url: string,
  model: string,
  inputs: readonly Tensor[],
): Promise<Record<string, number[]>> {
  const body = {
    inputs: inputs.map((input) => ({
      name: input.name,
      datatype: datatype(input),
      shape: input.shape,
      data: [...input.data],
    })),
  };
  const reply = await fetch(`${url}/v2/models/${model}/infer`, {
    method: "POST",
    body: JSON.stringify(body),
  });
  const { outputs } = (await reply.json()) as { outputs: { name: string; data: number[] }[] };
  return Object.fromEntries(outputs.map(({ name, data }) => [name, data]));
}

function request(model: string, inputs: readonly Tensor[], typed: boolean, more: Json = {}): Json {
  return {
    model_name: model,
    inputs: inputs.map((input) => ({
      name: input.name,
      datatype: datatype(input),
      shape: input.shape,
      ...(typed && {
        contents: { [datatype(input) === "INT32" ? "int_contents" : "fp32_contents"]: [...input.data] },
      }),
    })),
    ...(!typed && { raw_input_contents: inputs.map(({ data }) => Buffer.from(data.slice().buffer)) }),
    ...more,
  };
}

function numbers(reply: Json): Record<string, Float32Array> {
  const raw = reply["raw_output_contents"] as Buffer[];
  const outputs = reply["outputs"] as { name: string; datatype: string }[];
  return Object.fromEntries(
    outputs.map(({ name, datatype: type }, at) => {
      assert.equal(type, "FP32");
      return [name, new Float32Array(new Uint8Array(raw[at]!).buffer)];
    }),
  );
}

for (const mode of ["merged", "stacked", "factored"] as const) {
  test(`${mode}: the same numbers as over HTTP, raw and typed`, async (context) => {
    const { url, client } = await serveBoth(context, { mode, hidden: 4 });
    const hidden = tensor("hidden_in", [3, 2, 4], 2);
    const asked: readonly (readonly [string, readonly Tensor[]])[] = [
      ["team", [tensor("obs", [3, 2, 3], 1), hidden]],
      [
        "team",
        [
          tensor("obs", [3, 3], 3),
          tensor("hidden_in", [3, 4], 4),
          { name: "agent", shape: [3], data: Int32Array.of(1, 0, 1) },
        ],
      ],
      ["team.agent_1", [tensor("obs", [5, 3], 5), tensor("hidden_in", [5, 4], 6)]],
    ];
    for (const [model, inputs] of asked) {
      const expected = await overHttp(url, model, inputs);
      for (const typed of [false, true]) {
        const actual = numbers(await client.call("ModelInfer", request(model, inputs, typed)));
        assert.deepEqual(Object.keys(actual), Object.keys(expected), model);
        for (const [name, data] of Object.entries(actual))
          assertClose(data, expected[name]!, {}, `${model} ${name}`);
      }
    }
  });
}

test("what a model refuses is refused here, in the words of the engine", async (context) => {
  const { client } = await serveBoth(context, { mode: "factored" });
  const refused = (fields: Json, code: string, details: RegExp): Promise<void> =>
    assert.rejects(client.call("ModelInfer", fields), { code, details });
  await refused(request("nobody", [], false), "NOT_FOUND", /LORASA_UNKNOWN_MODEL/);
  await refused(request("team", [], false), "INVALID_ARGUMENT", /obs/);
  await refused(
    request("team", [tensor("obs", [1, 2, 4], 1)], false),
    "INVALID_ARGUMENT",
    /LORASA_SHAPE.*obs/,
  );
  await refused(
    request("team", [tensor("obs", [1, 2, 3], 1)], false, { model_version: "9" }),
    "NOT_FOUND",
    /9/,
  );
  await refused(
    request("team.agent_0", [tensor("obs", [1, 3], 1)], false, {
      parameters: { adapter_id: { string_param: "nobody" } },
    }),
    "NOT_FOUND",
    /LORASA_UNKNOWN_ADAPTER.*nobody/,
  );
});

test("a sequence over a stream: the server holds the state, each answer follows from the one before", async (context) => {
  const { url, client } = await serveBoth(context, { mode: "stacked", hidden: 4 });
  const steps = [0, 1, 2, 3].map((step) => tensor("obs", [1, 2, 3], step));
  const stream = client.stream();
  for (const [at, obs] of steps.entries()) {
    const parameters = {
      // Beyond 2^53, as a client that draws 64 random bits has it.
      sequence_id: { uint64_param: "18446744073709551615" },
      sequence_start: { bool_param: at === 0 },
      sequence_end: { bool_param: at === 3 },
    };
    stream.write(encode("ModelInferRequest", request("team", [obs], false, { parameters })));
  }
  stream.end();
  const { messages } = await collect(stream);
  let hidden: Tensor = { name: "hidden_in", shape: [1, 2, 4], data: new Float32Array(8) };
  for (const [at, obs] of steps.entries()) {
    const expected = await overHttp(url, "team", [obs, hidden]);
    const actual = numbers(messages[at]!["infer_response"] as Json);
    assertClose(actual["action"]!, expected["action"]!, {}, `action of step ${at}`);
    hidden = { ...hidden, data: Float32Array.from(expected["hidden_out"]!) };
  }
});

test("many requests at once, in one stream and in calls, each with its own numbers", async (context) => {
  const { url, client } = await serveBoth(context, { mode: "factored" });
  const inputs = Array.from({ length: 40 }, (_, at) => tensor("obs", [1 + (at % 5), 2, 3], at));
  const stream = client.stream();
  for (const obs of inputs) stream.write(encode("ModelInferRequest", request("team", [obs], false)));
  stream.end();
  const [{ messages }, ...replies] = await Promise.all([
    collect(stream),
    ...inputs.map((obs) => client.call("ModelInfer", request("team", [obs], false))),
  ]);
  for (const [at, obs] of inputs.entries()) {
    const expected = (await overHttp(url, "team", [obs]))["action"]!;
    assertClose(numbers(replies[at]!)["action"]!, expected, {}, `call ${at}`);
    assertClose(numbers(messages[at]!["infer_response"] as Json)["action"]!, expected, {}, `stream ${at}`);
  }
  const [stats] = (await client.call("ModelStatistics", { name: "team" }))["model_stats"] as [Json];
  assert.equal((stats["inference_stats"] as Record<string, Json>)["success"]!["count"], "120");
});

test("what a model says of itself is what it says over HTTP", async (context) => {
  const { url, client } = await serveBoth(context, { mode: "factored" });
  const [server, model] = await Promise.all(
    ["/v2", "/v2/models/team.agent_1"].map(async (path) => (await (await fetch(url + path)).json()) as Json),
  );
  assert.deepEqual(await client.call("ServerMetadata"), server);
  const metadata = await client.call("ModelMetadata", { name: "team.agent_1" });
  assert.deepEqual(JSON.parse(JSON.stringify(metadata, numeric)), JSON.parse(JSON.stringify(model, numeric)));
});

test("the repository over the engine: for the one with the token, and requests follow", async (context) => {
  const { client, manager } = await serveBoth(context, { mode: "factored" });
  const ask = request("team", [tensor("obs", [1, 2, 3], 1)], false);
  await assert.rejects(client.call("RepositoryIndex"), { code: "UNAUTHENTICATED" });
  await assert.rejects(client.call("RepositoryModelUnload", { model_name: "team" }), {
    code: "UNAUTHENTICATED",
  });
  assert.deepEqual(await client.call("Check", { service: "team" }), { status: "SERVING" });
  await manager.call("RepositoryModelUnload", { model_name: "team" });
  await assert.rejects(client.call("ModelInfer", ask), { code: "NOT_FOUND" });
  await assert.rejects(client.call("Check", { service: "team" }), { code: "NOT_FOUND" });
  await manager.call("RepositoryModelLoad", { model_name: "team" });
  assert.equal((await client.call("ModelInfer", ask))["model_name"], "team");
  const { models } = await manager.call("RepositoryIndex", { ready: true });
  assert.ok((models as Json[]).some(({ name, state }) => name === "team" && state === "READY"));
  await assert.rejects(
    manager.call("RepositoryModelLoad", { model_name: "../team" }),
    ({ code, details }) => {
      assert.match(code, /NOT_FOUND|INVALID_ARGUMENT/);
      assert.doesNotMatch(details, /\/(tmp|work|home)/);
      return true;
    },
  );
});

for (const hidden of [0, 4]) {
  test(`a ${hidden > 0 ? "recurrent " : ""}model's configuration is in its message whole`, async (context) => {
    const { client } = await serveBoth(context, { mode: "factored", hidden });
    const inputs = [{ name: hidden > 0 ? "hidden_in" : "obs", datatype: "FP32" as const, shape: [-1, 2, 4] }];
    const outputs = [{ name: "hidden_out", datatype: "FP32" as const, shape: [-1, 2, 4] }];
    const expected = modelConfig({ name: "team", inputs, outputs }, FACTS);
    const type = messageType("inference.ModelConfig");
    const decoded = type.decode(type.encode(type.fromObject(expected)).finish());
    assertHolds(type.toObject(decoded, { longs: Number, enums: String, defaults: true }), expected, "config");
    const { config } = await client.call("ModelConfig", { name: "team" });
    assert.equal((config as Json)["name"], "team");
    assert.equal("sequence_batching" in (config as Json), hidden > 0);
    assert.equal("dynamic_batching" in (config as Json), hidden === 0);
  });
}

/** Sizes are texts where 64-bit integers are. */
function numeric(_key: string, value: unknown): unknown {
  return typeof value === "string" && /^-?\d{1,9}$/.test(value) ? Number(value) : value;
}

/** Asserts that everything of `expected` is in `actual`, which may hold defaults beside it. */
function assertHolds(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected !== "object" || expected === null) {
    assert.deepEqual(actual, expected, where);
    return;
  }
  for (const [key, value] of Object.entries(expected)) {
    // Empty lists of what this server never fills are the same as none.
    if (Array.isArray(value) && value.length === 0) continue;
    assertHolds((actual as Json | undefined)?.[key], value, `${where}.${key}`);
  }
}
