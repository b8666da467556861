/** What brought other inference servers down by requests does not happen here: a test for each lesson, called by its ids. */
import assert from "node:assert/strict";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startServer } from "../../server/app.ts";
import { ROUTES } from "../../server/http/routes.ts";
import { CHUNK_LIMIT } from "../../server/limits.ts";
import { adapterFiles, errorText, ManagedServer, OBS } from "../helpers/managed-server.ts";
import { exchange, requestBytes } from "../helpers/raw-http.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { ask, assertErrorReply, serveTiny, TOKEN } from "../helpers/tiny-server.ts";

test("CVE-2025-23310, CVE-2025-23311: a flood of chunks is refused while it is read", {
  timeout: 60_000,
}, async (context) => {
  const served = await ManagedServer.open(context);
  const head = "POST /v2/models/team/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const chunks = head + "1\r\n \r\n".repeat(2 * CHUNK_LIMIT);
  const flood = await exchange(served.port, chunks, { end: false });
  assert.equal(flood.replies[0]?.status, 413);
  assert.match(`${flood.replies[0]?.body}`, /LORASA_TOO_LARGE: request body: expected at most 65536 chunks/);
  // What stands beside a chunk's size is bounded too.
  const extensions = await exchange(served.port, `${head}1;${"a".repeat(100_000)}\r\n`, { end: false });
  assert.ok([400, 413].includes(extensions.replies[0]?.status ?? 0), `${extensions.replies[0]?.status}`);
  await served.assertServes();
});

