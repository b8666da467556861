/** Clients that are slow, silent, half gone or ambiguous cost themselves their connection, and nobody else anything. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { ServerOptions } from "../../server/app.ts";
import { JSON_LIMIT_BYTES } from "../../server/limits.ts";
import { exchange, requestBytes } from "../helpers/raw-http.ts";
import type { TinyOptions } from "../helpers/tiny-models.ts";
import { ask, serveTiny, type TinyServer } from "../helpers/tiny-server.ts";

const INFER = "/v2/models/team/infer";
const SOUND = JSON.stringify({
  inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] }],
});
const ALIVE = "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n";

const DRIBBLES = {
  "a request line": "GET /v2/health/li",
  "headers without end": `GET /v2 HTTP/1.1\r\nHost: x\r\n${"X: y\r\n".repeat(40)}`,
  "a body": `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{"inputs": [                                    `,
  "a chunked body": `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n"\r\n1\r\ni\r\n1\r\nn\r\n1\r\np\r\n`,
  "a body that nobody reads":
    "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n                                        ",
} as const;

for (const [what, text] of Object.entries(DRIBBLES)) {
  test(`${what}, byte by byte, is cut off, and others are answered meanwhile`, {
    timeout: 20_000,
  }, async (context) => {
    const served = await serve(context, { mode: "factored" }, { requestTimeoutMs: 200 });
    const reply = dribble(served, text);
    assert.equal((await ask(served.url + INFER, { method: "POST", body: SOUND })).status, 200);
    assert.match(await reply, /HTTP\/1\.1 408 Request Timeout\r\n/);
    await assertIdle(served);
  });
}

test("a client that keeps its half open after it was cut off is let go all the same", {
  timeout: 20_000,
}, async (context) => {
  const served = await serve(context, { mode: "stacked" }, { requestTimeoutMs: 200, maxConnections: 3 });
  const held = await Promise.all(
    ["", "GET / HTTP/1.1\r\n", `POST ${INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{`].map(
      (text) => open(context, served, text),
    ),
  );
  for (const socket of held) socket.resume();
  // The three would keep every place for as long as they like.
  await eventually(async () => (await exchange(portOf(served), ALIVE)).replies[0]?.status === 200);
});

test("a client that never reads its reply is let go, and its memory with it", {
  timeout: 30_000,
}, async (context) => {
  const served = await serve(context, { mode: "stacked", hidden: 64 }, { requestTimeoutMs: 300 });
  const environments = 20_000;
  const inputs = [
    {
      name: "obs",
      datatype: "FP32",
      shape: [environments, 2, 3],
      parameters: { binary_data_size: environments * 24 },
    },
    {
      name: "hidden_in",
      datatype: "FP32",
      shape: [environments, 2, 64],
      parameters: { binary_data_size: environments * 512 },
    },
  ];
  const json = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
  const body = Buffer.concat([json, Buffer.alloc(environments * 536)]);
  const bytes = requestBytes("POST", INFER, [["Inference-Header-Content-Length", `${json.length}`]], body);
  for (let at = 0; at < 4; at++) {
    const socket = await open(context, served, bytes);
    socket.pause();
  }
  await eventually(async () => (await inflight(served)) > 1);
  await assertIdle(served);
});

test("connections that are reset within a body, and within a reply, leave nothing behind", {
  timeout: 20_000,
}, async (context) => {
  const served = await serve(context, { mode: "factored" });
  const whole = requestBytes("POST", INFER, [], SOUND);
  for (let cut = 1; cut < whole.length; cut += 7) {
    const socket = await open(context, served, whole.subarray(0, cut));
    await flushed(socket);
    socket.resetAndDestroy();
  }
  for (let at = 0; at < 30; at++) {
    const socket = await open(context, served, Buffer.concat(Array.from({ length: 20 }, () => whole)));
    if (at % 2 === 0) await once(socket, "data");
    socket.resetAndDestroy();
  }
  await assertIdle(served);
});

const MALFORMED_BODIES: readonly string[] = [
  "zz\r\n{}\r\n0\r\n\r\n",
  "-1\r\n{}\r\n0\r\n\r\n",
  "0x2\r\n{}\r\n0\r\n\r\n",
  "+2\r\n{}\r\n0\r\n\r\n",
  "ffffffffffffffffff\r\n{}",
  "2\r\n{}X\r\n0\r\n\r\n",
  "2\n{}\n0\n\n",
  "\r\n2\r\n{}\r\n0\r\n\r\n",
  `2;${"a".repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
  `2\r\n{}\r\n0\r\n${"X: y\r\n".repeat(5000)}\r\n`,
  "2\r\n{}\r\n0\r\nContent-Length: 0\r\nTransfer Encoding: x\r\n\r\n",
];

/** Two servers of a chain may see different requests in these; the second one is what a client hides behind the first. */
const AMBIGUOUS_HEADS: readonly string[] = [
  "Content-Length: 4\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nContent-Length: 4",
  "Content-Length: 4\r\nContent-Length: 9",
  "Content-Length: 4, 9",
  "Content-Length: 4 9",
  "Content-Length: +4",
  "Content-Length: 0x4",
  "Content-Length: 4\u00a0",
  "Content-Length : 4",
  "Content-Length\t: 4",
  "Content-Length: 99999999999999999999",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
  "Transfer-Encoding: identity, chunked, x",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunked\u0000",
  "Transfer-Encoding : chunked",
  " Transfer-Encoding: chunked\r\nContent-Length: 4",
  "X: y\rTransfer-Encoding: chunked\r\nContent-Length: 4",
  "X: y\nContent-Length: 4",
];

