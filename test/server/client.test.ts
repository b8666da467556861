/** Our own client: what it sends for each call, and what each reply and each failure becomes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClientOptions, ServerClient } from "../../server/client.ts";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { sha256 } from "../../src/base/files.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { answerJson, type FakeAnswer, fakeServer, freePort } from "../helpers/fake-server.ts";

const TOKEN = "a token for tests";
const OBS = floatTensor([1, 2], [0.5, -1]);
const ADAPTER = { name: "agent_0", version: "3", state: "READY", reason: "" };

/** A reply of the protocol with two outputs as bytes. */
const answerAction: FakeAnswer = (_request, response) => {
  const outputs = [
    { name: "action", datatype: "FP32", shape: [1, 1], parameters: { binary_data_size: 4 } },
    { name: "value", datatype: "INT32", shape: [2], parameters: { binary_data_size: 8 } },
  ];
  const parameters = { adapter_versions: "agent_0=3,agent_1.blue=7" };
  const json = JSON.stringify({ model_name: "team", model_version: "2", parameters, outputs });
  response.setHeader("Inference-Header-Content-Length", json.length);
  response.end(
    Buffer.concat([
      Buffer.from(json),
      Buffer.from(Float32Array.of(0.25).buffer),
      Buffer.from(Int32Array.of(7, -8).buffer),
    ]),
  );
};

