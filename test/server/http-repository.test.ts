/** The routes of the repository, statistics, configuration and adapters: bodies, statuses, what comes back. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { floatTensor } from "../../src/base/tensor.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import type { TinyOptions } from "../helpers/tiny-models.ts";
import { ask, assertErrorReply, serveTiny, type TextReply, TOKEN } from "../helpers/tiny-server.ts";

interface Managed {
  readonly repository: string;
  readonly policy: Awaited<ReturnType<typeof serveTiny>>["policy"];
  readonly client: Awaited<ReturnType<typeof serveTiny>>["client"];
  readonly faults: readonly unknown[];
  post(path: string, body?: unknown): Promise<TextReply>;
  get(path: string): Promise<TextReply>;
}

async function managed(context: TestContext, options: Partial<TinyOptions> = {}): Promise<Managed> {
  const served = await serveTiny(context, { mode: "factored", ...options }, { token: TOKEN });
  const headers = { Authorization: `Bearer ${TOKEN}` };
  return {
    ...served,
    get: (path) => ask(served.url + path),
    post: (path, body) =>
      ask(served.url + path, {
        method: "POST",
        headers,
        ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      }),
  };
}

const TEAM = "/v2/repository/models/team";
const OBS = floatTensor([1, 2, 3], [1, 2, 3, 4, 5, 6]);
const json = ({ text }: TextReply) => JSON.parse(text) as Record<string, unknown>;
const entries = ({ text }: TextReply) => JSON.parse(text) as Record<string, unknown>[];

test("the index names every model and its state; a filter leaves what is ready", async (context) => {
  const { post } = await managed(context);
  const ready = { version: "1", state: "READY", reason: "" };
  const all = ["team", "team.agent_0", "team.agent_1"].map((name) => ({ name, ...ready }));
  for (const body of [undefined, "", {}, { ready: false }, { ready: true }]) {
    assert.deepEqual(entries(await post("/v2/repository/index", body)), all, JSON.stringify(body));
  }
  assert.equal((await post(`${TEAM}/unload`)).status, 200);
  assert.deepEqual(entries(await post("/v2/repository/index", { ready: true })), []);
  const [absent] = entries(await post("/v2/repository/index"));
  assert.deepEqual([absent?.["name"], absent?.["state"]], ["team", "UNAVAILABLE"]);
});

test("unload and load take a model away and bring it back, and answer 200 with nothing", async (context) => {
  const { post, get, client } = await managed(context);
  for (const body of [undefined, {}, { parameters: {} }, { parameters: { unload_dependents: true } }]) {
    const gone = await post(`${TEAM}/unload`, body);
    assert.deepEqual([gone.status, gone.text], [200, ""], JSON.stringify(body));
    assertErrorReply(await get("/v2/models/team/ready"), 404, /LORASA_UNKNOWN_MODEL/);
  }
  for (const body of [undefined, "", {}, { parameters: {} }]) {
    const back = await post(`${TEAM}/load`, body);
    assert.deepEqual([back.status, back.text], [200, ""], JSON.stringify(body));
    assert.ok((await client.infer("team", { obs: OBS })).outputs["action"]);
  }
});

test("a model comes from the folder alone: what replaces its files is refused, and nothing is loaded", async (context) => {
  const { post, get } = await managed(context);
  assert.equal((await post(`${TEAM}/unload`)).status, 200);
  for (const [parameters, message] of [
    [{ config: "{}" }, /parameters\.config: expected no parameters, received a model's files in the request/],
    [
      { "file:1/model.onnx": "AAAA" },
      /parameters\.file:1\/model\.onnx: .*from the repository's folder alone/,
    ],
    [{ config: "{}", "file:1/model.onnx": "AAAA" }, /from the repository's folder alone/],
    [{ other: true }, /parameters\.other: expected no parameters, received an unknown name/],
  ] as const) {
    assertErrorReply(await post(`${TEAM}/load`, { parameters }), 400, message);
  }
  assertErrorReply(await get("/v2/models/team/ready"), 404, /LORASA_UNKNOWN_MODEL/);
});

test("bodies of management that are none", async (context) => {
  const { post, faults } = await managed(context);
  for (const [path, body, message] of [
    ["/v2/repository/index", { ready: "yes" }, /body, ready: expected true or false, received a string/],
    ["/v2/repository/index", { raedy: true }, /body, raedy: expected ready, received an unknown name/],
    ["/v2/repository/index", "[]", /expected an object/],
    ["/v2/repository/index", "{", /expected JSON/],
    [`${TEAM}/unload`, { parameters: { unload_dependents: 1 } }, /unload_dependents: expected true or false/],
    [`${TEAM}/unload`, { parameters: { drain: true } }, /parameters\.drain: expected unload_dependents/],
    [
      `${TEAM}/adapters/agent_0/unload`,
      { parameters: { drain: null } },
      /drain: expected a string, number|drain/,
    ],
    [
      `${TEAM}/adapters/agent_0/unload`,
      { parameters: { pin: true } },
      /parameters\.pin: expected drain, received an/,
    ],
    [`${TEAM}/adapters/agent_0/unload`, { drain: true }, /body, drain: expected parameters/],
    [
      `${TEAM}/adapters/agent_0/pin`,
      { parameters: { pin: true } },
      /parameters\.pin: expected no parameters/,
    ],
    [`${TEAM}/adapters/agent_0/rollback`, { parameters: { "a\nb": 1 } }, /a\\nb: expected no parameters/],
    [`${TEAM}/adapters/index`, { ready: null }, /ready: expected true or false, received null/],
  ] as const) {
    assertErrorReply(await post(path, body), 400, message, `${path} ${JSON.stringify(body)}`);
  }
  assertErrorReply(await post("/v2/repository/index", " ".repeat(65_537)), 413, /at most 65536 bytes/);
  assert.deepEqual(faults, []);
});

test("a model that is not in the folder is 404; a reload that fails leaves what was loaded", async (context) => {
  const { post, client, repository } = await managed(context);
  assertErrorReply(
    await post("/v2/repository/models/taem/load"),
    404,
    /LORASA_UNKNOWN_MODEL: .*did you mean team/,
  );
  rmSync(join(repository, "team/1/rows.onnx"));
  assertErrorReply(
    await post(`${TEAM}/load`),
    400,
    /LORASA_FILE: model file team\/1\/rows\.onnx: .*no such file/,
  );
  assert.ok((await client.infer("team", { obs: OBS })).outputs["action"]);
});

test("statistics of all and of one count what was asked", async (context) => {
  const { get, client } = await managed(context);
  for (let i = 0; i < 3; i++) await client.infer("team", { obs: OBS });
  const all = json(await get("/v2/models/stats"))["model_stats"] as { name: string }[];
  assert.deepEqual(
    all.map(({ name }) => name),
    ["team", "team.agent_0", "team.agent_1"],
  );
  for (const path of ["/v2/models/team/stats", "/v2/models/team/versions/1/stats"]) {
    const [own] = json(await get(path))["model_stats"] as Record<string, unknown>[];
    assert.ok(own);
    assert.deepEqual([own["name"], own["version"], own["inference_count"]], ["team", "1", 3]);
    const { success, cache_hit } = own["inference_stats"] as Record<string, { count: number }>;
    assert.equal(success?.count, 3);
    assert.equal(cache_hit?.count, 0);
  }
  assertErrorReply(await get("/v2/models/team/versions/2/stats"), 404, /LORASA_UNKNOWN_MODEL/);
  assertErrorReply(await get("/v2/models/stats/ready"), 404, /LORASA_UNKNOWN_MODEL/);
});

test("the configuration names the tensors without their batch", async (context) => {
  const { get } = await managed(context);
  for (const path of ["/v2/models/team/config", "/v2/models/team/versions/1/config"]) {
    const config = json(await get(path));
    assert.equal(config["name"], "team");
    assert.deepEqual((config["input"] as { dims: unknown }[])[0]?.dims, [2, 3]);
  }
  assertErrorReply(await get("/v2/models/none/config"), 404, /LORASA_UNKNOWN_MODEL/);
});

test("an adapter's status has every fact, versions as text", async (context) => {
  const { post, get } = await managed(context);
  const before = Date.now();
  assert.equal((await push(await managed(context), "agent_0", 5)).status, 200);
  const [status] = entries(await post(`${TEAM}/adapters/index`));
  assert.deepEqual(Object.keys(status ?? {}).sort(), [
    "agent",
    "bytes",
    "last_used_ms",
    "loaded_at_ms",
    "name",
    "pinned",
    "previous_version",
    "reason",
    "resident",
    "sha256",
    "state",
    "version",
  ]);
  assert.deepEqual([status?.["name"], status?.["agent"], status?.["version"]], ["agent_0", "agent_0", "1"]);
  assert.deepEqual([status?.["previous_version"], status?.["pinned"]], ["", false]);
  assert.match(String(status?.["sha256"]), /^[0-9a-f]{64}$/);
  assert.ok(Math.abs(Number(status?.["loaded_at_ms"]) - before) < 60_000);
  assert.deepEqual(json(await get("/v2/models/team/adapters/agent_0/ready")), {
    name: "agent_0",
    ready: true,
  });
});

test("pin, unpin, rollback and unload change an adapter's status", async (context) => {
  const server = await managed(context);
  const { post } = server;
  const adapter = `${TEAM}/adapters/agent_0`;
  assertErrorReply(await post(`${adapter}/rollback`), 404, /the version before 1/);
  const pushed = json(await push(server, "agent_0", 5));
  assert.deepEqual([pushed["version"], pushed["previous_version"]], ["2", "1"]);
  const back = json(await post(`${adapter}/rollback`, {}));
  assert.equal(back["version"], "3");
  assert.notEqual(back["sha256"], pushed["sha256"]);
  assert.equal(json(await post(`${adapter}/pin`))["pinned"], true);
  assertErrorReply(await post(`${adapter}/unload`, { parameters: { drain: false } }), 409, /LORASA_BUSY/);
  assert.equal(json(await post(`${adapter}/unpin`, {}))["pinned"], false);
  const gone = json(await post(`${adapter}/unload`, { parameters: { drain: false } }));
  assert.deepEqual([gone["state"], gone["version"]], ["UNAVAILABLE", ""]);
  const ready = await server.get("/v2/models/team/adapters/agent_0/ready");
  assertErrorReply(ready, 404, /LORASA_UNKNOWN_ADAPTER: adapter "agent_0" of team/);
  const listed = entries(await post(`${TEAM}/adapters/index`, { ready: true }));
  assert.deepEqual(
    listed.map(({ name }) => name),
    ["agent_1"],
  );
});

test("a load may pin, and may say what its bytes must be", async (context) => {
  const server = await managed(context);
  const { config, tensors } = files(server, 9);
  const load = (more: object) => {
    const encoded = Buffer.from(tensors).toString("base64");
    const parameters = { config, "file:adapter_model.safetensors": encoded, ...more };
    return server.post(`${TEAM}/adapters/agent_0.blue/load`, { parameters });
  };
  assertErrorReply(await load({ sha256: "abc" }), 400, /parameters\.sha256: expected 64 hex digits/);
  assertErrorReply(await load({ sha256: "0".repeat(64) }), 400, /LORASA_CHECKSUM/);
  assertErrorReply(await load({ pin: "yes" }), 400, /parameters\.pin: expected true or false/);
  const first = json(await load({ pin: true }));
  assert.deepEqual([first["pinned"], first["agent"], first["version"]], [true, "agent_0", "1"]);
  const again = await load({ sha256: String(first["sha256"]).toUpperCase(), load_inplace: true });
  assert.equal(json(again)["version"], "2");
});

function files({ policy }: Pick<Managed, "policy">, seed: number): { config: string; tensors: Uint8Array } {
  const encoded = encodeAdapter(policy.adapter(seed));
  return { config: Buffer.from(encoded[CONFIG_FILE]!).toString("utf8"), tensors: encoded[TENSORS_FILE]! };
}

function push(server: Managed, name: string, seed: number): Promise<TextReply> {
  const { config, tensors } = files(server, seed);
  const encoded = Buffer.from(tensors).toString("base64");
  const parameters = { config, "file:adapter_model.safetensors": encoded, load_inplace: true };
  return server.post(`${TEAM}/adapters/${name}/load`, { parameters });
}
