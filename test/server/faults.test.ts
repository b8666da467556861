/** Clients that are slow, silent or half gone cost themselves their connection, and nobody else anything. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import {
  ALIVE,
  assertIdle,
  dribble,
  eventually,
  flushed,
  INFER,
  inflight,
  open,
  portOf,
  SOUND,
  serve,
} from "../helpers/hostile-clients.ts";
import { exchange, requestBytes } from "../helpers/raw-http.ts";
import { ask } from "../helpers/tiny-server.ts";

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

/** Most files that this process may have open; unlimited where that cannot be told. */
function openFileLimit(): number {
  const { userLimits } = process.report.getReport() as {
    userLimits?: { open_files?: { soft: number | string } };
  };
  const soft = userLimits?.open_files?.soft;
  return typeof soft === "number" ? soft : Number.POSITIVE_INFINITY;
}
