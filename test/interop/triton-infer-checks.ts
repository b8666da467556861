/** Checks of single inferences through Triton's clients: numbers, envelopes, errors, parameters, adapters. */
import assert from "node:assert/strict";
import { checkAction, NOT_FOUND, parameter, type Subject, TEAM, TEAM_ACTION } from "./triton-checks.ts";
import { failure, type InferArguments } from "./triton-client.ts";
import {
  expectedClasses,
  expectedRow,
  expectedTagged,
  expectedTeam,
  observations,
  PLAIN_MODELS,
  POLICY,
  pushVariant,
  rowsOf,
  tagNames,
  VARIANT,
} from "./triton-served.ts";

export async function teamRequests({ client }: Subject): Promise<void> {
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

export async function agentModels({ client }: Subject): Promise<void> {
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

export async function taggedRows({ client }: Subject): Promise<void> {
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

export async function classes({ client }: Subject): Promise<void> {
  const obs = observations(TEAM, 4);
  const { outputs } = await client.infer({ model_name: "discrete", inputs: { obs } });
  assert.equal(outputs["action"]!.dtype, "int64");
  assert.deepEqual(outputs["action"]!.data, expectedClasses(obs.data));
  assert.equal(outputs["logits"]!.dtype, "float32");
}

export async function envelopes({ client }: Subject): Promise<void> {
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

export async function together({ client }: Subject): Promise<void> {
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

export async function wrongRequests({ client }: Subject): Promise<void> {
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

export async function parameters({ client }: Subject): Promise<void> {
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

export async function variants({ client, url }: Subject): Promise<void> {
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
