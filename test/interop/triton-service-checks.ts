/** Checks of what Triton's clients ask of a server and its models beside inference. */
import assert from "node:assert/strict";
import { checkAction, NOT_FOUND, type Subject, TEAM, TEAM_ACTION } from "./triton-checks.ts";
import { failure, type TritonClient } from "./triton-client.ts";
import { expectedTeam, observations, PLAIN_MODELS, RECURRENT_MODELS, SPARE, TOKEN } from "./triton-served.ts";

export async function health({ client }: Subject): Promise<void> {
  assert.equal(await client.call("is_server_live"), true);
  assert.equal(await client.call("is_server_ready"), true);
  for (const [name, version] of [
    ["factored", ""],
    ["factored", "1"],
    ["merged.agent_1", ""],
    ["recurrent-stacked", "1"],
  ]) {
    const args = { model_name: name, model_version: version };
    assert.equal(await client.call("is_model_ready", args), true, `${name} ${version}`);
  }
  for (const [name, version] of [
    ["nobody", ""],
    ["factored", "7"],
  ]) {
    const args = { model_name: name, model_version: version };
    assert.equal(await client.call("is_model_ready", args), false, `${name} ${version}`);
  }
}

export async function metadata({ client }: Subject): Promise<void> {
  const server = await client.object("get_server_metadata");
  assert.equal(server["name"], "lorasa");
  const extensions = server["extensions"] as readonly string[];
  for (const one of [
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "statistics",
    "sequence",
  ])
    assert.ok(extensions.includes(one), `${one} is not announced in ${extensions}`);
  assert.ok(!extensions.some((one) => /shared_memory|trace|logging/.test(one)), `${extensions}`);
  for (const args of [{ model_name: "factored" }, { model_name: "factored", model_version: "1" }]) {
    const { name, versions, platform, inputs, outputs } = await client.object("get_model_metadata", args);
    assert.deepEqual(
      { name, versions, platform, inputs, outputs },
      {
        name: "factored",
        versions: client.transport === "grpc" ? [1] : ["1"],
        platform: "onnxruntime_onnx",
        inputs: [{ name: "obs", datatype: "FP32", shape: [-1, 2, 4] }],
        outputs: [{ name: "action", datatype: "FP32", shape: [-1, 2, 2] }],
      },
    );
  }
  const agent = await client.object("get_model_metadata", { model_name: "factored.agent_0" });
  assert.deepEqual(agent["inputs"], [{ name: "obs", datatype: "FP32", shape: [-1, 3] }]);
  const { status } = await failure(client.call("get_model_metadata", { model_name: "nobody" }), /nobody/);
  assert.match(`${status}`, NOT_FOUND);
}

/** An input or output as metadata and as configuration write it. */
interface DeclaredTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly data_type: string;
  readonly dims: readonly number[];
}

export async function configuration({ client }: Subject): Promise<void> {
  for (const model_name of ["factored", "merged.agent_0", "discrete", "recurrent", "recurrent.agent_1"]) {
    const described = await client.object("get_model_metadata", { model_name });
    const reply = await client.object("get_model_config", { model_name });
    const config = (client.transport === "grpc" ? reply["config"] : reply) as typeof reply;
    assert.equal(config["name"], model_name);
    assert.equal(config["backend"], "onnxruntime");
    const batched = Number(config["max_batch_size"] ?? 0) > 0;
    for (const [declared, configured] of [
      ["inputs", "input"],
      ["outputs", "output"],
    ] as const) {
      const tensors = described[declared] as unknown as readonly DeclaredTensor[];
      const entries = config[configured] as unknown as readonly DeclaredTensor[];
      assert.deepEqual(
        entries.map(({ name, data_type, dims }) => ({ name, data_type, dims })),
        tensors.map(({ name, datatype, shape }) => ({
          name,
          data_type: `TYPE_${datatype}`,
          dims: batched ? shape.slice(1) : shape,
        })),
        `${model_name} ${declared}`,
      );
    }
  }
  await failure(client.call("get_model_config", { model_name: "nobody" }), /nobody/);
}

export async function statistics({ client }: Subject): Promise<void> {
  const before = await modelStatistics(client, "stacked");
  const obs = observations(TEAM);
  for (let i = 0; i < 4; i++) await client.infer({ model_name: "stacked", inputs: { obs } });
  await client.infer({ model_name: "stacked", inputs: {} }).catch(() => undefined);
  const after = await modelStatistics(client, "stacked");
  assert.equal(after.success.count - before.success.count, 4);
  assert.equal(after.fail.count - before.fail.count, 1);
  assert.equal(after.inferences - before.inferences, 4 * TEAM[0]);
  assert.ok(after.executions > before.executions);
  assert.ok(after.success.ns > before.success.ns);
  const { model_stats } = await client.object("get_inference_statistics");
  const names = (model_stats as readonly { name: string }[]).map(({ name }) => name);
  for (const name of [...PLAIN_MODELS, ...RECURRENT_MODELS])
    assert.ok(names.includes(name), `${name} in ${names}`);
  const { status } = await failure(
    client.call("get_inference_statistics", { model_name: "nobody" }),
    /nobody/,
  );
  assert.match(`${status}`, NOT_FOUND);
}