test("CVE-2025-23316, CVE-2025-23317: no name becomes a command, a template or another header", async (context) => {
  const served = await ManagedServer.open(context);
  const marker = join(temporaryFolder(context), "ran");
  for (const name of [
    `$(touch ${marker})`,
    `\`touch ${marker}\``,
    `; touch ${marker};`,
    `| touch ${marker}`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the attack.
    "${process.exit(1)}",
    "{{7*7}}",
    "<%= 7*7 %>",
    "x\r\nSet-Cookie: a=b",
    "x\nX-Injected: 1",
  ]) {
    const encoded = encodeURIComponent(name);
    const paths = [
      `/v2/models/${encoded}/infer`,
      `/v2/models/team/versions/${encoded}/infer`,
      `/v2/repository/models/${encoded}/load`,
      `/v2/repository/models/team/adapters/${encoded}/load`,
    ];
    for (const path of paths) {
      const { replies } = await exchange(
        served.port,
        requestBytes("POST", path, [["Authorization", `Bearer ${TOKEN}`]], "{}"),
      );
      const [reply] = replies;
      assert.ok(reply && [400, 404].includes(reply.status), `${path}: ${reply?.status}`);
      assert.ok(!reply.headers.has("set-cookie") && !reply.headers.has("x-injected"), path);
      assert.doesNotMatch(reply.body.toString(), /[^{7*]49/, "a template was computed");
    }
    const body = { parameters: { adapter_id: name }, inputs: [OBS] };
    const reply = await served.infer(body);
    assert.equal(reply.status, 404, reply.text);
    assert.match(errorText(reply), /^LORASA_UNKNOWN_ADAPTER: adapter "[^\n]*" of team/);
  }
  assert.equal(existsSync(marker), false, "a name was run");
  await served.assertServes();
});

test("CVE-2025-23319, CVE-2025-23320, CVE-2025-23334: errors tell no inner name, path or memory region", async (context) => {
  const store = temporaryFolder(context);
  const served = await ManagedServer.open(context, { adapterStore: join(store, "adapters") });
  // A file where the store's folder belongs makes every push fail inside.
  writeFileSync(join(store, "adapters"), "");
  const replies = [
    await served.push(),
    await served.infer({ inputs: [{ ...OBS, shape: [2 ** 30, 2, 3] }] }),
    await served.infer({
      inputs: [{ ...OBS, parameters: { shared_memory_region: "triton_python_backend_shm_region_1" } }],
    }),
    await served.infer({ inputs: [OBS], parameters: { sequence_id: {} } }),
    await served.load("nothing"),
    await served.post("/v2/repository/models/nothing/load", {}),
  ];
  assert.deepEqual(
    replies.map(({ status }) => status),
    [500, 413, 400, 400, 400, 404],
  );
  assert.deepEqual(JSON.parse(replies[0]!.text), { error: "LORASA_DISK: internal error" });
  for (const { text } of replies) {
    assert.doesNotMatch(text, /\/tmp|lorasa-|\.ts\b|node_modules|ENOTDIR|\n|triton_python_backend/, text);
    assert.ok(!text.includes(served.tiny.repository) && !text.includes(TOKEN), text);
  }
  served.tiny.faults.length = 0;
  for (const verb of ["register", "unregister"]) {
    for (const kind of ["systemsharedmemory", "cudasharedmemory"]) {
      assert.equal((await served.raw("POST", `/v2/${kind}/region/x/${verb}`)).status, 404);
    }
  }
});

test("CVE-2026-24206, CVE-2026-24207: no second way to a route that needs a token", async (context) => {
  const served = await ManagedServer.open(context, { inferToken: "another token" });
  const ways: ((path: string) => string)[] = [
    (path) => path,
    (path) => path.toUpperCase(),
    (path) => `${path}/`,
    (path) => `/${path}`,
    (path) => `/.${path}`,
    (path) => path.replace("/v2", "/v2/health/live/../.."),
    (path) => path.replaceAll("/", "%2f").replace("%2f", "/"),
    (path) => `${path}?/v2/health/live`,
    (path) => `http://127.0.0.1${path}`,
    (path) => `/v2/health/live;${path}`,
  ];
  for (const { verb, path, role } of ROUTES) {
    if (role === "open") continue;
    const plain = path.replace(":model", "team").replace(":version", "1").replace(":adapter", "agent_0");
    for (const way of ways) {
      for (const asked of new Set([verb, "GET", "HEAD"])) {
        const headers = [
          ["X-Original-URL", "/v2/health/live"],
          ["X-HTTP-Method-Override", "GET"],
        ] as const;
        const bytes = requestBytes(asked, way(plain), headers);
        const { replies } = await exchange(served.port, bytes, { head: asked === "HEAD" });
        assert.ok(
          [400, 401, 404, 405].includes(replies[0]?.status ?? 0),
          `${asked} ${way(plain)}: ${replies[0]?.status}`,
        );
      }
    }
  }
});

test("CVE-2023-43654, CVE-2023-48022: management is off until there is a token, and others reach only a server with one", async (context) => {
  const served = await serveTiny(context, { mode: "factored" });
  for (const { verb, path, role } of ROUTES) {
    if (role !== "manage") continue;
    const plain = path.replace(":model", "team").replace(":adapter", "agent_0");
    for (const headers of [{}, { Authorization: "Bearer " }, { Authorization: "Bearer undefined" }]) {
      const reply = await ask(served.url + plain, { method: verb, headers });
      assertErrorReply(reply, 403, /LORASA_FORBIDDEN/, plain);
    }
  }
  for (const host of ["0.0.0.0", "::", "192.0.2.1"]) {
    await assert.rejects(
      startServer({ repository: served.repository, port: 0, host }),
      { code: "LORASA_FORBIDDEN" },
      host,
    );
  }
});

const WRONG_INDICES: readonly (readonly [datatype: string, index: number | bigint])[] = [
  ["INT32", -1],
  ["INT32", 2],
  ["INT32", -(2 ** 31)],
  ["INT32", 2 ** 31 - 1],
  ["INT64", -1n],
  ["INT64", 2n],
  ["INT64", 2n ** 32n],
  ["INT64", 2n ** 63n - 1n],
  ["INT64", -(2n ** 63n)],
];

test("CVE-2025-62164, CVE-2026-56340: no index reaches past the agents, −1 least of all", async (context) => {
  const served = await ManagedServer.open(context);
  for (const name of ["agent", "adapter"]) {
    for (const [datatype, index] of WRONG_INDICES) {
      const data = typeof index === "bigint" ? new BigInt64Array([0n, index]) : Int32Array.of(0, index);
      const right = { name: "agent", datatype: "INT32", shape: [2], parameters: { binary_data_size: 8 } };
      const wrong = { name, datatype, shape: [2], parameters: { binary_data_size: data.byteLength } };
      const obs = { name: "obs", datatype: "FP32", shape: [2, 3], parameters: { binary_data_size: 24 } };
      const inputs = name === "agent" ? [obs, wrong] : [obs, right, wrong];
      const parts = name === "agent" ? [data] : [Int32Array.of(0, 1), data];
      const json = Buffer.from(JSON.stringify({ inputs }));
      const body = Buffer.concat([json, Buffer.alloc(24), ...parts.map((part) => Buffer.from(part.buffer))]);
      const headers = { "Inference-Header-Content-Length": `${json.length}` };
      const reply = await ask(`${served.tiny.url}/v2/models/team/infer`, { method: "POST", body, headers });
      assertErrorReply(
        reply,
        404,
        /LORASA_UNKNOWN_AGENT: input \w+\[1\]: expected 0 to 1/,
        `${name} ${datatype} ${index}`,
      );
    }
  }
  const overlapping = adapterFiles(served.tiny.policy).tensors;
  overlapping.write(overlapping.toString("latin1").replace("[24,40]", "[20,36]"), "latin1");
  assertErrorReply(await served.push({ tensors: overlapping }), 400, /LORASA_FILE: .*overlap/);
  await served.assertServes();
});

test("CVE-2026-105757: a bad request among good ones of the same moment harms none of them", async (context) => {
  const served = await ManagedServer.open(context, { queueDelayUs: 2000 });
  const good = await served.infer({ inputs: [OBS] });
  const bad = [
    { inputs: [{ ...OBS, data: [1, 2, 3, 4, 5, 1e39] }] },
    { inputs: [OBS, { name: "agent", datatype: "INT32", shape: [1], data: [-1] }] },
    { inputs: [OBS], parameters: { adapter_id: "nobody" } },
    { inputs: [{ ...OBS, data: [3e38, 3e38, 3e38, -3e38, 3e38, 3e38] }] },
    { inputs: [OBS], outputs: [{ name: "nothing" }] },
    { inputs: [OBS], parameters: { timeout: 1 } },
  ];
  const replies = await Promise.all(
    Array.from({ length: 300 }, (_, at) =>
      served.infer(at % 3 === 0 ? bad[(at / 3) % bad.length]! : { inputs: [OBS] }),
    ),
  );
  for (const [at, { status, text }] of replies.entries()) {
    if (at % 3 === 0) assert.ok([200, 400, 404, 503].includes(status), text);
    else assert.deepEqual([status, text], [200, good.text]);
  }
  assert.deepEqual(served.tiny.faults, []);
});
