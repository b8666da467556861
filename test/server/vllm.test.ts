/** vLLM's door over a service of fakes: names, statuses, bodies. Not whether an adapter fits. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { AdapterLoad, AdapterStatus, Adapters, PolicyService } from "../../server/engine/service.ts";
import type { ServerContext } from "../../server/http/handler.ts";
import { sendError } from "../../server/http/reply.ts";
import type { Action } from "../../server/http/routes.ts";
import { listModelCards, loadLoraAdapter, unloadLoraAdapter } from "../../server/http/vllm-routes.ts";
import { ModelMeters } from "../../server/operations/model-meters.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { ask, type TextReply } from "../helpers/tiny-server.ts";

const ACTIONS: Readonly<Record<string, Action>> = {
  "/v1/models": listModelCards,
  "/v1/load_lora_adapter": loadLoraAdapter,
  "/v1/unload_lora_adapter": unloadLoraAdapter,
};

interface Card {
  readonly id: string;
  readonly object: string;
  readonly created: number;
  readonly root: string;
  readonly parent: string | null;
}

test("an adapter is loaded from the model's own folder and told in a line of text", async (context) => {
  const { load, loads } = await openDoor(context, ["team"]);
  const reply = await load({ lora_name: "agent_0.blue", lora_path: "blue", load_inplace: false });
  assert.equal(reply.status, 200, reply.text);
  assert.match(reply.headers.get("content-type") ?? "", /^text\/plain/);
  assert.match(reply.text, /^Success: .*agent_0\.blue/);
  assert.deepEqual(loads, [{ model: "team", name: "agent_0.blue", replace: false, config: "{}" }]);
});

test("load_inplace is of its request alone: the next load without it is refused", async (context) => {
  const { load, loads, meters } = await openDoor(context, ["team"]);
  const body = { lora_name: "agent_0", lora_path: "blue" };
  assert.equal((await load(body)).status, 200);
  assertError(await load(body), 400, "InvalidUserInput", /LORASA_EXISTS/);
  assert.equal((await load({ ...body, load_inplace: true })).status, 200);
  assertError(await load(body), 400, "InvalidUserInput", /LORASA_EXISTS/);
  assert.deepEqual(
    loads.map(({ replace }) => replace),
    [false, true],
  );
  assert.equal(meters.loads.failure, 2);
});

test("with several factored models a name begins with its model's, the longest one first", async (context) => {
  const { load, unload, loads } = await openDoor(context, ["team", "team.b"]);
  assert.equal((await load({ lora_name: "team.b.agent_0", lora_path: "blue" })).status, 200);
  assert.equal((await load({ lora_name: "team.agent_1", lora_path: "blue" })).status, 200);
  assert.deepEqual(
    loads.map(({ model, name }) => [model, name]),
    [
      ["team.b", "agent_0"],
      ["team", "agent_1"],
    ],
  );
  const wanting = await load({ lora_name: "agent_0", lora_path: "blue" });
  assertError(wanting, 404, "NotFoundError", /<model>\.<adapter>/);
  assert.equal((await unload({ lora_name: "team.b.agent_0" })).status, 200);
});

test("what cannot be loaded has vLLM's status and kind", async (context) => {
  const { load, unload, loads } = await openDoor(context, ["team"]);
  const name = { lora_name: "agent_0" };
  assertError(await load(name), 400, "InvalidUserInput", /lora_path/);
  assertError(await load({ lora_path: "blue" }), 400, "InvalidUserInput", /lora_name/);
  assertError(
    await load({ ...name, lora_path: "blue", load_inplace: "yes" }),
    400,
    "InvalidUserInput",
    /inplace/,
  );
  assertError(await load({ ...name, lora_path: "nowhere" }), 404, "NotFoundError", /LORASA_FILE/);
  assertError(await load({ ...name, lora_path: "../../secret" }), 403, "BadRequestError", /LORASA_FORBIDDEN/);
  assertError(await load({ ...name, lora_path: "https://x/y" }), 400, "InvalidUserInput", /URL/);
  assertError(
    await load({ lora_name: "agent_0/../x", lora_path: "blue" }),
    400,
    "InvalidUserInput",
    /lora_name/,
  );
  assertError(
    await load({ lora_name: "nobody", lora_path: "blue" }),
    404,
    "NotFoundError",
    /UNKNOWN_ADAPTER/,
  );
  assertError(await unload({ lora_name: "agent_1" }), 404, "NotFoundError", /UNKNOWN_ADAPTER/);
  assertError(await unload({}), 400, "InvalidUserInput", /lora_name/);
  assert.deepEqual(loads, []);
});

test("a body that is no JSON is the client's mistake, and every refusal is counted", async (context) => {
  const { url, rejected } = await openDoor(context, ["team"]);
  const reply = await ask(`${url}/v1/load_lora_adapter`, { method: "POST", body: "{" });
  assertError(reply, 400, "InvalidUserInput", /JSON/);
  assert.deepEqual(rejected, ["LORASA_REQUEST"]);
});

test("without a factored model there is nothing to load into", async (context) => {
  const { load } = await openDoor(context, []);
  assertError(
    await load({ lora_name: "agent_0", lora_path: "blue" }),
    404,
    "NotFoundError",
    /no factored model/,
  );
});

test("a fault of the server goes the common way and tells nothing of the inside", async (context) => {
  const { load, faults } = await openDoor(context, ["team"], "LORASA_DISK");
  const reply = await load({ lora_name: "agent_0", lora_path: "blue" });
  assert.equal(reply.status, 500);
  assert.deepEqual(JSON.parse(reply.text), { error: "LORASA_DISK: internal error" });
  assert.equal(faults.length, 1);
});

test("cards list models and loaded adapters under the names that load them, without paths", async (context) => {
  const { url, load } = await openDoor(context, ["team"]);
  await load({ lora_name: "agent_0.blue", lora_path: "blue" });
  const { text } = await ask(`${url}/v1/models`);
  const { object, data } = JSON.parse(text) as { object: string; data: Card[] };
  assert.equal(object, "list");
  assert.deepEqual(
    data.map(({ id, root, parent }) => ({ id, root, parent })),
    [
      { id: "fused", root: "fused", parent: null },
      { id: "team", root: "team", parent: null },
      { id: "agent_0.blue", root: "team.agent_0.blue", parent: "team" },
    ],
  );
  for (const card of data) {
    assert.equal(card.object, "model");
    assert.ok(Number.isInteger(card.created));
  }
  assert.equal(data[2]!.created, 12);
  assert.doesNotMatch(text, /\/tmp|safetensors/);
});

/** A door on a free port; `fused` is served too, its adapters in its graphs. */
async function openDoor(context: TestContext, factored: readonly string[], breaks?: "LORASA_DISK") {
  const root = temporaryFolder(context);
  for (const model of factored) writeAdapter(join(root, model, "adapters", "blue"));
  const loads: { model: string; name: string; replace: boolean; config: string }[] = [];
  const rejected: string[] = [];
  const meters = new ModelMeters(() => "factored");
  const faults: unknown[] = [];
  const models = new Map(factored.map((model) => [model, fakeAdapters(model, loads, breaks)]));
  // What these actions ask of the context, and nothing else.
  const doorContext = {
    service: fakeService(models),
    metrics: { recordRejected: (code: string) => rejected.push(code), model: () => meters },
    bodyLimitBytes: 1 << 20,
    adapterRoot: (model: string) => join(root, model, "adapters"),
  } as unknown as ServerContext;
  const server = createServer(async (request, response) => {
    try {
      const match = { model: "", version: undefined, adapter: "" };
      await ACTIONS[request.url ?? ""]!(request, response, doorContext, match);
    } catch (error) {
      faults.push(error);
      sendError(response, error);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  context.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const post = (path: string) => (body: object) =>
    ask(url + path, { method: "POST", body: JSON.stringify(body) });
  const [load, unload] = [post("/v1/load_lora_adapter"), post("/v1/unload_lora_adapter")];
  return { url, load, unload, loads, rejected, meters, faults };
}

function fakeService(models: ReadonlyMap<string, Adapters>): PolicyService {
  const names = [...models.keys()].flatMap((model) => [model, `${model}.agent_0`]);
  const service: Pick<PolicyService, "index" | "adapters"> = {
    index: () => [
      ...[...names, "fused"].map((name) => ({ name, version: "1", state: "READY" as const, reason: "" })),
      { name: "absent", version: "1", state: "UNAVAILABLE", reason: "unloaded" },
    ],
    adapters(name) {
      const found = models.get(name);
      if (found) return found;
      const code = name === "fused" ? "LORASA_ADAPTER" : "LORASA_UNKNOWN_MODEL";
      throw new LorasaError(code, { asked: name });
    },
  };
  // Nothing else of the service is asked for here.
  return service as PolicyService;
}

function fakeAdapters(
  model: string,
  loads: { model: string; name: string; replace: boolean; config: string }[],
  breaks?: "LORASA_DISK",
): Adapters {
  const loaded = new Map<string, AdapterStatus>();
  const unknown = (name: string) => new LorasaError("LORASA_UNKNOWN_ADAPTER", { asked: name });
  const adapters: Pick<Adapters, "list" | "load" | "unload"> = {
    list: () => [...loaded.values()],
    async load(name: string, { files, replace }: AdapterLoad) {
      if (breaks) throw new LorasaError(breaks, { asked: "/tmp/secret" });
      if (!name.startsWith("agent_")) throw unknown(name);
      if (loaded.has(name) && !replace) throw new LorasaError("LORASA_EXISTS", { asked: name });
      loads.push({ model, name, replace, config: files.config });
      const status = adapterStatus(name);
      loaded.set(name, status);
      return status;
    },
    async unload(name) {
      const status = loaded.get(name);
      if (!status) throw unknown(name);
      loaded.delete(name);
      return status;
    },
  };
  return adapters as Adapters;
}

function adapterStatus(name: string): AdapterStatus {
  return {
    name,
    agent: name.split(".")[0]!,
    version: 1,
    state: "READY",
    reason: "",
    resident: true,
    pinned: false,
    sha256: "",
    bytes: 8,
    loadedAtMs: 12_345,
    lastUsedMs: 0,
    previousVersion: 0,
  };
}

function writeAdapter(folder: string): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "adapter_config.json"), "{}");
  writeFileSync(join(folder, "adapter_model.safetensors"), "");
}

function assertError(reply: TextReply, status: number, type: string, message: RegExp): void {
  assert.equal(reply.status, status, reply.text);
  const { error, ...rest } = JSON.parse(reply.text) as { error: Record<string, unknown> };
  assert.deepEqual(rest, {});
  assert.deepEqual([error["type"], error["code"], error["param"]], [type, status, null]);
  assert.match(String(error["message"]), message);
  assert.doesNotMatch(String(error["message"]), /\/tmp\/|\n/);
}
