/** The server as HTTP: health, metadata, the three ways to send a tensor, metrics, the page, and bad connections. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { test } from "node:test";
import { METRICS } from "../../server/operations/metrics.ts";
import { ask, assertErrorReply, serveTiny } from "../helpers/tiny-server.ts";

const OBS = Float32Array.of(1, 2, 3, 4, 5, 6);

test("health and metadata", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored", hidden: 4 });
  assert.deepEqual(JSON.parse((await ask(`${url}/v2/health/live`)).text), { live: true });
  assert.deepEqual(JSON.parse((await ask(`${url}/v2/health/ready?x=1`)).text), { ready: true });
  for (const path of ["/v2", "/v2/"]) {
    const server = JSON.parse((await ask(url + path)).text) as { name: string; extensions: string[] };
    assert.equal(server.name, "lorasa");
    assert.ok(server.extensions.includes("binary_tensor_data"));
  }
  for (const path of ["team", "team/versions/1"]) {
    const { text } = await ask(`${url}/v2/models/${path}`);
    const { properties, ...model } = JSON.parse(text) as { properties: Record<string, string> };
    assert.deepEqual(model, {
      name: "team",
      versions: ["1"],
      platform: "onnxruntime_onnx",
      inputs: [
        { name: "obs", datatype: "FP32", shape: [-1, 2, 3] },
        { name: "hidden_in", datatype: "FP32", shape: [-1, 2, 4] },
      ],
      outputs: [
        { name: "action", datatype: "FP32", shape: [-1, 2, 2] },
        { name: "hidden_out", datatype: "FP32", shape: [-1, 2, 4] },
      ],
    });
    assert.equal(properties["lorasa.mode"], "factored");
    assert.equal(properties["lorasa.agents"], "agent_0,agent_1");
  }
  const agent = JSON.parse((await ask(`${url}/v2/models/team.agent_1`)).text) as { inputs: unknown[] };
  assert.deepEqual(agent.inputs[0], { name: "obs", datatype: "FP32", shape: [-1, 3] });
  const ready = await ask(`${url}/v2/models/team.agent_1/versions/1/ready`);
  assert.deepEqual(JSON.parse(ready.text), { name: "team.agent_1", ready: true });
});

test("JSON, binary and raw requests get the same action", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored" });
  const infer = `${url}/v2/models/team/infer`;
  const obs = { name: "obs", datatype: "FP32", shape: [1, 2, 3] };
  const plain = await ask(infer, {
    method: "POST",
    body: JSON.stringify({ id: "a", inputs: [{ ...obs, data: [...OBS] }] }),
  });
  assert.equal(plain.headers.get("content-type"), "application/json");
  const reply = JSON.parse(plain.text) as { outputs: { data: number[] }[] };
  assert.deepEqual(Object.keys(reply), ["id", "model_name", "model_version", "parameters", "outputs"]);
  const expected = Float32Array.from(reply.outputs[0]!.data);

  const json = Buffer.from(
    JSON.stringify({
      inputs: [{ ...obs, parameters: { binary_data_size: 24 } }],
      outputs: [{ name: "action", parameters: { binary_data: true } }],
    }),
  );
  const bytes = new Uint8Array(OBS.buffer);
  for (const [length, body] of [
    [json.length, Buffer.concat([json, bytes])],
    [0, bytes],
  ] as const) {
    const binary = await fetch(infer, {
      method: "POST",
      body,
      headers: { "Inference-Header-Content-Length": `${length}` },
    });
    assert.equal(binary.status, 200);
    assert.equal(binary.headers.get("content-type"), "application/octet-stream");
    const whole = Buffer.from(await binary.arrayBuffer());
    const split = Number(binary.headers.get("inference-header-content-length"));
    const head = JSON.parse(whole.toString("utf8", 0, split)) as {
      outputs: { name: string; parameters: unknown }[];
    };
    assert.deepEqual(head.outputs[0]!.parameters, { binary_data_size: 16 });
    const action = new Float32Array(Uint8Array.from(whole.subarray(split)).buffer);
    assert.deepEqual(action, expected);
  }
});

test("a body in many small chunks", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const body = JSON.stringify({
    inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [...OBS] }],
  });
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const sent = request(`${url}/v2/models/team/infer`, { method: "POST" }, (reply) => {
      reply.resume();
      resolve(reply.statusCode);
    });
    sent.on("error", reject);
    for (const character of body) sent.write(character);
    sent.end();
  });
  assert.equal(status, 200);
});

test("a body over the limit is refused by its header and while it arrives", async (context) => {
  const { url, faults } = await serveTiny(context, { mode: "stacked" }, { bodyLimitBytes: 1000 });
  const infer = `${url}/v2/models/team/infer`;
  const declared = await ask(infer, { method: "POST", body: "x".repeat(1001) });
  assertErrorReply(
    declared,
    413,
    /LORASA_TOO_LARGE: request body: expected at most 1000 bytes, received 1001/,
  );
  const stream = new ReadableStream({
    start(controller) {
      for (let i = 0; i < 5; i++) controller.enqueue(new Uint8Array(400));
      controller.close();
    },
  });
  const chunked = await ask(infer, { method: "POST", body: stream, duplex: "half" } as RequestInit);
  assertErrorReply(chunked, 413, /LORASA_TOO_LARGE/);
  assert.equal((await ask(`${url}/v2/health/ready`)).status, 200);
  assert.deepEqual(faults, []);
});

const VERBS = [
  ["PUT", "/v2/models/team/infer", "POST"],
  ["GET", "/v2/models/team/infer", "POST"],
  ["POST", "/v2/health/live", "GET"],
  ["POST", "/v2/models/team", "GET"],
  ["DELETE", "/metrics", "GET"],
  ["GET", "/v2/repository/models/team/adapters/index", "POST"],
] as const;

test("wrong verbs are 405 with what is allowed, unknown paths 404, always JSON", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  for (const [method, path, allowed] of VERBS) {
    const reply = await ask(url + path, { method });
    assertErrorReply(reply, 405, /Method Not Allowed/, `${method} ${path}`);
    assert.equal(reply.headers.get("allow"), allowed);
  }
  for (const path of [
    "/nothing",
    "/V2",
    "/v2/models/",
    "/v2/models/team/versions/x/infer",
    "/%ff",
    "/metrics/",
  ]) {
    const reply = await ask(url + path, { method: path.endsWith("infer") ? "POST" : "GET" });
    assertErrorReply(reply, 404, /Not Found/, path);
  }
});

test("metrics: every name of the table, and counts that rise", async (context) => {
  const { url, client } = await serveTiny(context, { mode: "factored" });
  const obs = { dtype: "float32", dims: [1, 2, 3], data: OBS } as const;
  for (let i = 0; i < 3; i++) await client.infer("team", { obs });
  await client.infer("team.agent_0", { obs: { ...obs, dims: [2, 3] } });
  await client.infer("team", {}).catch(() => undefined);
  const { text, headers } = await ask(`${url}/metrics`);
  assert.match(headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  for (const [name, { kind }] of Object.entries(METRICS)) {
    assert.ok(text.includes(`# TYPE ${name} ${kind}\n`), name);
  }
  assert.match(text, /^lorasa_request_duration_seconds_count\{model="team"\} 4$/m);
  assert.match(text, /^lorasa_compute_seconds_count\{model="team",mode="factored"\} 4$/m);
  assert.match(text, /^lorasa_batch_rows_sum\{model="team"\} 8$/m);
  assert.match(text, /^lorasa_rejected_total\{reason="LORASA_NAME"\} 1$/m);
  assert.match(text, /^lorasa_adapter_info\{model="team",adapter="agent_1",version="1",state="READY"\} 1$/m);
  // Two slots of A [3, 2] and B [2, 2].
  assert.match(text, /^lorasa_adapter_bytes\{model="team"\} 80$/m);
  assert.match(text, /^lorasa_inflight 1$/m);
});

test("the page shows models, adapters and rates, and reaches for nothing outside", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored", without: [1] });
  const { text, headers } = await ask(`${url}/`);
  assert.match(headers.get("content-type") ?? "", /text\/html/);
  assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
  assert.match(text, /team\.agent_0<\/code>/);
  assert.match(text, /version 1<\/span>/);
  assert.match(text, /none loaded/);
  assert.match(text, /requests\/s/);
  assert.doesNotMatch(text, /https?:\/\/|<script|src=/);
});

test("what is not HTTP is answered with JSON, and the server goes on", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const { port } = new URL(url);
  const exchange = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      let reply = "";
      const socket = connect(Number(port), "127.0.0.1", () => socket.write(text));
      socket.on("data", (chunk) => {
        reply += chunk.toString("utf8");
      });
      socket.on("close", () => resolve(reply));
      socket.on("error", reject);
    });
  assert.match(await exchange("nonsense\r\n\r\n"), /^HTTP\/1\.1 400 .*\{"error":"malformed HTTP"\}$/s);
  const long = `GET /v2 HTTP/1.1\r\nX: ${"a".repeat(20_000)}\r\n\r\n`;
  assert.match(await exchange(long), /^HTTP\/1\.1 431 .*\{"error":"request headers are too long"\}$/s);
  assert.equal((await ask(`${url}/v2/health/ready`)).status, 200);
});

test("a client that leaves in the middle of its body is no fault of the server", async (context) => {
  const { url, faults } = await serveTiny(context, { mode: "stacked" });
  const { port } = new URL(url);
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), "127.0.0.1", () => {
      socket.write("POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{");
      setTimeout(() => socket.destroy(), 20);
    });
    socket.on("close", () => resolve());
  });
  const { text } = await ask(`${url}/metrics`);
  assert.match(text, /^lorasa_inflight 1$/m);
  assert.deepEqual(faults, []);
});