test("bodies that are no chunks are refused", async (context) => {
  const served = await serve(context, { mode: "stacked" });
  for (const body of MALFORMED_BODIES) {
    const head = `POST ${INFER} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
    const { replies, closed } = await exchange(portOf(served), head + body);
    assert.ok(closed, body);
    for (const { status } of replies)
      assert.ok([400, 413, 431].includes(status), `${status}: ${body.slice(0, 40)}`);
  }
  await assertIdle(served);
});

test("no request is smuggled behind one whose length can be read two ways", async (context) => {
  const served = await serve(context, { mode: "stacked" });
  for (const head of AMBIGUOUS_HEADS) {
    const outer = `POST ${INFER} HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`;
    const { replies, closed } = await exchange(
      portOf(served),
      Buffer.from(`${outer}0\r\n\r\n${ALIVE}`, "latin1"),
    );
    assert.ok(closed, head);
    assert.ok(
      replies.every(({ status }) => status === 400),
      `${JSON.stringify(head)}: ${replies.map(({ status }) => status)}`,
    );
  }
  await assertIdle(served);
});

test("requests sent ahead are answered in their order, each with its own answer", async (context) => {
  const served = await serve(context, { mode: "factored" });
  const count = 300;
  const requests = Array.from({ length: count }, (_, at) => {
    const body = JSON.stringify({ ...(JSON.parse(SOUND) as object), id: `${at}` });
    if (at % 10 === 3) return requestBytes("GET", "/v2/models/team/config");
    return at % 10 === 7 ? requestBytes("POST", INFER, [], "{") : requestBytes("POST", INFER, [], body);
  });
  const { replies, rest } = await exchange(portOf(served), Buffer.concat(requests));
  assert.equal(rest.length, 0);
  assert.equal(replies.length, count);
  for (const [at, { status, body }] of replies.entries()) {
    assert.equal(status, at % 10 === 7 ? 400 : 200, `${at}`);
    if (at % 10 !== 3 && at % 10 !== 7) assert.equal((JSON.parse(`${body}`) as { id: string }).id, `${at}`);
  }
  await assertIdle(served);
});

test("what was sent ahead of a broken request is forgotten with its connection", async (context) => {
  const served = await serve(context, { mode: "factored" }, { drainTimeoutMs: 20_000 });
  const ahead = Array.from({ length: 5 }, () => requestBytes("GET", "/metrics"));
  for (let at = 0; at < 20; at++) {
    await exchange(
      portOf(served),
      Buffer.concat([...ahead, requestBytes("POST", INFER, [], SOUND), Buffer.from("nonsense\r\n\r\n")]),
    );
  }
  await assertIdle(served);
  const started = performance.now();
  await served.close();
  assert.ok(performance.now() - started < 10_000, "closing waited for requests whose clients are gone");
});

test("Expect, Upgrade, HTTP/1.0 and whole URLs get an answer and no other protocol", async (context) => {
  const served = await serve(context, { mode: "stacked" });
  const ask = async (text: string): Promise<readonly number[]> => {
    const { replies, rest } = await exchange(portOf(served), text);
    assert.equal(rest.toString("latin1"), "", text);
    return replies.map(({ status }) => status);
  };
  const post = (headers: string): string =>
    `POST ${INFER} HTTP/1.1\r\nHost: x\r\n${headers}\r\nContent-Length: ${SOUND.length}\r\n\r\n${SOUND}`;
  assert.deepEqual(await ask(post("Expect: 100-continue")), [200]);
  assert.deepEqual(await ask(post("Expect: 200-nothing")), [417]);
  for (const protocol of ["websocket", "h2c", "TLS/1.0", "x"]) {
    assert.deepEqual(
      await ask(
        post(`Connection: Upgrade, HTTP2-Settings\r\nUpgrade: ${protocol}\r\nHTTP2-Settings: AAMAAABk`),
      ),
      [200],
    );
  }
  assert.deepEqual(await ask("GET /v2/health/live HTTP/1.0\r\n\r\n"), [200]);
  assert.deepEqual(
    await ask(`GET /v2/health/live HTTP/1.0\r\n\r\n${ALIVE}`),
    [200, 400],
    "it ends with the first",
  );
  for (const host of ["x", "127.0.0.1", "elsewhere.invalid:80"]) {
    assert.deepEqual(await ask(`GET http://${host}/v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n`), [404]);
  }
  for (const text of ["CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]) {
    assert.ok(
      (await ask(text)).every((status) => status === 400),
      text,
    );
  }
  assert.deepEqual(await ask("GET /v2/health/live HTTP/1.1\r\n\r\n"), [400], "without Host");
  await assertIdle(served);
});

const BOMBS = {
  "deep arrays": "[".repeat(JSON_LIMIT_BYTES - 1),
  "deep arrays that end": "[".repeat(JSON_LIMIT_BYTES / 2 - 1) + "]".repeat(JSON_LIMIT_BYTES / 2 - 1),
  "deep objects": '{"a":'.repeat(JSON_LIMIT_BYTES / 5 - 1),
  "deep below the size at which depth is counted": `{"inputs":[{"name":"obs","datatype":"FP32","shape":[${"[".repeat(8000)}${"]".repeat(8000)}]}]}`,
  "many objects": `[${"{},".repeat(JSON_LIMIT_BYTES / 3 - 2)}0]`,
  "many arrays": `[${"[],".repeat(JSON_LIMIT_BYTES / 3 - 2)}0]`,
  "many names": `{${Array.from({ length: 900_000 }, (_, at) => `"${at.toString(36)}":0`).join(",")}}`,
  "many numbers": `[${"0,".repeat(JSON_LIMIT_BYTES / 2 - 2)}0]`,
  "one long text": `"${"\\n".repeat(JSON_LIMIT_BYTES / 2 - 2)}"`,
  "a size of a long text": `{"inputs":[{"name":"obs","datatype":"FP32","shape":["${"A".repeat(2 ** 20)}"]}]}`,
} as const;

test("JSON made to be large in memory is refused quickly, in little memory and in few words", {
  timeout: 60_000,
}, async (context) => {
  const served = await serve(context, { mode: "stacked" });
  const before = process.memoryUsage.rss();
  for (const [what, body] of Object.entries(BOMBS)) {
    const started = performance.now();
    const { status, text } = await ask(served.url + INFER, { method: "POST", body });
    assert.equal(status, 400, `${what}: ${text.slice(0, 200)}`);
    assert.ok(text.length < 1000, `${what}: an error of ${text.length} characters`);
    assert.ok(performance.now() - started < 10_000, `${what} took ${performance.now() - started} ms`);
  }
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
  assert.ok(grown < 800, `${grown} MiB more`);
  await assertIdle(served);
});

const BOMBS_AT_ONCE = 40;

test("bodies that inflate to the limit and beyond are refused, many at once in the memory of a few", {
  timeout: 60_000,
}, async (context) => {
  const served = await serve(context, { mode: "stacked" }, { bodyLimitBytes: 2 ** 24 });
  const headers = { "Content-Encoding": "gzip" };
  const send = async (body: Buffer): Promise<number> =>
    (await ask(served.url + INFER, { method: "POST", body, headers })).status;
  assert.equal(await send(gzipSync(Buffer.alloc(2 ** 24 + 1, 0x20))), 413);
  const bomb = gzipSync(Buffer.alloc(2 ** 24 - 1, 0x20));
  const before = process.memoryUsage.rss();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 5);
  const statuses = await Promise.all(Array.from({ length: BOMBS_AT_ONCE }, () => send(bomb)));
  clearInterval(watch);
  assert.deepEqual([...new Set(statuses)], [400]);
  const grown = Math.round((most - before) / 2 ** 20);
  // Two copies of each of those that are inflated, and what the collector has not seen yet.
  assert.ok(grown < 320, `${grown} MiB for ${BOMBS_AT_ONCE} bodies of 16 MiB`);
  await assertIdle(served);
});

