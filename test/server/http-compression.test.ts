/** Compressed requests and replies: what comes out is what went in, bounded, and only where the client asked for it. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { type TestContext, test } from "node:test";
import { deflateRawSync, deflateSync, gunzipSync, gzipSync, inflateSync } from "node:zlib";
import type { ServerOptions } from "../../server/app.ts";
import { replyCoding } from "../../server/http/compression.ts";
import { serveTiny } from "../helpers/tiny-server.ts";

const TEAM = 128;
const OBS = Float32Array.from({ length: TEAM * 6 }, (_, at) => Math.round(Math.sin(at) * 100) / 100);

interface RawReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Without what `fetch` does to encodings on its own. */
function post(url: string, body: Buffer | string, headers: Readonly<Record<string, string | string[]>> = {}) {
  return exchange(url, "POST", body, headers);
}

function exchange(
  url: string,
  method: string,
  body: Buffer | string,
  headers: Readonly<Record<string, string | string[]>>,
): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => {
        const { statusCode = 0, headers } = response;
        resolve({ status: statusCode, headers, body: Buffer.concat(chunks) });
      });
      response.on("error", reject);
    });
    sent.on("error", reject).end(body);
  });
}

async function served(context: TestContext, options: Partial<ServerOptions> = {}) {
  const { url, faults } = await serveTiny(context, { mode: "stacked" }, options);
  return { url, infer: `${url}/v2/models/team/infer`, faults };
}

function json(environments = 1): string {
  const data = [...OBS.subarray(0, environments * 6)];
  return JSON.stringify({ inputs: [{ name: "obs", datatype: "FP32", shape: [environments, 2, 3], data }] });
}

/** Framed: JSON, then the bytes of the input; the action comes back as bytes. */
function framed(): { readonly body: Buffer; readonly jsonBytes: number } {
  const bytes = Buffer.from(OBS.buffer, 0, TEAM * 6 * 4);
  const head = Buffer.from(
    JSON.stringify({
      parameters: { binary_data_output: true },
      inputs: [
        {
          name: "obs",
          datatype: "FP32",
          shape: [TEAM, 2, 3],
          parameters: { binary_data_size: bytes.length },
        },
      ],
    }),
  );
  return { body: Buffer.concat([head, bytes]), jsonBytes: head.length };
}

function errorOf({ body }: RawReply): string {
  return (JSON.parse(body.toString("utf8")) as { error: string }).error;
}

test("a request in gzip or deflate is what it was before", async (context) => {
  const { infer } = await served(context);
  const plain = await post(infer, json());
  for (const [name, body] of [
    ["gzip", gzipSync(json())],
    ["GZIP", gzipSync(json())],
    ["deflate", deflateSync(json())],
    ["identity", Buffer.from(json())],
  ] as const) {
    const reply = await post(infer, body, { "Content-Encoding": name });
    assert.equal(reply.status, 200, `${name}: ${reply.body}`);
    assert.deepEqual(reply.body, plain.body, name);
  }
});

test("the length of the JSON counts what was before compression, both ways", async (context) => {
  const { infer } = await served(context);
  const { body, jsonBytes } = framed();
  const split = { "Inference-Header-Content-Length": `${jsonBytes}` };
  const plain = await post(infer, body, split);
  assert.equal(plain.status, 200);
  assert.equal(plain.headers["content-encoding"], undefined);
  for (const [name, pack, unpack] of [
    ["gzip", gzipSync, gunzipSync],
    ["deflate", deflateSync, inflateSync],
  ] as const) {
    const headers = { ...split, "Content-Encoding": name, "Accept-Encoding": name };
    const reply = await post(infer, pack(body), headers);
    assert.equal(reply.status, 200, `${reply.body}`);
    assert.equal(reply.headers["content-encoding"], name);
    assert.equal(reply.headers["content-length"], `${reply.body.length}`);
    assert.ok(reply.body.length < plain.body.length);
    assert.deepEqual(unpack(reply.body), plain.body);
    const replied = "inference-header-content-length";
    assert.equal(reply.headers[replied], plain.headers[replied]);
  }
});

test("encodings that are unknown or several are refused before the body is read", async (context) => {
  const { infer, faults } = await served(context);
  for (const name of ["br", "compress", "gzip, deflate", "gzip,gzip", "identity, gzip", "x".repeat(300)]) {
    const reply = await post(infer, gzipSync(json()), { "Content-Encoding": name });
    assert.equal(reply.status, 400, name);
    assert.match(
      errorOf(reply),
      /^LORASA_REQUEST: Content-Encoding: expected gzip, deflate or identity, rec/,
    );
  }
  const twice = await post(infer, gzipSync(json()), { "Content-Encoding": ["gzip", "gzip"] });
  assert.match(errorOf(twice), /received several/);
  assert.deepEqual(faults, []);
});

