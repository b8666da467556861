/** Adapters on a running server: swapped under load without mixing versions, never replaced by the backbone alone. */
import assert from "node:assert/strict";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { floatTensor } from "../../src/base/tensor.ts";
import type { Adapter } from "../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { assertClose } from "../helpers/close.ts";
import { agentName, type TinyPolicy } from "../helpers/tiny-models.ts";
import {
  ask,
  assertErrorReply,
  serveTiny,
  type TextReply,
  type TinyServer,
  TOKEN,
} from "../helpers/tiny-server.ts";

const OBSERVATION = [0.5, -1, 2];
const TEAM_OBS = floatTensor([1, 2, 3], [...OBSERVATION, ...OBSERVATION]);
const ADAPTERS = "/v2/repository/models/team/adapters";

test("every reply under concurrent swaps is of the versions that it names", async (context) => {
  const { client, policy } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const seeds = [new Map([[1, 0]]), new Map([[1, 1]])];
  const last = [1, 1];
  const swaps = 40;
  let swapping = true;
  let replies = 0;
  const seen = new Set<string>();
  const drive = async (): Promise<void> => {
    const before = [0, 0];
    while (swapping) {
      const { outputs, adapterVersions } = await client.infer("team", { obs: TEAM_OBS });
      for (const agent of [0, 1]) {
        const version = adapterVersions[agentName(agent)]!;
        assert.ok(version >= before[agent]!, "a version went back");
        before[agent] = version;
        const actual = (outputs["action"]!.data as Float32Array).subarray(agent * 2, agent * 2 + 2);
        assertClose(
          actual,
          action(policy, agent, seeds[agent]!.get(version)!),
          {},
          `agent ${agent} version ${version}`,
        );
      }
      seen.add(`${before}`);
      replies += 1;
    }
  };
  const swap = async (): Promise<void> => {
    for (let i = 0; i < swaps; i++) {
      const agent = i % 2;
      const next = last[agent]! + 1;
      seeds[agent]!.set(next, 100 + i);
      const { version } = await push({ client }, agent, policy.adapter(100 + i));
      assert.equal(version, `${next}`);
      last[agent] = next;
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
  };
  const swapped = swap().finally(() => {
    swapping = false;
  });
  await Promise.all([swapped, ...Array.from({ length: 8 }, drive)]);
  assert.ok(replies > swaps, `only ${replies} replies`);
  assert.ok(seen.size > 5, `replies saw only ${seen.size} pairs of versions`);
});

test("a swap reaches the team, tagged rows and the agent's own model, and no other agent", async (context) => {
  const { client, policy } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  await push({ client }, 1, policy.adapter(50));
  const team = await client.infer("team", { obs: TEAM_OBS });
  assertClose((team.outputs["action"]!.data as Float32Array).subarray(0, 2), action(policy, 0, 0));
  assertClose((team.outputs["action"]!.data as Float32Array).subarray(2), action(policy, 1, 50));
  assert.deepEqual(team.adapterVersions, { agent_0: 1, agent_1: 2 });
  const agent = { dtype: "int32", dims: [1], data: Int32Array.of(1) } as const;
  const rows = await client.infer("team", { obs: floatTensor([1, 3], OBSERVATION), agent });
  assertClose(rows.outputs["action"]!.data as Float32Array, action(policy, 1, 50));
  assert.deepEqual(rows.adapterVersions, { agent_1: 2 });
  const own = await client.infer("team.agent_1", { obs: floatTensor([1, 3], OBSERVATION) });
  assertClose(own.outputs["action"]!.data as Float32Array, action(policy, 1, 50));
});

test("without its adapter an agent answers 404, never as the backbone; others go on; versions go on rising", async (context) => {
  const { client, policy, url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const status = await client.unloadAdapter("team", "agent_1");
  assert.deepEqual([status.name, status.version, status.state], ["agent_1", "", "UNAVAILABLE"]);
  const unknown =
    /404, LORASA_UNKNOWN_ADAPTER: adapter "agent_1" of team: expected a loaded one, received none/;
  const obs = floatTensor([2, 3], [...OBSERVATION, ...OBSERVATION]);
  const agent = { dtype: "int32", dims: [2], data: Int32Array.of(0, 1) } as const;
  await assert.rejects(client.infer("team", { obs: TEAM_OBS }), unknown);
  await assert.rejects(client.infer("team", { obs, agent }), unknown);
  await assert.rejects(client.infer("team.agent_1", { obs }), unknown);
  await assert.rejects(client.unloadAdapter("team", "agent_1"), unknown);
  assertErrorReply(await ask(`${url}/v2/models/team/adapters/agent_1/ready`), 404, /LORASA_UNKNOWN_ADAPTER/);
  assert.deepEqual((await client.infer("team.agent_0", { obs })).adapterVersions, { agent_0: 1 });
  const others = { ...agent, data: Int32Array.of(0, 0) };
  assert.deepEqual((await client.infer("team", { obs, agent: others })).adapterVersions, { agent_0: 1 });
  assert.equal((await push({ client }, 1, policy.adapter(1))).version, "2");
  assert.deepEqual((await client.infer("team", { obs: TEAM_OBS })).adapterVersions, {
    agent_0: 1,
    agent_1: 2,
  });
});

test("an agent without an adapter in the repository waits for a push", async (context) => {
  const { client, policy } = await serveTiny(context, { mode: "factored", without: [0] }, { token: TOKEN });
  const states = (await client.listAdapters("team")).map(({ name, state }) => [name, state]);
  assert.deepEqual(states, [
    ["agent_0", "UNAVAILABLE"],
    ["agent_1", "READY"],
  ]);
  await assert.rejects(
    client.infer("team", { obs: TEAM_OBS }),
    /LORASA_UNKNOWN_ADAPTER: adapter "agent_0" of team/,
  );
  await push({ client }, 0, policy.adapter(0));
  const { outputs } = await client.infer("team", { obs: TEAM_OBS });
  assertClose((outputs["action"]!.data as Float32Array).subarray(0, 2), action(policy, 0, 0));
});

test("an adapter that does not fit changes nothing", async (context) => {
  const { client, policy, url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const before = await client.infer("team", { obs: TEAM_OBS });
  const good = policy.adapter(9);
  const [layer] = good.layers;
  const changed = (loraB: number[]): Adapter => ({
    ...good,
    layers: [{ ...layer!, loraB: floatTensor([2, 2], loraB) }],
  });
  const faults: readonly (readonly [Adapter, RegExp])[] = [
    [policy.adapter(9, "0".repeat(64)), /LORASA_ADAPTER: adapter, backbone: expected revision/],
    [{ ...good, layers: [{ ...layer!, name: "other" }] }, /LORASA_ADAPTER: adapter, layer policy/],
    [{ ...good, layers: [{ ...layer!, scale: 3 }] }, /LORASA_ADAPTER: adapter, layer policy, scale/],
    [changed([1, 1, 3e38, 1]), /LORASA_NOT_FINITE: adapter agent_0, policy.lora_B.weight, element 2/],
  ];
  for (const [adapter, message] of faults) {
    await assert.rejects(push({ client }, 0, adapter), message);
  }
  const { config, tensors: finite } = files(good);
  const nan = Buffer.from(finite);
  nan.writeFloatLE(Number.NaN, nan.length - 4);
  const broken = [
    [nan, /LORASA_NOT_FINITE/],
    [Buffer.from("garbage"), /LORASA_FILE/],
    [Buffer.alloc(0), /LORASA_FILE/],
    [Buffer.from("504b030414000808080000000000", "hex"), /LORASA_ADAPTER: .*pickle/],
  ] as const;
  for (const [tensors, message] of broken) {
    await assert.rejects(client.pushAdapter("team", "agent_0", config, tensors), message);
  }
  await assert.rejects(
    client.pushAdapter("team", "agent_0", "{", files(good).tensors),
    /LORASA_ADAPTER: .*not JSON/,
  );
  await assert.rejects(push({ client }, 7, good), /LORASA_UNKNOWN_AGENT: .*agent_7.*did you mean/);
  assert.deepEqual(await client.infer("team", { obs: TEAM_OBS }), before);
  assert.match((await ask(`${url}/metrics`)).text, /^lorasa_adapter_swap_seconds_count\{model="team"\} 0$/m);
});

test("a variant of an agent is a model of its own from its push to its unload", async (context) => {
  const { client, policy, url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const { config, tensors } = files(policy.adapter(60));
  const blue = `${url}/v2/models/team.agent_0.blue`;
  assertErrorReply(await ask(blue), 404, /LORASA_UNKNOWN_MODEL: model "team\.agent_0\.blue"/);
  const pushed = await client.pushAdapter("team", "agent_0.blue", config, tensors, { keep: true, pin: true });
  assert.deepEqual(
    [pushed.name, pushed.agent, pushed.version, pushed.pinned],
    ["agent_0.blue", "agent_0", "1", true],
  );
  const own = floatTensor([1, 3], OBSERVATION);
  const { outputs, adapterVersions } = await client.infer("team.agent_0.blue", { obs: own });
  assertClose(outputs["action"]!.data as Float32Array, action(policy, 0, 60));
  assert.deepEqual(adapterVersions, { "agent_0.blue": 1 });
  const asked = await client.infer("team.agent_0", { obs: own }, { adapterId: "agent_0.blue" });
  assert.deepEqual(asked.outputs, outputs);
  const described = JSON.parse((await ask(blue)).text) as Record<string, unknown>;
  assert.equal(described["name"], "team.agent_0.blue");
  const again = client.pushAdapter("team", "agent_0.blue", config, tensors, { keep: true });
  await assert.rejects(again, /409, LORASA_EXISTS/);
  await assert.rejects(client.unloadAdapter("team", "agent_0.blue"), /409, LORASA_BUSY: .*unpin it first/);
  assert.equal((await client.unpinAdapter("team", "agent_0.blue")).pinned, false);
  await client.unloadAdapter("team", "agent_0.blue", { drain: false });
  assertErrorReply(await ask(blue), 404, /LORASA_UNKNOWN_MODEL/);
});

test("a rollback takes a push back, and a second one takes that back", async (context) => {
  const { client, policy } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  await assert.rejects(client.rollbackAdapter("team", "agent_0"), /404, LORASA_UNKNOWN_ADAPTER: .*before 1/);
  await push({ client }, 0, policy.adapter(80));
  for (const [version, seed] of [
    ["3", 0],
    ["4", 80],
  ] as const) {
    assert.equal((await client.rollbackAdapter("team", "agent_0")).version, version);
    const { outputs } = await client.infer("team.agent_0", { obs: floatTensor([1, 3], OBSERVATION) });
    assertClose(outputs["action"]!.data as Float32Array, action(policy, 0, seed));
  }
});

test("files that are not those whose checksum was sent change nothing", async (context) => {
  const { client, policy, url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const before = await client.infer("team", { obs: TEAM_OBS });
  const { config, tensors } = files(policy.adapter(81));
  const encoded = Buffer.from(tensors).toString("base64");
  const parameters = { config, "file:adapter_model.safetensors": encoded, load_inplace: true };
  const wrong = await load(url, { parameters: { ...parameters, sha256: "ab".repeat(32) } });
  assertErrorReply(wrong, 400, /LORASA_CHECKSUM: adapter agent_0, SHA-256 of its tensors: expected (ab){32}/);
  assertErrorReply(
    await load(url, { parameters: { ...parameters, sha256: "ab" } }),
    400,
    /LORASA_REQUEST: .*sha256/,
  );
  assert.deepEqual(await client.infer("team", { obs: TEAM_OBS }), before);
});

test("a policy whose answer overflows is an error, not broken JSON", async (context) => {
  const { client, policy, url } = await serveTiny(
    context,
    { mode: "factored", discrete: true },
    { token: TOKEN },
  );
  const {
    layers: [layer],
    ...adapter
  } = policy.adapter(9);
  const loraB = floatTensor([2, 2], [1e30, 1e30, 1e30, 1e30]);
  await push({ client }, 0, { ...adapter, layers: [{ ...layer!, loraB }] });
  const inputs = [{ name: "obs", datatype: "FP32", shape: [1, 3], data: [1e10, 2e10, 3e10] }];
  const reply = await ask(`${url}/v2/models/team.agent_0/infer`, {
    method: "POST",
    body: JSON.stringify({ inputs }),
  });
  assertErrorReply(reply, 400, /LORASA_NOT_FINITE: output logits/);
});

test("JSON with base64, a path, and the framed body load the same adapter; overwriting must be meant", async (context) => {
  const { policy, url, repository } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const { config, tensors } = files(policy.adapter(77));
  const folder = join(repository, "team/adapters/pushed/deep");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, CONFIG_FILE), config);
  writeFileSync(join(folder, TENSORS_FILE), tensors);
  const encoded = Buffer.from(tensors).toString("base64");
  const bodies = [{ config, "file:adapter_model.safetensors": encoded }, { path: "pushed/deep" }];
  let version = 1;
  for (const parameters of bodies) {
    assertErrorReply(
      await load(url, { parameters }),
      409,
      /LORASA_EXISTS: adapter agent_0: expected load_inplace/,
    );
    const reply = await load(url, { parameters: { ...parameters, load_inplace: true } });
    version += 1;
    const status = JSON.parse(reply.text) as Record<string, unknown>;
    assert.equal(reply.status, 200);
    assert.equal(status["version"], `${version}`);
    assert.equal(status["state"], "READY");
  }
});

test("paths lead nowhere but under the model's adapters, and errors do not tell where that is", async (context) => {
  const { url, repository, policy } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const outside = join(repository, "elsewhere");
  const { config, tensors } = files(policy.adapter(5));
  mkdirSync(outside);
  writeFileSync(join(outside, CONFIG_FILE), config);
  writeFileSync(join(outside, TENSORS_FILE), tensors);
  const root = join(repository, "team/adapters");
  symlinkSync(outside, join(root, "linked"));
  mkdirSync(join(root, "half"));
  symlinkSync(join(outside, CONFIG_FILE), join(root, "half", CONFIG_FILE));
  writeFileSync(join(root, "half", TENSORS_FILE), tensors);
  for (const path of ["../../elsewhere", outside, "linked", "half"]) {
    const reply = await load(url, { parameters: { path, load_inplace: true } });
    const text = reply.text.replaceAll(JSON.stringify(path).slice(1, -1), "PATH");
    assert.ok([400, 403].includes(reply.status), `${path}: ${reply.text}`);
    assert.doesNotMatch(text, new RegExp(repository), path);
  }
  assertErrorReply(
    await load(url, { parameters: { path: "missing", load_inplace: true } }),
    400,
    /LORASA_FILE: adapter path "missing": .*received none that can be read/,
  );
});

const UPLOADS: readonly (readonly [string, unknown, RegExp])[] = [
  ["nothing", {}, /parameters.body: expected one of path/],
  ["two sources", { path: "a", "file:adapter_model.safetensors": "" }, /expected one of path.*received 2/],
  ["no config", { "file:adapter_model.safetensors": "AAAA" }, /parameters.config/],
  ["not base64", { config: "{}", "file:adapter_model.safetensors": "$$" }, /expected base64/],
  ["an unknown parameter", { path: "a", pni: true }, /parameters.pni: expected path, config/],
  ["a word for true", { path: "a", load_inplace: "yes" }, /load_inplace: expected true or false/],
];

test("bodies of a load that are not one of the three forms", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  for (const [what, parameters, message] of UPLOADS) {
    assertErrorReply(await load(url, { parameters }), 400, message, what);
  }
});

const MANAGED = [
  ["POST", `${ADAPTERS}/index`],
  ["POST", `${ADAPTERS}/agent_0/load`],
  ["POST", `${ADAPTERS}/agent_0/unload`],
] as const;

test("management is off without a token, and refused without the right one", async (context) => {
  const open = await serveTiny(context, { mode: "factored" });
  const guarded = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const wrong = [
    "",
    "Bearer",
    "Bearer x",
    `Basic ${TOKEN}`,
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    TOKEN,
  ];
  for (const [method, path] of MANAGED) {
    const headers = { Authorization: `Bearer ${TOKEN}` };
    assertErrorReply(
      await ask(open.url + path, { method, headers }),
      403,
      /LORASA_FORBIDDEN: .*--token-file/,
      path,
    );
    assertErrorReply(
      await ask(guarded.url + path, { method }),
      401,
      /LORASA_UNAUTHORIZED: .*received none/,
      path,
    );
    for (const authorization of wrong) {
      const reply = await ask(guarded.url + path, { method, headers: { Authorization: authorization } });
      assertErrorReply(reply, 401, /LORASA_UNAUTHORIZED/, `${path} ${authorization}`);
      assert.equal(reply.headers.get("www-authenticate"), "Bearer");
    }
  }
  for (const path of [
    "//v2/models/team/adapters/agent_0",
    "/v2/models/team/adapters/agent_0/",
    "/V2/models/team/adapters/agent_0",
    "/v2/models/team%2fadapters/agent_0",
  ]) {
    assert.ok([401, 404].includes((await ask(guarded.url + path)).status), path);
  }
  assert.equal((await guarded.client.listAdapters("team"))[0]?.version, "1");
});

test("describe names the layers; models whose adapters are in their graphs have none to manage", async (context) => {
  const factored = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const reply = await managed(factored.url, "GET", "/v2/models/team/adapters/agent_1");
  const described = JSON.parse(reply.text) as Record<string, unknown>;
  assert.deepEqual(described["layers"], [{ name: "policy", in: 3, out: 2, rank: 2, scale: 1.5 }]);
  assert.match(String(described["sha256"]), /^[0-9a-f]{64}$/);
  const merged = await serveTiny(context, { mode: "merged" }, { token: TOKEN });
  for (const [method, path] of MANAGED) {
    const answer = await managed(merged.url, method, path);
    assertErrorReply(
      answer,
      400,
      /LORASA_ADAPTER: adapters of team: expected a factored model, received a merged/,
      path,
    );
  }
});

function push({ client }: Pick<TinyServer, "client">, agent: number, adapter: Adapter) {
  const { config, tensors } = files(adapter);
  return client.pushAdapter("team", agentName(agent), config, tensors);
}

function files(adapter: Adapter): { config: string; tensors: Uint8Array } {
  const encoded = encodeAdapter(adapter);
  return { config: Buffer.from(encoded[CONFIG_FILE]!).toString("utf8"), tensors: encoded[TENSORS_FILE]! };
}

function load(url: string, body: unknown): Promise<TextReply> {
  return managed(url, "POST", `${ADAPTERS}/agent_0/load`, JSON.stringify(body));
}

function managed(url: string, method: string, path: string, body?: string): Promise<TextReply> {
  const headers = { Authorization: `Bearer ${TOKEN}` };
  return ask(url + path, body === undefined ? { method, headers } : { method, headers, body });
}

function action(policy: TinyPolicy, agent: number, seed: number): number[] {
  return policy.logits(OBSERVATION, agent, policy.adapter(seed)).map(Math.tanh);
}