const IDLE = 10_000;

test(`${IDLE} connections that say nothing do not keep others from an answer`, {
  timeout: 60_000,
}, async (context) => {
  const limit = openFileLimit();
  if (limit < IDLE + 500) return context.skip(`only ${limit} files may be open at once`);
  const served = await serve(context, { mode: "factored" });
  await ask(served.url + INFER, { method: "POST", body: SOUND });
  const script = fileURLToPath(new URL("../helpers/idle-clients.ts", import.meta.url));
  const clients = spawn(process.execPath, ["--import", "tsx", script, `${portOf(served)}`, `${IDLE}`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  context.after(() => clients.kill());
  const [opened] = (await once(clients.stdout, "data")) as [Buffer];
  assert.equal(Number(`${opened}`), IDLE);
  const started = performance.now();
  for (let at = 0; at < 50; at++) {
    assert.equal((await ask(served.url + INFER, { method: "POST", body: SOUND })).status, 200);
  }
  assert.ok(performance.now() - started < 5000, "they are answered slowly");
  clients.stdin.end();
  await once(clients, "exit");
  await assertIdle(served);
});

/** Closing does not wait long for what a test has broken. */
function serve(
  context: TestContext,
  model: TinyOptions,
  options: Partial<ServerOptions> = {},
): Promise<TinyServer> {
  return serveTiny(context, model, { drainTimeoutMs: 1000, ...options });
}

function portOf({ url }: Pick<TinyServer, "url">): number {
  return Number(new URL(url).port);
}

/** A connection on which something was sent, destroyed when the test ends. */
async function open(context: TestContext, served: TinyServer, bytes: Buffer | string): Promise<Socket> {
  const socket = connect({ port: portOf(served), host: "127.0.0.1", allowHalfOpen: true });
  context.after(() => socket.destroy());
  socket.on("error", () => undefined);
  await once(socket, "connect");
  if (bytes.length > 0) socket.write(bytes);
  return socket;
}

function flushed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.write("", () => resolve()));
}

