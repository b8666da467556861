/** Bodies whose length can be read two ways, and bodies that are far larger in memory than on the way, are refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { JSON_LIMIT_BYTES } from "../../server/limits.ts";
import { ALIVE, assertIdle, INFER, portOf, serve } from "../helpers/hostile-clients.ts";
import { ManagedServer, OBS } from "../helpers/managed-server.ts";
import { exchange } from "../helpers/raw-http.ts";
import { ask, assertErrorReply } from "../helpers/tiny-server.ts";

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

/** Texts that are far larger, or take far longer, as values; and what is told of them. */
const BOMBS: Readonly<Record<string, readonly [text: string, told: RegExp]>> = {
  "deep arrays": ["[".repeat(JSON_LIMIT_BYTES - 1), /nested at most 100 deep/],
  "deep arrays that end": [
    "[".repeat(JSON_LIMIT_BYTES / 2 - 1) + "]".repeat(JSON_LIMIT_BYTES / 2 - 1),
    /nested at most 100 deep/,
  ],
  "deep objects": ['{"a":'.repeat(JSON_LIMIT_BYTES / 5 - 1), /nested at most 100 deep/],
  "deep, and shorter than what is looked through": [
    `{"inputs":[{"name":"obs","datatype":"FP32","shape":[${"[".repeat(8000)}${"]".repeat(8000)}]}]}`,
    /LORASA_SHAPE: input obs shape: .* received \[object\]/,
  ],
  "many objects": [`[${"{},".repeat(JSON_LIMIT_BYTES / 3 - 2)}0]`, /at most \d+ arrays and objects/],
  "many arrays": [`[${"[],".repeat(JSON_LIMIT_BYTES / 3 - 2)}0]`, /at most \d+ arrays and objects/],
  "many names": [
    `{${Array.from({ length: 900_000 }, (_, at) => `"${at.toString(36)}":0`).join(",")}}`,
    /at most \d+ fields/,
  ],
  "many numbers": [`[${"0,".repeat(JSON_LIMIT_BYTES / 2 - 2)}0]`, /expected an object, received an array/],
  "one long text": [`"${"\\n".repeat(JSON_LIMIT_BYTES / 2 - 2)}"`, /expected an object, received string/],
  "a size that is a long text": [
    `{"inputs":[{"name":"obs","datatype":"FP32","shape":["${"A".repeat(2 ** 20)}"]}]}`,
    /LORASA_SHAPE: input obs shape: .* received \[string\]/,
  ],
};

test("JSON made to be large in memory is refused quickly, in little memory and in few words", {
  timeout: 60_000,
}, async (context) => {
  const served = await serve(context, { mode: "stacked" });
  const before = process.memoryUsage.rss();
  for (const [what, [body, told]] of Object.entries(BOMBS)) {
    const started = performance.now();
    const reply = await ask(served.url + INFER, { method: "POST", body });
    assertErrorReply(reply, 400, told, what);
    assert.ok(reply.text.length < 1000, `${what}: an error of ${reply.text.length} characters`);
    assert.ok(performance.now() - started < 10_000, `${what} took ${performance.now() - started} ms`);
  }
  const grown = (process.memoryUsage.rss() - before) / 2 ** 20;
  assert.ok(grown < 800, `${grown} MiB more`);
  await assertIdle(served);
});

const BOMBS_AT_ONCE = 32;

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

test("names that every object has are no parameters", async (context) => {
  const served = await ManagedServer.open(context);
  for (const name of ["constructor", "toString", "hasOwnProperty", "__proto__", "valueOf"]) {
    for (const path of [
      "/v2/repository/models/team/load",
      "/v2/repository/models/team/adapters/agent_0/pin",
    ]) {
      const { status, text } = await served.raw("POST", path, `{"parameters": {"${name}": true}}`);
      assert.equal(status, 400, `${path} ${name}: ${text}`);
    }
    const named = `{"${name}": {}, "inputs": [${JSON.stringify(OBS)}], "parameters": {"${name}": 1}}`;
    const { status, text } = await served.raw("POST", INFER, named);
    assert.equal(status, 200, `${name}: ${text}`);
  }
});
