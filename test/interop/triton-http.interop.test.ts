/** Triton's Python HTTP clients, blocking and asyncio, against a server of ours. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import type { RunningServer } from "../../server/app.ts";
import { assertClose } from "../helpers/close.ts";
import { failure, type InferArguments, type Inferred, TritonClient, tritonPython } from "./triton-client.ts";
import { addressOf, expectedTeam, observations, serveModels, TOKEN, writeModels } from "./triton-served.ts";
import { checkClient } from "./triton-suite.ts";

const found = tritonPython();
const skip = "missing" in found && found.missing;
const FLAVOURS = ["http", "http-aio"] as const;

let folder: string;
let server: RunningServer;
const clients = new Map<string, TritonClient>();

before(async () => {
  if ("missing" in found) return;
  folder = await mkdtemp(join(tmpdir(), "lorasa-triton-"));
  writeModels(folder);
  server = await serveModels(folder);
  for (const flavour of FLAVOURS)
    clients.set(flavour, await TritonClient.start(found.python, flavour, addressOf(server.url)));
});

after(async () => {
  if ("missing" in found) return;
  for (const client of clients.values()) await client.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

const SHAPE = [3, 2, 4];

for (const flavour of FLAVOURS) {
  const client = (): TritonClient => clients.get(flavour)!;
  const obs = observations(SHAPE, 2);
  const plain: InferArguments = { model_name: "factored", inputs: { obs } };

  checkClient(flavour, () => ({ url: server.url, client: client() }), skip);

  test(`${flavour}: JSON and binary, inputs and outputs, in every pairing`, { skip }, async () => {
    for (const binaryIn of [true, false]) {
      for (const binaryOut of [true, false]) {
        const reply = await client().infer({
          model_name: "factored",
          inputs: { obs: { ...obs, binary_data: binaryIn } },
          outputs: [{ name: "action", binary_data: binaryOut }],
        });
        check(reply);
        const { parameters, data } = rawOutput(reply);
        assert.deepEqual(parameters, binaryOut ? { binary_data_size: 48 } : undefined);
        assert.equal(data === undefined, binaryOut);
      }
    }
  });

  test(`${flavour}: BYTES as JSON, INT64 outputs as JSON`, { skip }, async () => {
    const agent = { datatype: "BYTES", shape: [2], data: ["agent_1", "agent_0"], binary_data: false };
    const rows = { ...observations([2, 4], 3), binary_data: false };
    const outputs = [{ name: "action", binary_data: false }];
    const asText = await client().infer({ model_name: "discrete", inputs: { obs: rows, agent }, outputs });
    const asBytes = await client().infer({
      model_name: "discrete",
      inputs: { obs: observations([2, 4], 3), agent: { ...agent, binary_data: true } },
    });
    assert.deepEqual(asText.outputs["action"], asBytes.outputs["action"]);
    assert.equal(asText.outputs["action"]!.dtype, "int64");
  });

  test(`${flavour}: gzip and deflate both ways, and errors that are not compressed`, { skip }, async () => {
    const large = observations([64, 2, 4], 5);
    for (const sent of [undefined, "gzip", "deflate"]) {
      for (const wanted of [undefined, "gzip", "deflate"]) {
        const options = { request_compression_algorithm: sent, response_compression_algorithm: wanted };
        const reply = await client().infer({ model_name: "factored", inputs: { obs: large }, ...options });
        assertClose(
          reply.outputs["action"]!.data,
          expectedTeam(large.data),
          { atol: 2e-6 },
          `${sent} ${wanted}`,
        );
        check(
          await client().infer({ ...plain, outputs: [{ name: "action", binary_data: false }], ...options }),
        );
        await failure(client().infer({ ...plain, model_name: "nobody", ...options }), /LORASA_UNKNOWN_MODEL/);
      }
    }
  });

  test(`${flavour}: headers, a plugin's too, and query strings arrive`, { skip }, async (context) => {
    check(
      await client().infer({ ...plain, query_params: { trace: ["a b", 1] }, headers: { "X-Request": "7" } }),
    );
    assert.equal(await client().call("is_server_ready", { query_params: { x: 1 } }), true);
    const own = await TritonClient.start(pythonPath(), flavour, addressOf(server.url));
    context.after(() => own.close());
    await failure(own.call("get_model_repository_index"), /LORASA_UNAUTHORIZED/);
    await own.call("use_token", { token: TOKEN });
    assert.ok(Array.isArray(await own.call("get_model_repository_index")));
    check(await own.infer(plain));
  });

  test(`${flavour}: a body that the client made, another sent, and the client reads`, { skip }, async () => {
    const made = (await client().call("infer_body", { ...plain, model_name: undefined })) as {
      readonly body: string;
      readonly json_size: number;
    };
    const reply = await fetch(`${server.url}/v2/models/factored/infer`, {
      method: "POST",
      body: Buffer.from(made.body, "hex"),
      headers: { "Inference-Header-Content-Length": `${made.json_size}` },
    });
    const body = Buffer.from(await reply.arrayBuffer()).toString("hex");
    const json_size = Number(reply.headers.get("inference-header-content-length"));
    // The driver writes it so.
    check((await client().call("parse_body", { body, json_size })) as Inferred);
  });

  test(`${flavour}: under a base path, with a token for inference`, { skip }, async (context) => {
    const inferToken = "a token for inference";
    const closed = await serveModels(folder, { basePath: "/fleet/a", inferToken });
    context.after(() => closed.close());
    const own = await TritonClient.start(pythonPath(), flavour, addressOf(closed.url));
    context.after(() => own.close());
    assert.match(closed.url, /\/fleet\/a$/);
    assert.equal(await own.call("is_server_ready"), true);
    await failure(own.infer(plain), /LORASA_UNAUTHORIZED/);
    for (const name of ["get_server_metadata", "get_inference_statistics"])
      await failure(own.call(name), /LORASA_UNAUTHORIZED/);
    await own.call("use_token", { token: inferToken });
    check(await own.infer(plain));
    assert.equal((await own.object("get_server_metadata"))["name"], "lorasa");
    await failure(own.call("get_model_repository_index"), /LORASA_UNAUTHORIZED/);
  });

  function check(reply: Inferred): void {
    assert.deepEqual(reply.outputs["action"]!.shape, [3, 2, 2]);
    assertClose(reply.outputs["action"]!.data, expectedTeam(obs.data), { atol: 2e-6 });
  }
}

/** The one output of a reply as its JSON has it. */
function rawOutput({ response }: Inferred): { readonly parameters?: unknown; readonly data?: unknown } {
  const { outputs } = response as unknown as {
    readonly outputs: readonly [{ readonly parameters?: unknown; readonly data?: unknown }];
  };
  return outputs[0];
}

function pythonPath(): string {
  assert.ok("python" in found);
  return found.python;
}

test("examples/triton_client.py drives a team for an episode", { skip }, async () => {
  for (const [model, recurrent] of [
    ["factored", false],
    ["recurrent", true],
  ] as const) {
    const args = ["examples/triton_client.py", addressOf(server.url), model];
    const { stdout } = await promisify(execFile)(pythonPath(), args);
    const said = JSON.parse(stdout) as { shape: number[]; recurrent: boolean; versions: object };
    assert.deepEqual([said.shape, said.recurrent], [[4, 2, 2], recurrent]);
    assert.deepEqual(said.versions, { adapter_versions: "agent_0=1,agent_1=1" });
  }
});
