/** Starting and stopping: what is wrong with a repository or an address is told in one line, and nothing is left behind. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { RateMeter } from "../../server/operations/rate-meter.ts";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { writeTinyRepository } from "../helpers/tiny-models.ts";
import { ask, assertErrorReply, serveTiny, TOKEN } from "../helpers/tiny-server.ts";

test("a port that is taken", async (context) => {
  const { url, repository } = await serveTiny(context, { mode: "stacked" });
  const port = Number(new URL(url).port);
  await assertRejects(
    startServer({ repository, port }),
    "LORASA_PORT",
    /listening on 127\.0\.0\.1:\d+: .*in use; .*--port/,
  );
});

test("an address that other machines reach needs a token or a clear word", async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "stacked" }]);
  const open = { repository, port: 0, host: "0.0.0.0" };
  await assertRejects(startServer(open), "LORASA_FORBIDDEN", /0\.0\.0\.0.*--token-file/);
  for (const allowed of [{ allowOpen: true }, { token: "t" }]) {
    const server = await startServer({ ...open, ...allowed });
    await server.close();
  }
});

test("several models, each with its agents; a name that two answer to", async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [
    { mode: "merged", name: "a" },
    { mode: "factored", name: "b" },
  ]);
  const server = await startServer({ repository, port: 0 });
  for (const name of ["a", "a.agent_0", "b", "b.agent_1"]) {
    assert.equal((await ask(`${server.url}/v2/models/${name}`)).status, 200, name);
  }
  await server.close();
  writeTinyRepository(repository, [{ mode: "stacked", name: "a.agent_1" }]);
  await assertRejects(
    startServer({ repository, port: 0 }),
    "LORASA_EXISTS",
    /model a\.agent_1: expected one model/,
  );
});

interface Damage {
  readonly what: string;
  readonly code: ErrorCode;
  readonly message: RegExp;
  readonly damage: (folder: string) => void;
}

const DAMAGES: readonly Damage[] = [
  {
    what: "no models",
    code: "LORASA_FILE",
    message: /repository .*received none in it; run `lorasa export/,
    damage: (folder) => rmSync(join(folder, "team"), { recursive: true }),
  },
  {
    what: "no folder",
    code: "LORASA_FILE",
    message: /no such folder/,
    damage: (folder) => rmSync(folder, { recursive: true }),
  },
  {
    what: "a manifest that is not JSON",
    code: "LORASA_FILE",
    message: /model manifest .*expected JSON/,
    damage: (folder) => writeFileSync(join(folder, "team/model.json"), "{"),
  },
  {
    what: "a manifest with a wrong field",
    code: "LORASA_FILE",
    message: /model manifest .*, agents\.0\.observationSize/,
    damage: (folder) => edit(folder, '"observationSize": 3', '"observationSize": -3'),
  },
  {
    what: "a path that leads outside",
    code: "LORASA_FILE",
    message: /model manifest .*, graphs\.team/,
    damage: (folder) => edit(folder, '"team": "1/team.onnx"', '"team": "../team.onnx"'),
  },
  {
    what: "another folder's model",
    code: "LORASA_FILE",
    message: /model folder team: .*received other/,
    damage: (folder) => edit(folder, '"name": "team"', '"name": "other"'),
  },
  {
    what: "a graph of other bytes",
    code: "LORASA_CHECKSUM",
    message: /team\/1\/team\.onnx: expected \d+ bytes/,
    damage: (folder) => {
      const path = join(folder, "team/1/team.onnx");
      const bytes = readFileSync(path);
      bytes[40]! ^= 1;
      writeFileSync(path, bytes);
    },
  },
  {
    what: "a missing graph",
    code: "LORASA_FILE",
    message: /model file .*rows\.onnx: .*no such file/,
    damage: (folder) => rmSync(join(folder, "team/1/rows.onnx")),
  },
  {
    what: "graphs in each other's place",
    code: "LORASA_GRAPH",
    message: /team, team graph/,
    damage: (folder) => {
      edit(folder, '"team": "1/team.onnx"', '"team": "1/rows.onnx"');
      edit(folder, '"rows": "1/rows.onnx"', '"rows": "1/team.onnx"');
    },
  },
  {
    what: "other sizes than the graph's",
    code: "LORASA_GRAPH",
    message: /team, team graph, obs: expected float32 \[2, any, 4\], received float32 \[2, E, 3\]/,
    damage: (folder) => edit(folder, '"observationSize": 3', '"observationSize": 4'),
  },
  {
    what: "another backbone than the adapters'",
    code: "LORASA_ADAPTER",
    message: /adapter, backbone: expected revision 0000/,
    damage: (folder) =>
      edit(folder, /"backboneSha256": "[0-9a-f]+"/, `"backboneSha256": "${"0".repeat(64)}"`),
  },
];

for (const { what, code, message, damage } of DAMAGES) {
  test(`a repository with ${what}`, async (context) => {
    const repository = temporaryFolder(context);
    writeTinyRepository(repository, [{ mode: "factored" }]);
    damage(repository);
    await assertRejects(startServer({ repository, port: 0 }), code, message);
  });
}

test("closing answers what has begun, refuses what comes after, and is done once", async (context) => {
  const { url, close } = await serveTiny(context, { mode: "stacked" });
  const body = JSON.stringify({
    inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] }],
  });
  const head = `POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`;
  let reply = "";
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  const ended = new Promise((resolve) => socket.on("close", resolve));
  socket.on("data", (chunk) => {
    reply += chunk.toString("utf8");
  });
  socket.write(head + body.slice(0, 10));
  const later = connect(Number(new URL(url).port), "127.0.0.1");
  let refused = "";
  later.on("data", (chunk) => {
    refused += chunk.toString("utf8");
  });
  const laterEnded = new Promise((resolve) => later.on("close", resolve));
  // The head alone: the connection is not idle when the server begins to close.
  later.write("POST /v2/models/team/infer HTTP/1.1\r\n");
  await new Promise((resolve) => setTimeout(resolve, 30));
  const closing = close();
  later.write(`Host: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  socket.write(body.slice(10));
  await Promise.all([closing, close(), ended, laterEnded]);
  assert.match(reply, /^HTTP\/1\.1 200 OK.*"outputs"/s);
  assert.match(refused, /^HTTP\/1\.1 503 .*LORASA_UNAVAILABLE/s);
  assert.match(refused, /Retry-After: 1/);
  await close();
  await assert.rejects(ask(`${url}/v2/health/ready`));
});

test("while what has begun is answered, probes see a server that lives and is not ready", async (context) => {
  const { url, close } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const body = JSON.stringify({
    inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] }],
  });
  const begun = new Begun(url, `Content-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`);
  await begun.sent;
  await waitForInflight(url);
  const closing = close();
  const live = await ask(`${url}/v2/health/live`);
  assert.deepEqual([live.status, live.headers.get("connection")], [200, "close"]);
  const ready = await ask(`${url}/v2/health/ready`);
  assert.deepEqual([ready.status, JSON.parse(ready.text)], [503, { ready: false }]);
  assert.equal((await ask(`${url}/v2/models/team/ready`)).status, 503);
  assert.equal((await ask(`${url}/metrics`)).status, 200);
  const refused = await ask(`${url}/v2/models/team/infer`, { method: "POST", body });
  assertErrorReply(refused, 503, /LORASA_UNAVAILABLE: inference: expected a server that is ready/);
  assert.deepEqual([refused.headers.get("retry-after"), refused.headers.get("connection")], ["1", "close"]);
  const headers = { Authorization: `Bearer ${TOKEN}` };
  for (const path of [
    "/v2/repository/models/team/unload",
    "/v2/repository/models/team/adapters/agent_0/unload",
  ]) {
    const managed = await ask(url + path, { method: "POST", headers });
    assertErrorReply(managed, 503, /LORASA_UNAVAILABLE: management/, path);
  }
  begun.socket.write(body.slice(10));
  assert.match(await begun.ended, /^HTTP\/1\.1 200 OK.*"outputs"/s);
  await closing;
  await assert.rejects(ask(`${url}/v2/health/live`));
});

test("what is refused while stopping is nobody's fault", async (context) => {
  const { url, close, faults } = await serveTiny(context, { mode: "stacked" });
  const begun = new Begun(url, "Content-Length: 2\r\n\r\n{");
  await begun.sent;
  await waitForInflight(url);
  const closing = close();
  assert.equal((await ask(`${url}/v2/models/team/infer`, { method: "POST", body: "{}" })).status, 503);
  begun.socket.write("}");
  assert.match(await begun.ended, /^HTTP\/1\.1 400 /);
  await closing;
  assert.deepEqual(faults, []);
});

test("closing twice, at once and later, is closing once", async (context) => {
  const { close } = await serveTiny(context, { mode: "stacked" });
  await Promise.all([close(), close()]);
  await close();
});

test("a gRPC port that is taken leaves nothing behind", async (context) => {
  const { url, repository } = await serveTiny(context, { mode: "stacked" });
  const grpcPort = Number(new URL(url).port);
  const port = await freePort();
  await assertRejects(startServer({ repository, port, grpcPort }), "LORASA_PORT", /gRPC/);
  // The HTTP port is free again.
  const server = await startServer({ repository, port });
  await server.close();
});

test("over both doors one server: the gRPC address is told, and both close", async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [{ mode: "stacked" }]);
  const server = await startServer({ repository, port: 0, grpcPort: 0 });
  assert.match(server.grpcUrl ?? "", /^grpc:\/\/127\.0\.0\.1:\d+$/);
  await server.close();
  for (const url of [server.url, server.grpcUrl ?? ""]) {
    const { port } = new URL(url.replace("grpc:", "http:"));
    await assert.rejects(ask(`http://127.0.0.1:${port}/`), url);
  }
});

test("a client that never finishes cannot keep the server from closing", async (context) => {
  const { url, close } = await serveTiny(context, { mode: "stacked" }, { drainTimeoutMs: 50 });
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => {
    socket.write("POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", () =>
      resolve(),
    );
  });
  const started = performance.now();
  await close();
  assert.ok(performance.now() - started < 5000);
});

test("the client's own failures: no server, a wrong address, an address of something else", async (context) => {
  const { url, close } = await serveTiny(context, { mode: "stacked" });
  const client = new ServerClient(url);
  assert.equal(await client.isReady(), true);
  await close();
  assert.equal(await client.isReady(), false);
  await assertRejects(
    client.listAdapters("team"),
    "LORASA_SERVER",
    /nothing listening there; start one with/,
  );
  client.close();
  assert.throws(() => new ServerClient("ftp://x"), /LORASA_FLAG|--server: expected an address such as http/);
});

test("rates are averages over ten whole seconds", () => {
  let nowMs = 500;
  const meter = new RateMeter(() => nowMs);
  for (let i = 0; i < 20; i++) meter.count(3);
  assert.deepEqual(meter.perSecond(), { requests: 0, rows: 0 });
  nowMs = 1500;
  assert.deepEqual(meter.perSecond(), { requests: 2, rows: 6 });
  meter.count(1);
  nowMs = 10_900;
  assert.deepEqual(meter.perSecond(), { requests: 2.1, rows: 6.1 });
  nowMs = 11_000;
  assert.deepEqual(meter.perSecond(), { requests: 0.1, rows: 0.1 });
  meter.count(1);
  nowMs = 12_000;
  assert.deepEqual(meter.perSecond(), { requests: 0.1, rows: 0.1 });
  nowMs = 100_000;
  assert.deepEqual(meter.perSecond(), { requests: 0, rows: 0 });
});

/** A request for inference whose body has begun to arrive. */
class Begun {
  readonly socket: Socket;
  /** Settles when its bytes are with the system. */
  readonly sent: Promise<void>;
  /** What came back. */
  readonly ended: Promise<string>;

  constructor(url: string, rest: string) {
    this.socket = connect(Number(new URL(url).port), "127.0.0.1");
    this.sent = new Promise((resolve) => {
      this.socket.write(`POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\n${rest}`, () => resolve());
    });
    let reply = "";
    this.socket.on("data", (chunk) => {
      reply += chunk.toString("utf8");
    });
    this.ended = new Promise((resolve) => this.socket.on("close", () => resolve(reply)));
  }
}

/** Until the server has seen a request beside the one that asks. */
async function waitForInflight(url: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (/^lorasa_inflight 2$/m.test((await ask(`${url}/metrics`)).text)) return;
  }
  assert.fail("the server never saw it");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function assertRejects(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof LorasaError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes("\n"));
    return true;
  });
}

/** Edits every match in the manifest; it must be there. */
function edit(folder: string, from: string | RegExp, to: string): void {
  const path = join(folder, "team/model.json");
  const text = readFileSync(path, "utf8");
  const edited = typeof from === "string" ? text.replaceAll(from, to) : text.replace(from, to);
  assert.notEqual(edited, text);
  writeFileSync(path, edited);
}