/** Sends a byte every few milliseconds for as long as the server listens, and gives what it answers. */
function dribble(served: TinyServer, text: string): Promise<string> {
  return new Promise((resolve) => {
    let reply = "";
    const socket = connect(portOf(served), "127.0.0.1");
    socket.on("data", (chunk) => {
      reply += chunk.toString("latin1");
    });
    let at = 0;
    const timer = setInterval(() => socket.write(text[at++] ?? " "), 5);
    socket.on("error", () => undefined);
    socket.on("close", () => {
      clearInterval(timer);
      resolve(reply);
    });
  });
}

/** Requests that have begun and are not answered, this one among them. */
async function inflight(served: TinyServer): Promise<number> {
  const { text } = await ask(`${served.url}/metrics`);
  return Number(/^lorasa_inflight (\d+)$/m.exec(text)?.[1]);
}

/** Sooner or later no request is under way but the one that asks, and no fault was seen. */
async function assertIdle(served: TinyServer): Promise<void> {
  await eventually(async () => (await inflight(served)) === 1);
  assert.deepEqual(served.faults, []);
}

/** Looks again until it is so; the test's own timeout ends what never is. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("it never came to be");
}

/** Most files that this process may have open; unlimited where that cannot be told. */
function openFileLimit(): number {
  const { userLimits } = process.report.getReport() as {
    userLimits?: { open_files?: { soft: number | string } };
  };
  const soft = userLimits?.open_files?.soft;
  return typeof soft === "number" ? soft : Number.POSITIVE_INFINITY;
}
