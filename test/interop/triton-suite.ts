/** What each of Triton's Python clients must get from a server of ours, whichever transport it speaks. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { ServerClient } from "../../server/client.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { failure, type InferArguments, type Inferred, type TritonClient } from "./triton-client.ts";
import {
  expectedClasses,
  expectedRow,
  expectedTagged,
  expectedTeam,
  observations,
  PLAIN_MODELS,
  POLICY,
  pushVariant,
  RECURRENT,
  RECURRENT_MODELS,
  rowsOf,
  SPARE,
  TOKEN,
  tagNames,
  VARIANT,
} from "./triton-served.ts";

export interface Subject {
  /** Of our HTTP door, for what is asked without the Python client. */
  readonly url: string;
  readonly client: TritonClient;
}

type Check = (subject: Subject, context: TestContext) => Promise<void>;

/** Environments, agents, observation: a batch of three, since a team's agents are one request. */
const TEAM = [3, POLICY.agents, POLICY.observation] as const;
const NOT_FOUND = /^(404|StatusCode\.NOT_FOUND)$/;

/** Every check by its name; the last ones need the management token and reload models. */
const CHECKS: Readonly<Record<string, Check>> = {
  "health of the server and of models by name and version": health,
  "metadata of the server and of models": metadata,
  "the configuration agrees with the metadata": configuration,
  "team requests get the policy's numbers from every mode": teamRequests,
  "an agent is a model of its own": agentModels,
  "rows tagged by number and by name": taggedRows,
  "classes arrive as INT64": classes,
  "request ids, versions and the outputs that were asked for": envelopes,
  "requests sent together, one of them wrong": together,
  "a wrong request's message arrives and the client goes on": wrongRequests,
  "priority, timeout and custom parameters are taken": parameters,
  "sequences hold the state that a loop over hidden_in and hidden_out holds": sequences,
  "two sequences at once keep their own state, by number and by text": interleaved,
  "a sequence that was never begun is refused": unbegun,
  "statistics count requests and rows": statistics,
  "what needs a token is refused without one": refused,
  "an adapter that was pushed, by parameter and by name": variants,
  "models are listed, unloaded and loaded again": repository,
  "trace, log settings and shared memory are refused in words": unsupported,
};

/** Registers one test a check. */
export function checkClient(flavour: string, subject: () => Subject, skip: string | false): void {
  for (const [name, check] of Object.entries(CHECKS)) {
    test(`${flavour}: ${name}`, { skip }, (context) => check(subject(), context));
  }
}