test("damaged data is the client's mistake", async (context) => {
  const { infer, url, faults } = await served(context);
  const packed = gzipSync(json(100));
  const flipped = Buffer.from(packed);
  flipped[packed.length >> 1]! ^= 0xff;
  for (const [what, encoding, body, message] of [
    ["cut off", "gzip", packed.subarray(0, -10), /received one that is cut off/],
    ["nothing", "gzip", Buffer.alloc(0), /cut off/],
    ["flipped", "gzip", flipped, /received something else/],
    ["plain", "gzip", Buffer.from(json()), /received something else/],
    ["raw deflate", "deflate", deflateRawSync(json()), /received something else/],
    ["gzip called deflate", "deflate", packed, /received something else/],
  ] as const) {
    const reply = await post(infer, body, { "Content-Encoding": encoding });
    assert.equal(reply.status, 400, what);
    assert.match(
      errorOf(reply),
      /^LORASA_REQUEST: Content-Encoding (gzip|deflate): expected a whole body/,
      what,
    );
    assert.match(errorOf(reply), message, what);
  }
  assert.equal((await exchange(`${url}/v2/health/ready`, "GET", "", {})).status, 200);
  assert.deepEqual(faults, []);
});

test("a small body that inflates beyond the limit is refused", async (context) => {
  const limit = 2 ** 20;
  const { infer } = await served(context, { bodyLimitBytes: limit });
  const bomb = gzipSync(Buffer.alloc(32 * limit));
  assert.ok(bomb.length < limit);
  for (const [encoding, body] of [
    ["gzip", bomb],
    ["deflate", deflateSync(Buffer.alloc(limit + 1))],
  ] as const) {
    const reply = await post(infer, body, { "Content-Encoding": encoding });
    assert.equal(reply.status, 413);
    assert.match(errorOf(reply), /^LORASA_TOO_LARGE: request body, \w+: expected at most 1048576 bytes when/);
  }
  // Exactly the limit is inflated, and is no JSON.
  const whole = await post(infer, gzipSync(Buffer.alloc(limit)), { "Content-Encoding": "gzip" });
  assert.equal(whole.status, 400);
  assert.match(errorOf(whole), /expected JSON/);
});

test("a reply is compressed only from 1 KiB, and only for those who ask", async (context) => {
  const { infer } = await served(context);
  const accept = { "Accept-Encoding": "gzip" };
  const small = await post(infer, json(1), accept);
  assert.ok(small.body.length < 1024);
  assert.equal(small.headers["content-encoding"], undefined);
  assert.equal(small.headers["vary"], undefined);
  const large = await post(infer, json(100), accept);
  assert.equal(large.headers["content-encoding"], "gzip");
  assert.equal(large.headers["vary"], "Accept-Encoding");
  const plain = await post(infer, json(100));
  assert.equal(plain.headers["content-encoding"], undefined);
  assert.equal(plain.headers["vary"], "Accept-Encoding");
  assert.deepEqual(gunzipSync(large.body), plain.body);
  assert.ok(plain.body.length >= 1024);
});

test("pages and metrics are compressed as well", async (context) => {
  const { url } = await served(context);
  const reply = await exchange(`${url}/metrics`, "GET", "", { "Accept-Encoding": "deflate" });
  assert.equal(reply.headers["content-encoding"], "deflate");
  assert.match(inflateSync(reply.body).toString("utf8"), /lorasa_inflight/);
});

const ACCEPTED: readonly (readonly [string | undefined, "gzip" | "deflate" | undefined])[] = [
  [undefined, undefined],
  ["", undefined],
  ["gzip", "gzip"],
  ["deflate", "deflate"],
  ["deflate, gzip", "gzip"],
  ["GZip ; Q=0.5", "gzip"],
  ["gzip;q=0.5, deflate;q=0.6", "deflate"],
  ["gzip;q=0, deflate;q=0.001", "deflate"],
  ["gzip;q=0", undefined],
  ["gzip;q=0.000", undefined],
  ["*", "gzip"],
  ["*;q=0", undefined],
  ["gzip;q=0, *", "deflate"],
  ["br, zstd", undefined],
  ["identity", undefined],
  ["gzip;q=0.5, identity", undefined],
  ["gzip, identity;q=0.5", "gzip"],
  ["gzip;q=2", undefined],
  ["gzip;q=x", undefined],
  ["gzip;level=9", "gzip"],
  [",;=,;q,", undefined],
  ["x,".repeat(4000), undefined],
];

test("Accept-Encoding by its q-values", () => {
  for (const [header, coding] of ACCEPTED) assert.equal(replyCoding(header), coding, header?.slice(0, 80));
});
