/** The server as HTTP: health, metadata, the three ways to send a tensor, metrics, the page, and bad connections. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { connect as tlsConnect } from "node:tls";
import { startServer } from "../../server/app.ts";
import { HEADER_LIMIT_COUNT } from "../../server/limits.ts";
import { METRICS } from "../../server/operations/metric-table.ts";
import { selfSigned } from "../helpers/self-signed.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { ask, assertErrorReply, serveTiny, TOKEN } from "../helpers/tiny-server.ts";

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
  ["POST", "/v2/health/live", "GET, HEAD"],
  ["POST", "/v2/models/team", "GET, HEAD"],
  ["DELETE", "/metrics", "GET, HEAD"],
  ["POST", "/v2/models/team/versions/1/config", "GET, HEAD"],
  ["GET", "/v1/load_lora_adapter", "POST"],
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
    "/v2/models/team/versions/-1/infer",
    "/v2/models/team/versions//infer",
    "/v2/health/live/",
    "/V2/health/live",
    "/v2/%68ealth/live",
    "//v2",
    "/%ff",
    "/metrics/",
  ]) {
    const reply = await ask(url + path, { method: path.endsWith("infer") ? "POST" : "GET" });
    assertErrorReply(reply, 404, /Not Found/, path);
  }
});

test("HEAD is answered as GET without the body", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  for (const path of ["/v2/models/team", "/v2/models/team/config"]) {
    const headers = { "Accept-Encoding": "identity" };
    const whole = await ask(url + path, { headers });
    const head = await ask(url + path, { method: "HEAD", headers });
    assert.equal(head.status, 200, path);
    assert.equal(head.text, "");
    assert.equal(head.headers.get("content-length"), `${Buffer.byteLength(whole.text)}`);
  }
});

test("any content type, or none, is read", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const body = Buffer.from(
    JSON.stringify({ inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [...OBS] }] }),
  );
  for (const type of [undefined, "text/plain", "application/x-www-form-urlencoded", "application/xml", "?"]) {
    const headers = type === undefined ? {} : { "Content-Type": type };
    const reply = await ask(`${url}/v2/models/team/infer`, { method: "POST", body, headers });
    assert.equal(reply.status, 200, `${type}: ${reply.text}`);
  }
});

test("under a base path everything is, and nothing outside it", async (context) => {
  const { url, client } = await serveTiny(
    context,
    { mode: "factored" },
    { basePath: "/a/lorasa/", token: TOKEN },
  );
  assert.match(url, /:\d+\/a\/lorasa$/);
  const { origin } = new URL(url);
  const obs = { dtype: "float32", dims: [1, 2, 3], data: OBS } as const;
  assert.ok((await client.infer("team", { obs })).outputs["action"]);
  assert.equal((await client.listAdapters("team")).length, 2);
  for (const path of ["/v2/health/live", "/v2", "/v2/", "/", "/metrics", "/v2/models/team?x=/"]) {
    assert.equal((await ask(url + path)).status, 200, path);
    assertErrorReply(await ask(origin + path), 404, /Not Found/, path);
    assertErrorReply(await ask(`${url}/a/lorasa${path}`), 404, /Not Found/, path);
  }
  assertErrorReply(await ask(url), 404, /Not Found/);
});

test("a base path that is none is refused before anything is opened", async (context) => {
  const repository = temporaryFolder(context);
  for (const basePath of ["lorasa", "//x", "/x//", "/../x", "/a/./b", "/a b", "/:model", "/x?", "/{y}"]) {
    await assert.rejects(startServer({ repository, port: 0, basePath }), { code: "LORASA_FLAG" }, basePath);
  }
});

test("more headers than allowed are refused, not dropped in silence", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const { port } = new URL(url);
  const send = (count: number): Promise<string> => {
    const headers = Array.from({ length: count - 2 }, (_, at) => `X-${at}: 1\r\n`).join("");
    const get = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    return exchange(Number(port), `${get}${headers}\r\n`);
  };
  assert.match(await send(HEADER_LIMIT_COUNT), /^HTTP\/1\.1 200 /);
  for (const count of [HEADER_LIMIT_COUNT + 1, 3 * HEADER_LIMIT_COUNT]) {
    assert.match(await send(count), /^HTTP\/1\.1 431 .*\{"error":"more than 128 request headers"\}$/s);
  }
});

test("connections beyond the most are told so, and the first ones are answered on", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" }, { maxConnections: 2 });
  const port = Number(new URL(url).port);
  const held = [await Held.open(port), await Held.open(port)];
  context.after(() => {
    for (const { socket } of held) socket.destroy();
  });
  for (const connection of held) assert.match(await connection.ask(), /^HTTP\/1\.1 200 /);
  const refused = await exchange(port, "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n");
  assert.match(refused, /^HTTP\/1\.1 503 .*LORASA_UNAVAILABLE: connection: expected at most 2 open/s);
  assert.match(refused, /Retry-After: 1\r\n/);
  assert.match(refused, /Connection: close\r\n/);
  for (const connection of held) assert.match(await connection.ask(), /^HTTP\/1\.1 200 /);
  held[0]!.socket.destroy();
  await waitFor(async () => {
    const reply = await exchange(
      port,
      "GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    );
    return /^HTTP\/1\.1 200 /.test(reply);
  });
});

test("clients that send slowly, or a head without an end, are let go with 408", async (context) => {
  const { url, faults } = await serveTiny(context, { mode: "stacked" }, { requestTimeoutMs: 300 });
  const port = Number(new URL(url).port);
  const slow = "POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n";
  for (const text of [slow, `${slow}\r\n{`]) {
    assert.match(
      await exchange(port, text),
      /^HTTP\/1\.1 408 [^{]*\{"error":"the request took too long to arrive"\}$/,
      text,
    );
  }
  assert.deepEqual(faults, []);
});

test("over TLS the same is answered, and TLS 1.1 is not spoken", async (context) => {
  const { cert, key } = selfSigned();
  const tls = { cert: Buffer.from(cert), key: Buffer.from(key) };
  const { url } = await serveTiny(context, { mode: "stacked" }, { tls });
  assert.match(url, /^https:\/\/127\.0\.0\.1:\d+$/);
  const reply = await new Promise<string>((resolve, reject) => {
    const sent = httpsRequest(`${url}/v2/models/team`, { ca: cert, agent: false }, (response) => {
      response.setEncoding("utf8").once("data", resolve);
    });
    sent.on("error", reject).end();
  });
  assert.equal((JSON.parse(reply) as { name: string }).name, "team");
  const port = Number(new URL(url).port);
  const old = { port, host: "127.0.0.1", ca: cert, maxVersion: "TLSv1.1", minVersion: "TLSv1" } as const;
  // Without this the client itself would refuse to speak it.
  const refusal = await new Promise<string>((resolve) => {
    const socket = tlsConnect({ ...old, ciphers: "DEFAULT@SECLEVEL=0" }, () => resolve("spoken"));
    socket.on("error", (error) => resolve(error.message));
  });
  assert.match(refusal, /version/i);
});

test("a certificate and key that are no pair are told in one line", async (context) => {
  const repository = temporaryFolder(context);
  const tls = { cert: Buffer.from(selfSigned().cert), key: Buffer.from(selfSigned().key) };
  for (const files of [tls, { ...tls, cert: Buffer.from("x") }]) {
    await assert.rejects(startServer({ repository, port: 0, tls: files }), {
      code: "LORASA_FILE",
      message: /TLS certificate and key: expected a pair in PEM/,
    });
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
  const port = Number(new URL(url).port);
  assert.match(await exchange(port, "nonsense\r\n\r\n"), /^HTTP\/1\.1 400 .*\{"error":"malformed HTTP"\}$/s);
  const long = `GET /v2 HTTP/1.1\r\nX: ${"a".repeat(20_000)}\r\n\r\n`;
  assert.match(await exchange(port, long), /^HTTP\/1\.1 431 .*\{"error":"request headers are too long"\}$/s);
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

test("a client that closes its half after asking is answered all the same", async (context) => {
  const { url } = await serveTiny(context, { mode: "stacked" });
  const body = JSON.stringify({
    inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [...OBS] }],
  });
  const head = `POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
  const reply = await exchange(Number(new URL(url).port), head + body, { end: true });
  assert.match(reply, /^HTTP\/1\.1 200 .*"outputs"/s);
});

/** What comes back until the server closes. */
function exchange(port: number, text: string, { end = false } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    let reply = "";
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: end }, () => {
      if (end) socket.end(text);
      else socket.write(text);
    });
    socket.on("data", (chunk) => {
      reply += chunk.toString("utf8");
      if (end) socket.destroy();
    });
    socket.on("close", () => resolve(reply));
    socket.on("error", reject);
  });
}

/** A connection that is kept open. */
class Held {
  readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
  }

  static open(port: number): Promise<Held> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1", () => resolve(new Held(socket)));
      socket.once("error", reject);
    });
  }

  ask(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.socket.once("error", reject);
      this.socket.once("data", (chunk) => resolve(chunk.toString("utf8")));
      this.socket.write("GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n");
    });
  }
}

/** Looks again until it is so; the test's own timeout ends what never is. */
async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail("it never came to be");
}