test("tensors and options of inference go as the protocol has them, and the reply comes back as tensors", async (context) => {
  const { url, requests } = await fakeServer(context, answerAction);
  const client = clientOf(context, url, { token: TOKEN });
  const options = {
    adapterId: "agent_0.blue",
    sequenceId: "episode 7",
    sequenceStart: true,
    sequenceEnd: false,
    priority: 1,
    timeoutUs: 2_000_000,
  };
  const answer = await client.infer("team.agent_0", { obs: OBS }, options);
  const [{ method, path, headers, body }] = requests as [(typeof requests)[0]];
  assert.equal(`${method} ${path}`, "POST /v2/models/team.agent_0/infer");
  assert.equal(headers.authorization, `Bearer ${TOKEN}`);
  const jsonLength = Number(headers["inference-header-content-length"]);
  assert.deepEqual(JSON.parse(body.toString("utf8", 0, jsonLength)), {
    parameters: {
      adapter_id: "agent_0.blue",
      sequence_id: "episode 7",
      sequence_start: true,
      sequence_end: false,
      priority: 1,
      timeout: 2_000_000,
      binary_data_output: true,
    },
    inputs: [{ name: "obs", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
  });
  assert.deepEqual(body.subarray(jsonLength), Buffer.from(OBS.data.buffer));
  assert.deepEqual(answer, {
    outputs: {
      action: floatTensor([1, 1], [0.25]),
      value: { dtype: "int32", dims: [2], data: Int32Array.of(7, -8) },
    },
    adapterVersions: { agent_0: 3, "agent_1.blue": 7 },
    modelVersion: "2",
  });
});

test("a request's options are not those of the one before with the same shapes", async (context) => {
  const { url, requests } = await fakeServer(context, answerAction);
  const client = clientOf(context, url);
  for (const adapterId of ["a", undefined, "b", "a"])
    await client.infer("team", { obs: OBS }, adapterId === undefined ? {} : { adapterId });
  const sent = requests.map(({ headers, body }) => {
    const json = JSON.parse(body.toString("utf8", 0, Number(headers["inference-header-content-length"])));
    return json.parameters.adapter_id;
  });
  assert.deepEqual(sent, ["a", undefined, "b", "a"]);
});

test("outputs that a server wrote as JSON come back as tensors too", async (context) => {
  const outputs = [
    { name: "action", datatype: "INT64", shape: [2, 1], data: [3, 4] },
    { name: "logits", datatype: "FP32", shape: [2, 2], data: [0, 1, 2, 3] },
  ];
  const { url } = await fakeServer(context, (_request, response) => answerJson(response, { outputs }));
  const answer = await clientOf(context, url).infer("team", { obs: OBS });
  assert.deepEqual(answer.outputs, {
    action: { dtype: "int64", dims: [2, 1], data: BigInt64Array.of(3n, 4n) },
    logits: floatTensor([2, 2], [0, 1, 2, 3]),
  });
});

const TENSORS = Buffer.from("tensors");
const LOAD = { config: "{}", load_inplace: true, sha256: sha256(TENSORS) };

/** Each call with its request: verb, path behind the base, JSON of the body if any. */
const CALLS: readonly (readonly [(client: ServerClient) => Promise<unknown>, string, object?])[] = [
  [(client) => client.modelMetadata("team"), "GET /v2/models/team"],
  [(client) => client.modelConfig("team"), "GET /v2/models/team/config"],
  [(client) => client.statistics("team"), "GET /v2/models/team/stats"],
  [(client) => client.statistics(), "GET /v2/models/stats"],
  [(client) => client.index(), "POST /v2/repository/index"],
  [(client) => client.loadModel("team"), "POST /v2/repository/models/team/load"],
  [(client) => client.unloadModel("a b/c"), "POST /v2/repository/models/a%20b%2Fc/unload"],
  [(client) => client.listAdapters("team"), "POST /v2/repository/models/team/adapters/index"],
  [(client) => client.describeAdapter("team", "agent_0"), "GET /v2/models/team/adapters/agent_0"],
  [
    (client) => client.pushAdapter("team", "agent_0", "{}", TENSORS),
    "POST /v2/repository/models/team/adapters/agent_0/load",
    { parameters: LOAD },
  ],
  [
    (client) => client.pushAdapter("team", "agent_0", "{}", TENSORS, { pin: true, keep: true }),
    "POST /v2/repository/models/team/adapters/agent_0/load",
    { parameters: { ...LOAD, load_inplace: false, pin: true } },
  ],
  [
    (client) => client.unloadAdapter("team", "agent_0"),
    "POST /v2/repository/models/team/adapters/agent_0/unload",
    { parameters: { drain: true } },
  ],
  [
    (client) => client.unloadAdapter("team", "agent_0", { drain: false }),
    "POST /v2/repository/models/team/adapters/agent_0/unload",
    { parameters: { drain: false } },
  ],
  [(client) => client.pinAdapter("team", "agent_0"), "POST /v2/repository/models/team/adapters/agent_0/pin"],
  [
    (client) => client.unpinAdapter("team", "agent_0"),
    "POST /v2/repository/models/team/adapters/agent_0/unpin",
  ],
  [
    (client) => client.rollbackAdapter("team", "agent_0"),
    "POST /v2/repository/models/team/adapters/agent_0/rollback",
  ],
];

/** What a route answers here, by the end of its path; an adapter otherwise. */
const ANSWERS: Readonly<Record<string, unknown>> = {
  stats: { model_stats: [{ name: "team" }] },
  index: [{ name: "agent_0", version: "1", state: "READY" }],
};

test("every call is its route, behind the base path of the address and with the token", async (context) => {
  const { url, requests } = await fakeServer(context, ({ path }, response) =>
    answerJson(response, ANSWERS[path.split("/").at(-1)!] ?? ADAPTER),
  );
  const client = clientOf(context, `${url}/behind/proxy/`, { token: TOKEN });
  for (const [call, route, json] of CALLS) {
    await call(client);
    const { method, path, headers, body } = requests.at(-1)!;
    assert.equal(`${method} ${path}`, route.replace(" ", " /behind/proxy"));
    assert.equal(headers.authorization, `Bearer ${TOKEN}`, route);
    const length = headers["inference-header-content-length"];
    const text = length === undefined ? body : body.subarray(0, Number(length));
    if (length !== undefined) assert.deepEqual(body.subarray(Number(length)), TENSORS);
    assert.deepEqual(text.length === 0 ? undefined : JSON.parse(text.toString()), json, route);
  }
});

test("an adapter's JSON is read into words of ours, and what a server does not send is empty", async (context) => {
  const wire = {
    ...ADAPTER,
    agent: "agent_0",
    resident: true,
    pinned: true,
    sha256: "ab",
    bytes: 12,
    loaded_at_ms: 5,
    last_used_ms: 6,
    previous_version: "2",
  };
  const layers = [{ name: "policy", in: 3, out: 2, rank: 1, scale: 1.5 }];
  const answers = [[wire, ADAPTER], { ...wire, layers }];
  const { url } = await fakeServer(context, (_request, response, index) =>
    answerJson(response, answers[index]),
  );
  const client = clientOf(context, url);
  const { loaded_at_ms: _, last_used_ms: __, previous_version: ___, ...same } = wire;
  const full = { ...same, loadedAtMs: 5, lastUsedMs: 6, previousVersion: "2" };
  const empty = {
    agent: "",
    resident: false,
    pinned: false,
    sha256: "",
    bytes: 0,
    loadedAtMs: 0,
    lastUsedMs: 0,
  };
  assert.deepEqual(await client.listAdapters("team"), [full, { ...ADAPTER, ...empty, previousVersion: "" }]);
  assert.deepEqual(await client.describeAdapter("team", "agent_0"), { ...full, layers });
});

/** What a server does to a request, and the line that it becomes. */
const FAILURES: readonly (readonly [what: string, FakeAnswer, RegExp])[] = [
  [
    "an error of the protocol",
    (_request, response) => answerJson(response, { error: "LORASA_ADAPTER: no\nmore" }, 400),
    /infer: received 400, LORASA_ADAPTER: no more$/,
  ],
  [
    "a token that is missing",
    (_request, response) => answerJson(response, { error: "who?" }, 401),
    /401, who\?; .*--token-file/,
  ],
  [
    "another program's page",
    (_request, response) => response.writeHead(404).end("<h1>Not Found</h1>"),
    /404, an answer that is not JSON/,
  ],
  [
    "an error without a text",
    (_request, response) => answerJson(response, {}, 500),
    /500, an answer without/,
  ],
  ["no JSON", (_request, response) => response.end("ok"), /not the protocol's \(.*JSON/],
  ["other JSON", (_request, response) => answerJson(response, { ok: true }), /not the protocol's/],
  [
    "an output shorter than its shape",
    (_request, response) => {
      const short = { name: "a", datatype: "FP32", shape: [2], parameters: { binary_data_size: 8 } };
      answerJson(response, { outputs: [short] });
    },
    /not the protocol's \(.*8 bytes.*received 0/,
  ],
  [
    "an output that no policy has",
    (_request, response) =>
      answerJson(response, { outputs: [{ name: "a", datatype: "BYTES", shape: [1], data: ["x"] }] }),
    /output a of BYTES/,
  ],
  ["a closed connection", (_request, response) => response.destroy(), /closed before the end of the answer/],
  [
    "half an answer",
    (_request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("half", () => response.destroy());
    },
    /closed before the end of the answer/,
  ],
  ["silence", () => undefined, /no answer within 100 ms/],
  [
    "an answer that never ends",
    (_request, response) => {
      response.writeHead(200, { "Content-Length": "100" });
      response.write("half");
    },
    /no answer within 100 ms/,
  ],
  [
    "an answer that is not HTTP",
    (_request, response) => response.socket!.end("220 mail.example ESMTP\r\n"),
    /an answer that is not HTTP; .*https/,
  ],
];

for (const [what, answer, message] of FAILURES) {
  test(`${what} is one line of LORASA_SERVER`, async (context) => {
    const { url } = await fakeServer(context, answer);
    const client = clientOf(context, url, { timeoutMs: 100 });
    await assertFails(client.infer("team", { obs: OBS }), "LORASA_SERVER", message);
  });
}

test("replies of management that are not the protocol's are told by the field", async (context) => {
  const answers = [
    "nothing",
    { model_stats: 3 },
    [{ name: "agent_0", version: 1 }],
    [{ name: "m", state: "ODD" }],
  ];
  const { url } = await fakeServer(context, (_request, response, index) =>
    index === 0 ? response.end("nothing") : answerJson(response, answers[index]),
  );
  const client = clientOf(context, url);
  await assertFails(client.listAdapters("team"), "LORASA_SERVER", /adapters\/index: received .*not JSON/);
  await assertFails(client.statistics(), "LORASA_SERVER", /models\/stats: received .*\(model_stats: /);
  await assertFails(client.listAdapters("team"), "LORASA_SERVER", /\(0\.state: /);
  await assertFails(client.index(), "LORASA_SERVER", /\(0\.state: /);
});

/** Addresses and tokens that are refused before anything is sent. */
const REFUSED: readonly (readonly [url: string, options: ClientOptions, message: RegExp])[] = [
  ["ftp://x", {}, /--server: expected an address such as http.*received ftp:\/\/x/],
  ["127.0.0.1:8000", {}, /expected an address such as/],
  ["http://x/?model=team", {}, /expected an address such as/],
  ["http://user:secret@x", {}, /received one with a name or password in it; give a token in a file$/],
  ["http://x", { token: "line\nbreak" }, /token: expected printable/],
  ["http://x", { caFile: "ca.pem" }, /ca\.pem: expected an address that starts with https/],
];

for (const [url, options, message] of REFUSED) {
  test(`the address ${url} with ${JSON.stringify(options)} is refused`, () => {
    assert.throws(() => new ServerClient(url, options), { code: "LORASA_FLAG", message });
  });
}

test("a password in an address is not in the message", () => {
  assert.throws(
    () => new ServerClient("http://user:secret@x"),
    (error) => !String(error).includes("secret"),
  );
});

test("closing ends what is under way, and a closed client says so, however often it is closed", async (context) => {
  const { url, requests } = await fakeServer(context, () => undefined);
  const client = new ServerClient(url, { retries: 3 });
  const waiting = client.infer("team", { obs: OBS });
  const outcome = assertFails(waiting, "LORASA_DISPOSED", /received a closed one/);
  while (requests.length === 0) await new Promise((resolve) => setImmediate(resolve));
  client.close();
  client.close();
  await outcome;
  await assertFails(client.listAdapters("team"), "LORASA_DISPOSED", /received a closed one/);
  assert.equal(await client.isReady(), false);
  assert.equal(requests.length, 1);
});

test("readiness is the status of the health route alone", async (context) => {
  let status = 200;
  const { url, requests } = await fakeServer(context, (_request, response) =>
    response.writeHead(status).end(),
  );
  const client = clientOf(context, url, { retries: 5 });
  assert.equal(await client.isReady(), true);
  status = 503;
  assert.equal(await client.isReady(), false);
  assert.deepEqual(
    requests.map(({ path }) => path),
    ["/v2/health/ready", "/v2/health/ready"],
  );
});

test("a port where nothing listens is told, with what starts a server", async (context) => {
  const port = await freePort();
  const client = clientOf(context, `http://127.0.0.1:${port}`);
  await assertFails(client.listAdapters("team"), "LORASA_SERVER", /nothing listening there; start one with/);
});

function clientOf(
  context: { after(done: () => void): void },
  url: string,
  options: ClientOptions = {},
): ServerClient {
  const client = new ServerClient(url, options);
  context.after(() => client.close());
  return client;
}

async function assertFails(promise: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof LorasaError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.ok(!error.message.includes("\n"), "more than one line");
    return true;
  });
}
