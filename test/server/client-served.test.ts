/** Our client with our server, over TLS, behind a base path, with both tokens: every call does what it says. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { sha256 } from "../../src/base/files.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { assertClose } from "../helpers/close.ts";
import { selfSigned } from "../helpers/self-signed.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";

const MANAGE = "a token that manages";
const INFER = "a token for inference";
const HIDDEN = 2;
const OBSERVATION = [0.5, -1, 2];
const OBS = floatTensor([1, 3], OBSERVATION);

interface Served {
  readonly policy: TinyPolicy;
  readonly manager: ServerClient;
  /** With a token of this text, or none. */
  clientOf(token?: string): ServerClient;
}

async function served(context: TestContext): Promise<Served> {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "factored", hidden: HIDDEN }]);
  const { cert, key } = selfSigned();
  const caFile = join(temporaryFolder(context), "ca.pem");
  writeFileSync(caFile, cert);
  const server = await startServer({
    repository,
    port: 0,
    basePath: "/behind/proxy",
    token: MANAGE,
    inferToken: INFER,
    tls: { cert: Buffer.from(cert), key: Buffer.from(key) },
  });
  context.after(() => server.close());
  const clientOf = (token?: string): ServerClient => {
    const client = new ServerClient(server.url, { caFile, ...(token !== undefined && { token }) });
    context.after(() => client.close());
    return client;
  };
  return { policy: new TinyPolicy({ hidden: HIDDEN }), manager: clientOf(MANAGE), clientOf };
}

/** Inputs of one agent; without the state where the server holds it. */
function inputs(hidden?: HostTensor): Record<string, HostTensor> {
  return { obs: OBS, ...(hidden && { hidden_in: hidden }) };
}

const ZEROS = floatTensor([1, HIDDEN]);

function push(client: ServerClient, policy: TinyPolicy, name: string, seed: number, pin = false) {
  const { [CONFIG_FILE]: config, [TENSORS_FILE]: tensors } = encodeAdapter(policy.adapter(seed));
  return client.pushAdapter("team", name, Buffer.from(config!).toString(), tensors!, { pin });
}

test("inference needs a token where the server asks for one, and that token does not manage", async (context) => {
  const { clientOf, manager } = await served(context);
  await assert.rejects(
    clientOf().infer("team.agent_0", inputs(ZEROS)),
    /401, LORASA_UNAUTHORIZED.*--token-file/,
  );
  const client = clientOf(INFER);
  assert.deepEqual((await client.infer("team.agent_0", inputs(ZEROS))).adapterVersions, { agent_0: 1 });
  await assert.rejects(client.listAdapters("team"), /401, LORASA_UNAUTHORIZED/);
  assert.equal((await manager.listAdapters("team")).length, 2);
  assert.equal(await clientOf().isReady(), true);
});

test("a request names its adapter, and the server holds the state of its sequence", async (context) => {
  const { policy, manager } = await served(context);
  const { agent, version } = await push(manager, policy, "agent_0.blue", 40);
  assert.deepEqual([agent, version], ["agent_0", "1"]);
  const blue = await manager.infer("team.agent_0", inputs(ZEROS), { adapterId: "agent_0.blue", priority: 1 });
  const expected = policy.logits(OBSERVATION, 0, policy.adapter(40)).map(Math.tanh);
  assertClose(blue.outputs["action"]!.data as Float32Array, expected);
  assert.deepEqual(blue.adapterVersions, { "agent_0.blue": 1 });
  const first = await manager.infer("team.agent_0", inputs(ZEROS));
  const second = await manager.infer("team.agent_0", inputs(first.outputs["hidden_out"]!));
  const step = (options: object) =>
    manager.infer("team.agent_0", inputs(), { sequenceId: "one", timeoutUs: 10_000_000, ...options });
  await step({ sequenceStart: true });
  const held = await step({ sequenceEnd: true });
  assertClose(
    held.outputs["hidden_out"]!.data as Float32Array,
    second.outputs["hidden_out"]!.data as Float32Array,
  );
});

test("an adapter's life: pushed, pinned, rolled back, unloaded", async (context) => {
  const { policy, manager } = await served(context);
  const tensors = encodeAdapter(policy.adapter(41))[TENSORS_FILE]!;
  const pushed = await push(manager, policy, "agent_0", 41, true);
  assert.deepEqual(
    [pushed.version, pushed.previousVersion, pushed.pinned, pushed.sha256, pushed.state],
    ["2", "1", true, sha256(tensors), "READY"],
  );
  assert.ok(pushed.resident && pushed.bytes > 0 && pushed.loadedAtMs > 0);
  await assert.rejects(manager.unloadAdapter("team", "agent_0"), /409, LORASA_BUSY/);
  assert.equal((await manager.unpinAdapter("team", "agent_0")).pinned, false);
  assert.equal((await manager.pinAdapter("team", "agent_0")).pinned, true);
  await manager.unpinAdapter("team", "agent_0");
  const back = await manager.rollbackAdapter("team", "agent_0");
  assert.deepEqual([back.version, back.previousVersion], ["3", "2"]);
  const { layers, ...described } = await manager.describeAdapter("team", "agent_0");
  assert.equal(described.sha256, back.sha256);
  assert.deepEqual(layers, [{ name: "policy", in: 3, out: 2, rank: 2, scale: 1.5 }]);
  const { [CONFIG_FILE]: config } = encodeAdapter(policy.adapter(41));
  await assert.rejects(
    manager.pushAdapter("team", "agent_0", Buffer.from(config!).toString(), tensors, { keep: true }),
    /409, LORASA_EXISTS/,
  );
  const gone = await manager.unloadAdapter("team", "agent_0", { drain: false });
  assert.equal(gone.state, "UNAVAILABLE");
  await assert.rejects(manager.infer("team.agent_0", inputs(ZEROS)), /404, LORASA_UNKNOWN_ADAPTER/);
});

test("models are listed, counted, described, unloaded and loaded again", async (context) => {
  const { manager } = await served(context);
  const states = async () =>
    Object.fromEntries((await manager.index()).map(({ name, state }) => [name, state]));
  assert.equal((await states())["team"], "READY");
  await manager.infer("team.agent_0", inputs(ZEROS));
  const [own] = await manager.statistics("team");
  assert.equal(own!.name, "team");
  assert.equal((await manager.statistics()).find(({ name }) => name === "team.agent_0")?.inference_count, 1);
  assert.equal(((await manager.modelConfig("team")) as { name: string }).name, "team");
  const facts = await manager.modelFacts("team");
  assert.deepEqual([facts.mode, facts.agents], ["factored", ["agent_0", "agent_1"]]);
  assert.match(facts.backboneSha256, /^[0-9a-f]{64}$/);
  await manager.unloadModel("team");
  assert.equal((await states())["team"], "UNAVAILABLE");
  await assert.rejects(manager.infer("team.agent_0", inputs(ZEROS)), /404, LORASA_UNKNOWN_MODEL/);
  await manager.loadModel("team");
  assert.deepEqual((await manager.infer("team.agent_0", inputs(ZEROS))).adapterVersions, { agent_0: 2 });
});