async function health({ client }: Subject): Promise<void> {
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

async function metadata({ client }: Subject): Promise<void> {
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

async function configuration({ client }: Subject): Promise<void> {
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

async function teamRequests({ client }: Subject): Promise<void> {
  for (const model_name of PLAIN_MODELS) {
    for (const environments of [1, 5]) {
      const obs = observations([environments, 2, 4], environments);
      const reply = await client.infer({ model_name, inputs: { obs } });
      assert.equal(reply.response.model_name, model_name);
      assert.equal(reply.response.model_version, "1");
      checkAction(reply, [environments, 2, 2], expectedTeam(obs.data));
      const versions = parameter(reply, "adapter_versions");
      assert.equal(versions, model_name === "factored" ? "agent_0=1,agent_1=1" : undefined);
    }
  }
}

async function agentModels({ client }: Subject): Promise<void> {
  for (const mode of PLAIN_MODELS) {
    for (const agent of [0, 1]) {
      const own = POLICY.observationSizes[agent]!;
      const obs = observations([4, own], agent + 1);
      const reply = await client.infer({ model_name: `${mode}.agent_${agent}`, inputs: { obs } });
      const width = POLICY.actionSizes[agent]!;
      const expected = rowsOf(obs.data, own).flatMap((row) => expectedRow(row, agent).slice(0, width));
      checkAction(reply, [4, width], expected);
    }
  }
}

async function taggedRows({ client }: Subject): Promise<void> {
  const tags = [1, 0, 0, 1, 1];
  const obs = observations([tags.length, 4], 9);
  for (const model_name of PLAIN_MODELS) {
    for (const [datatype, data] of [
      ["INT64", tags],
      ["INT32", tags],
      ["BYTES", tagNames(tags)],
    ] as const) {
      const agent = { datatype, shape: [tags.length], data };
      const reply = await client.infer({ model_name, inputs: { obs, agent } });
      checkAction(reply, [tags.length, 2], expectedTagged(obs.data, tags));
    }
  }
}

async function classes({ client }: Subject): Promise<void> {
  const obs = observations(TEAM, 4);
  const { outputs } = await client.infer({ model_name: "discrete", inputs: { obs } });
  assert.equal(outputs["action"]!.dtype, "int64");
  assert.deepEqual(outputs["action"]!.data, expectedClasses(obs.data));
  assert.equal(outputs["logits"]!.dtype, "float32");
}

async function envelopes({ client }: Subject): Promise<void> {
  const inputs = { obs: observations(TEAM) };
  const named = await client.infer({
    model_name: "discrete",
    inputs,
    request_id: "step 7",
    model_version: "1",
  });
  assert.equal(named.response.id, "step 7");
  assert.ok(["", undefined].includes((await client.infer({ model_name: "discrete", inputs })).response.id));
  const chosen = await client.infer({ model_name: "discrete", inputs, outputs: [{ name: "logits" }] });
  assert.deepEqual(Object.keys(chosen.outputs), ["logits"]);
  const order = [{ name: "logits" }, { name: "action" }];
  const both = await client.infer({ model_name: "discrete", inputs, outputs: order });
  assert.deepEqual(Object.keys(both.outputs), ["logits", "action"]);
  assert.deepEqual(both.outputs["logits"], chosen.outputs["logits"]);
}

async function together({ client }: Subject): Promise<void> {
  const requests = Array.from({ length: 12 }, (_, at): InferArguments => {
    const model_name = at === 5 ? "nobody" : PLAIN_MODELS[at % 3]!;
    return { model_name, inputs: { obs: observations([at + 1, 2, 4], at) }, request_id: `${at}` };
  });
  for (const [at, answer] of (await client.together(requests)).entries()) {
    if (at === 5) {
      assert.ok("error" in answer && /nobody/.test(answer.error.message));
      continue;
    }
    assert.ok("result" in answer, JSON.stringify(answer));
    assert.equal(answer.result.response.id, `${at}`);
    checkAction(answer.result, [at + 1, 2, 2], expectedTeam(observations([at + 1, 2, 4], at).data));
  }
}

async function wrongRequests({ client }: Subject): Promise<void> {
  const obs = observations(TEAM);
  const nan = { ...obs, data: [...obs.data.slice(1), 1e39] };
  const cases: readonly (readonly [Partial<InferArguments>, RegExp])[] = [
    [{ model_name: "nobody" }, /LORASA_UNKNOWN_MODEL.*nobody/],
    [{ model_version: "9" }, /LORASA_UNKNOWN_MODEL.*9/],
    [{ inputs: { obs: observations([1, 2, 5]) } }, /LORASA_SHAPE.*obs.*4.*5/],
    [
      { inputs: { obs: { ...obs, datatype: "INT64", data: obs.data.map(Math.round) } } },
      /LORASA_DTYPE.*FP32/,
    ],
    [{ inputs: { observation: obs } }, /LORASA_NAME.*observation/],
    [{ inputs: { obs: nan } }, /LORASA_NOT_FINITE/],
    [{ outputs: [{ name: "value" }] }, /LORASA_NAME.*value/],
    [
      { inputs: { obs: observations([1, 4]), agent: { datatype: "BYTES", shape: [1], data: ["agent_9"] } } },
      /LORASA_UNKNOWN_AGENT.*agent_9/,
    ],
  ];
  for (const [change, message] of cases) {
    const request = { model_name: "factored", inputs: { obs }, ...change };
    const { status } = await failure(client.infer(request), message, JSON.stringify(change).slice(0, 80));
    assert.match(`${status}`, /^(400|404|StatusCode\.(INVALID_ARGUMENT|NOT_FOUND))$/);
    checkAction(
      await client.infer({ model_name: "factored", inputs: { obs } }),
      [3, 2, 2],
      expectedTeam(obs.data),
    );
  }
}

async function parameters({ client }: Subject): Promise<void> {
  const obs = observations(TEAM);
  for (const options of [
    { priority: 1 },
    { timeout: 5_000_000 },
    { priority: 2, timeout: 0 },
    { parameters: { trace_id: "a", attempt: 3, dry: false, weight: 0.5 } },
  ]) {
    const reply = await client.infer({ model_name: "factored", inputs: { obs }, ...options });
    checkAction(reply, TEAM_ACTION, expectedTeam(obs.data));
  }
}

const TEAM_ACTION = [3, 2, 2];
const STEPS = 4;
const STATE_TOLERANCE = { atol: 1e-5 };

async function sequences({ client, url }: Subject): Promise<void> {
  for (const [at, model] of RECURRENT_MODELS.entries()) {
    const loop = await stateLoop(url, model, at);
    const inputs = stepInputs(at);
    for (const id of [1000 + at, `episode ${at}`]) {
      for (const [step, obs] of inputs.entries()) {
        const sequence = { sequence_id: id, sequence_start: step === 0, sequence_end: step === STEPS - 1 };
        const { outputs } = await client.infer({ model_name: model, inputs: { obs }, ...sequence });
        assertClose(outputs["action"]!.data, loop[step]!, STATE_TOLERANCE, `${model} step ${step}`);
      }
    }
    assert.ok(
      largestDifference(loop[0]!, await firstAction(client, model, inputs[1]!)) > 1e-3,
      "state is inert",
    );
  }
}

/** The first action of a new sequence, ended at once. */
async function firstAction(
  client: TritonClient,
  model_name: string,
  obs: ReturnType<typeof observations>,
): Promise<readonly number[]> {
  const once = { sequence_id: 77, sequence_start: true, sequence_end: true };
  return (await client.infer({ model_name, inputs: { obs }, ...once })).outputs["action"]!.data;
}

async function interleaved({ client, url }: Subject): Promise<void> {
  const ids = [51, "fifty-two", 53];
  const loops = await Promise.all(ids.map((_, at) => stateLoop(url, "recurrent.agent_1", at)));
  for (let step = 0; step < STEPS; step++) {
    for (const [at, id] of ids.entries()) {
      const obs = stepInputs(at, "recurrent.agent_1")[step]!;
      const sequence = { sequence_id: id, sequence_start: step === 0, sequence_end: step === STEPS - 1 };
      const reply = await client.infer({ model_name: "recurrent.agent_1", inputs: { obs }, ...sequence });
      assertClose(
        reply.outputs["action"]!.data,
        loops[at]![step]!,
        STATE_TOLERANCE,
        `sequence ${id} step ${step}`,
      );
    }
  }
}

async function unbegun({ client }: Subject): Promise<void> {
  const request = { model_name: "recurrent", inputs: { obs: stepInputs(0)[0]! }, sequence_id: 987_654 };
  await failure(client.infer(request), /LORASA_\w+.*sequence/i);
}

async function statistics({ client }: Subject): Promise<void> {
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

async function refused({ client }: Subject): Promise<void> {
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

async function variants({ client, url }: Subject): Promise<void> {
  await pushVariant(url);
  const obs = observations([3, 3], 5);
  const expected = rowsOf(obs.data, 3).flatMap((row) => expectedRow(row, 0, VARIANT.seed));
  const chosen = { parameters: { adapter_id: VARIANT.name } };
  const byParameter = await client.infer({ model_name: "factored.agent_0", inputs: { obs }, ...chosen });
  checkAction(byParameter, [3, 2], expected);
  assert.match(`${parameter(byParameter, "adapter_versions")}`, /^agent_0\.blue=\d+$/);
  checkAction(
    await client.infer({ model_name: `factored.${VARIANT.name}`, inputs: { obs } }),
    [3, 2],
    expected,
  );
  const own = rowsOf(obs.data, 3).flatMap((row) => expectedRow(row, 0));
  checkAction(await client.infer({ model_name: "factored.agent_0", inputs: { obs } }), [3, 2], own);
  const rows = observations([2, 4], 6);
  const tagged = {
    obs: rows,
    agent: { datatype: "BYTES", shape: [2], data: ["agent_0", "agent_0"] },
    adapter: { datatype: "BYTES", shape: [2], data: ["agent_0", VARIANT.name] },
  };
  const [first, second] = rowsOf(rows.data, 4);
  const mixed = [...expectedRow(first!, 0), ...expectedRow(second!, 0, VARIANT.seed)];
  checkAction(await client.infer({ model_name: "factored", inputs: tagged }), [2, 2], mixed);
  const unknown = {
    model_name: "factored.agent_0",
    inputs: { obs },
    parameters: { adapter_id: "agent_0.red" },
  };
  const { status } = await failure(client.infer(unknown), /LORASA_UNKNOWN_ADAPTER.*agent_0\.red/);
  assert.match(`${status}`, NOT_FOUND);
}

async function repository({ client }: Subject): Promise<void> {
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

async function unsupported({ client }: Subject): Promise<void> {
  const headers = { authorization: `Bearer ${TOKEN}` };
  for (const [name, args] of Object.entries(UNSUPPORTED)) {
    const { status } = await failure(client.call(name, { ...args, headers }), /\w+/, name);
    assert.match(`${status}`, /^(404|405|501|StatusCode\.UNIMPLEMENTED)$/, name);
  }
  const obs = { datatype: "FP32", shape: [1, 2, 4], region: ["region", 32] } as const;
  await failure(client.infer({ model_name: "factored", inputs: { obs } }), /LORASA_REQUEST.*shared/);
  assert.equal(await client.call("is_server_ready"), true);
}

function checkAction(reply: Inferred, shape: readonly number[], expected: readonly number[]): void {
  const { action } = reply.outputs;
  assert.equal(action?.dtype, "float32");
  assert.deepEqual(action.shape, shape);
  assertClose(action.data, expected, { atol: 2e-6 }, reply.response.model_name);
}

/** A parameter of the reply; gRPC's JSON wraps it in its type's name. */
function parameter({ response }: Inferred, name: string): unknown {
  const value = response.parameters?.[name];
  return typeof value === "object" && value !== null ? Object.values(value)[0] : value;
}

/** Observations of each step of a sequence. */
function stepInputs(seed: number, model = "recurrent"): ReturnType<typeof observations>[] {
  const { agents, observation } = RECURRENT;
  const shape = model.includes(".agent") ? [1, observation] : [2, agents, observation];
  return Array.from({ length: STEPS }, (_, step) => observations(shape, 100 * seed + step));
}

/** The actions of each step when the client keeps the state itself. */
async function stateLoop(url: string, model: string, seed: number): Promise<(readonly number[])[]> {
  const client = new ServerClient(url);
  const actions: (readonly number[])[] = [];
  let hidden: HostTensor | undefined;
  for (const { shape, data } of stepInputs(seed, model)) {
    hidden ??= floatTensor([...shape.slice(0, -1), RECURRENT.hidden]);
    const obs = floatTensor(shape, data);
    const { outputs } = await client.infer(model, { obs, hidden_in: hidden });
    actions.push(Array.from(outputs["action"]!.data as Float32Array));
    hidden = outputs["hidden_out"]!;
  }
  client.close();
  return actions;
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  return Math.max(...a.map((value, at) => Math.abs(value - b[at]!)));
}
