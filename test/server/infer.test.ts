/** Inference over HTTP gives the policy's own numbers, whichever mode it was exported in and however it is asked. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { agentName, type TinyPolicy } from "../helpers/tiny-models.ts";
import { serveTiny } from "../helpers/tiny-server.ts";

const MODES = ["merged", "stacked", "factored"] as const;
const UNEQUAL = { observationSizes: [3, 5, 4, 5], actionSizes: [2, 1, 3, 3] };

for (const mode of MODES) {
  test(`${mode}: a team request, unequal agents`, async (context) => {
    const { policy, client } = await serveTiny(context, { mode, ...UNEQUAL });
    for (const environments of [1, 4, 1]) {
      const observations = normals(environments * 4 * 5, environments);
      const { outputs } = await client.infer("team", {
        obs: floatTensor([environments, 4, 5], observations),
      });
      const { dims, data } = outputs["action"]!;
      assert.deepEqual(dims, [environments, 4, 3]);
      for (let row = 0; row < environments * 4; row++) {
        const agent = row % 4;
        const expected = action(policy, observations.subarray(row * 5), agent);
        assertClose(floats(data).subarray(row * 3, row * 3 + expected.length), expected);
      }
    }
  });

  test(`${mode}: tagged rows in any order, by index and by name`, async (context) => {
    const { policy, client, url } = await serveTiny(context, { mode, ...UNEQUAL });
    const tags = [2, 0, 0, 1, 2, 0, 2];
    const observations = normals(tags.length * 5, 3);
    const obs = floatTensor([tags.length, 5], observations);
    for (const agent of [int64(tags), int32(tags)]) {
      const { outputs } = await client.infer("team", { obs, agent });
      assert.deepEqual(outputs["action"]!.dims, [tags.length, 3]);
      checkRows(policy, tags, observations, floats(outputs["action"]!.data));
    }
    // Most agents absent: a factored model gathers these instead of padding groups.
    const few = await client.infer("team", {
      obs: floatTensor([1, 5], observations.slice(0, 5)),
      agent: int32([2]),
    });
    checkRows(policy, [2], observations, floats(few.outputs["action"]!.data));
    const body = {
      inputs: [
        { name: "obs", datatype: "FP32", shape: [tags.length, 5], data: [...observations] },
        { name: "agent", datatype: "BYTES", shape: [tags.length], data: tags.map(agentName) },
      ],
    };
    const reply = await fetch(`${url}/v2/models/team/infer`, { method: "POST", body: JSON.stringify(body) });
    const json = (await reply.json()) as { outputs: [{ data: number[] }] };
    checkRows(policy, tags, observations, Float32Array.from(json.outputs[0].data));
  });

  test(`${mode}: an agent as a model of its own, in its own sizes`, async (context) => {
    const { policy, client } = await serveTiny(context, { mode, ...UNEQUAL });
    for (const agent of [0, 1, 2, 3]) {
      const own = policy.observationSizes[agent]!;
      const observations = normals(6 * own, agent);
      const { outputs, adapterVersions } = await client.infer(`team.${agentName(agent)}`, {
        obs: floatTensor([6, own], observations),
      });
      const width = policy.actionSizes[agent]!;
      assert.deepEqual(outputs["action"]!.dims, [6, width]);
      for (let row = 0; row < 6; row++) {
        const expected = action(policy, observations.subarray(row * own), agent);
        assertClose(floats(outputs["action"]!.data).subarray(row * width, (row + 1) * width), expected);
      }
      assert.deepEqual(adapterVersions, mode === "factored" ? { [agentName(agent)]: 1 } : {});
    }
  });

  test(`${mode}: recurrent state goes in and comes out`, async (context) => {
    const { policy, client } = await serveTiny(context, { mode, hidden: 4 });
    const obs = floatTensor([2, 2, 3], normals(12, 5));
    const hidden = floatTensor([2, 2, 4], normals(16, 6));
    const { outputs } = await client.infer("team", { obs, hidden_in: hidden });
    const expected = Array.from({ length: 16 }, (_, i) => {
      const row = Math.floor(i / 4);
      let sum = hidden.data[i]! / 2;
      for (let o = 0; o < 3; o++) sum += obs.data[row * 3 + o]! * policy.hiddenWeight[o * 4 + (i % 4)]!;
      return sum;
    });
    assert.deepEqual(outputs["hidden_out"]!.dims, [2, 2, 4]);
    assertClose(floats(outputs["hidden_out"]!.data), expected);
    await assert.rejects(
      client.infer("team", { obs }),
      /LORASA_NAME: input hidden_in: expected FP32 \[2, 2, 4\], recurrent state/,
    );
  });

  test(`${mode}: a sequence keeps its state on the server`, async (context) => {
    const { client } = await serveTiny(context, { mode, hidden: 4 });
    let hidden = floatTensor([2, 2, 4]);
    for (const step of [0, 1, 2]) {
      const obs = floatTensor([2, 2, 3], normals(12, 20 + step));
      const { outputs } = await client.infer("team", { obs, hidden_in: hidden });
      const sequence = { sequenceId: "episode 1", sequenceStart: step === 0, sequenceEnd: step === 2 };
      assert.deepEqual((await client.infer("team", { obs }, sequence)).outputs, outputs);
      hidden = floatTensor([2, 2, 4], floats(outputs["hidden_out"]!.data).slice());
    }
    const obs = floatTensor([2, 2, 3], normals(12, 20));
    await assert.rejects(
      client.infer("team", { obs }, { sequenceId: "episode 1" }),
      /LORASA_REQUEST: sequence/,
    );
  });

  test(`${mode}: a discrete action obeys its mask`, async (context) => {
    const { policy, client } = await serveTiny(context, {
      mode,
      ...UNEQUAL,
      discrete: true,
      actionSizes: [3, 2, 3, 2],
    });
    const observations = normals(4 * 4 * 5, 8);
    const obs = floatTensor([4, 4, 5], observations);
    const open = await client.infer("team", { obs });
    const first = open.outputs["action"]!;
    assert.equal(first.dtype, "int64");
    assert.deepEqual(first.dims, [4, 4, 1]);
    const mask = new Float32Array(4 * 4 * 3).fill(1);
    for (let row = 0; row < 16; row++) {
      const logits = policy.logits(observations.subarray(row * 5), row % 4, policy.adapter(row % 4));
      const best = logits.indexOf(Math.max(...logits));
      assert.equal(Number(first.data[row]), best);
      mask[row * 3 + best] = 0;
    }
    const { outputs } = await client.infer("team", { obs, action_mask: floatTensor([4, 4, 3], mask) });
    for (let row = 0; row < 16; row++) {
      const logits = policy.logits(observations.subarray(row * 5), row % 4, policy.adapter(row % 4));
      logits[Number(first.data[row])] = Number.NEGATIVE_INFINITY;
      assert.equal(Number(outputs["action"]!.data[row]), logits.indexOf(Math.max(...logits)));
    }
  });
}

function checkRows(
  policy: TinyPolicy,
  tags: readonly number[],
  observations: Float32Array,
  actions: Float32Array,
) {
  for (const [row, agent] of tags.entries()) {
    const expected = action(policy, observations.subarray(row * policy.observation), agent);
    const start = row * policy.action;
    assertClose(actions.subarray(start, start + expected.length), expected);
  }
}

function action(policy: TinyPolicy, observation: Float32Array, agent: number): number[] {
  return policy.logits(observation, agent, policy.adapter(agent)).map(Math.tanh);
}

/** Actions of these policies are float32. */
function floats(data: HostTensor["data"]): Float32Array {
  assert.ok(data instanceof Float32Array);
  return data;
}

function normals(count: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => random.normal());
}

function int64(values: readonly number[]): HostTensor {
  return { dtype: "int64", dims: [values.length], data: BigInt64Array.from(values, BigInt) };
}

function int32(values: readonly number[]): HostTensor {
  return { dtype: "int32", dims: [values.length], data: Int32Array.from(values) };
}