interface Duration {
  readonly count: number;
  readonly ns: number;
}

async function modelStatistics(client: TritonClient, model_name: string) {
  const { model_stats } = await client.object("get_inference_statistics", { model_name, model_version: "1" });
  // As the statistics extension sets it out; gRPC leaves zeros out.
  const [entry] = model_stats as unknown as readonly [
    {
      readonly name: string;
      readonly version: string | number;
      readonly inference_count?: number;
      readonly execution_count?: number;
      readonly inference_stats: Readonly<Record<string, Partial<Duration>>>;
    },
  ];
  assert.equal(entry.name, model_name);
  assert.equal(`${entry.version}`, "1");
  const duration = (key: string): Duration => ({ count: 0, ns: 0, ...entry.inference_stats[key] });
  for (const key of ["queue", "compute_input", "compute_infer", "compute_output"])
    assert.equal(duration(key).count, duration("success").count, `count of ${key}`);
  return {
    success: duration("success"),
    fail: duration("fail"),
    inferences: entry.inference_count ?? 0,
    executions: entry.execution_count ?? 0,
  };
}

export async function refused({ client }: Subject): Promise<void> {
  for (const [name, args] of [
    ["get_model_repository_index", {}],
    ["load_model", { model_name: "merged" }],
    ["unload_model", { model_name: "merged" }],
  ] as const) {
    const { status } = await failure(client.call(name, args), /LORASA_UNAUTHORIZED/, name);
    assert.match(`${status}`, /^(401|StatusCode\.UNAUTHENTICATED)$/);
    const wrong = { ...args, headers: { authorization: "Bearer another" } };
    await failure(client.call(name, wrong), /LORASA_UNAUTHORIZED/, name);
  }
  assert.equal(await client.call("is_model_ready", { model_name: "merged" }), true);
}

export async function repository({ client }: Subject): Promise<void> {
  const headers = { authorization: `Bearer ${TOKEN}` };
  const state = async (wanted: string): Promise<string | undefined> => {
    const reply = (await client.object("get_model_repository_index", { headers })) as unknown;
    // A list over HTTP, an object that holds it over gRPC.
    const models = (Array.isArray(reply) ? reply : (reply as { models: unknown }).models) as readonly {
      readonly name: string;
      readonly state?: string;
    }[];
    return models.find(({ name }) => name === wanted)?.state;
  };
  // Loading what is loaded is loading it again.
  await client.call("load_model", { model_name: SPARE, headers });
  assert.equal(await state(SPARE), "READY");
  await client.call("unload_model", { model_name: SPARE, headers });
  assert.equal(await state(SPARE), "UNAVAILABLE");
  assert.equal(await client.call("is_model_ready", { model_name: SPARE }), false);
  const obs = observations(TEAM);
  const request = { model_name: SPARE, inputs: { obs } };
  await failure(client.infer(request), /LORASA_\w+.*spare/);
  await client.call("unload_model", { model_name: SPARE, headers, unload_dependents: true });
  await client.call("load_model", { model_name: SPARE, headers });
  checkAction(await client.infer(request), TEAM_ACTION, expectedTeam(obs.data));
  await client.call("load_model", { model_name: SPARE, headers });
  assert.equal(await state(SPARE), "READY");
  await failure(client.call("load_model", { model_name: "nobody", headers }), /LORASA_\w+.*nobody/);
  await failure(
    client.call("load_model", { model_name: SPARE, headers, config: '{"backend":"python"}' }),
    /LORASA_\w+.*config/,
  );
  await failure(client.call("load_model", { model_name: "../spare", headers }), /LORASA_\w+|not found/i);
  checkAction(await client.infer(request), TEAM_ACTION, expectedTeam(obs.data));
}

const UNSUPPORTED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  get_trace_settings: {},
  update_trace_settings: { settings: { trace_level: ["TIMESTAMPS"] } },
  get_log_settings: {},
  update_log_settings: { settings: { log_verbose_level: 1 } },
  get_system_shared_memory_status: {},
  register_system_shared_memory: { name: "region", key: "/region", byte_size: 64 },
  unregister_system_shared_memory: {},
  get_cuda_shared_memory_status: {},
  register_cuda_shared_memory: { name: "region", raw_handle: "AAAA", device_id: 0, byte_size: 64 },
  unregister_cuda_shared_memory: {},
};

export async function unsupported({ client }: Subject): Promise<void> {
  const headers = { authorization: `Bearer ${TOKEN}` };
  for (const [name, args] of Object.entries(UNSUPPORTED)) {
    const { status } = await failure(client.call(name, { ...args, headers }), /\w+/, name);
    assert.match(`${status}`, /^(404|405|501|StatusCode\.UNIMPLEMENTED)$/, name);
  }
  const obs = { datatype: "FP32", shape: [1, 2, 4], region: ["region", 32] } as const;
  await failure(client.infer({ model_name: "factored", inputs: { obs } }), /LORASA_REQUEST.*shared/);
  assert.equal(await client.call("is_server_ready"), true);
}
