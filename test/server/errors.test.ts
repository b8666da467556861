/** Every fault of a request has its status and one line that says what was expected; nothing of the inside shows. */
import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { ask, assertErrorReply, serveTiny, type TinyServer } from "../helpers/tiny-server.ts";

interface Fault {
  readonly what: string;
  readonly status: number;
  readonly message: RegExp;
  /** Default: POST to the team's infer route. */
  readonly path?: string;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

const OBS = { name: "obs", datatype: "FP32", shape: [1, 2, 3], data: [1, 2, 3, 4, 5, 6] };
const ROWS = { name: "obs", datatype: "FP32", shape: [2, 3], data: [1, 2, 3, 4, 5, 6] };
const tags = (data: unknown, datatype = "INT32"): object => ({ name: "agent", datatype, shape: [2], data });
const inputs = (...list: readonly object[]): object => ({ inputs: list });
const BINARY_SIZE = { parameters: { binary_data_size: 24 }, data: undefined };

const FAULTS: readonly Fault[] = [
  { what: "not JSON", status: 400, message: /LORASA_REQUEST: request body: expected JSON/, body: "{" },
  { what: "empty", status: 400, message: /LORASA_REQUEST: .*an empty body/, body: "" },
  {
    what: "an array",
    status: 400,
    message: /LORASA_REQUEST: .*expected an object, received an array/,
    body: [],
  },
  {
    what: "no inputs",
    status: 400,
    message: /LORASA_REQUEST: inputs: expected an array, received nothing/,
    body: {},
  },
  { what: "no obs", status: 400, message: /LORASA_NAME: input obs: .*received none/, body: inputs() },
  {
    what: "unknown input",
    status: 400,
    message: /LORASA_NAME: input observ.*did you mean|known: obs/,
    body: inputs(OBS, { ...OBS, name: "observ" }),
  },
  { what: "input twice", status: 400, message: /LORASA_NAME: input obs: .*twice/, body: inputs(OBS, OBS) },
  {
    what: "no name",
    status: 400,
    message: /LORASA_REQUEST: inputs\[0\]\.name/,
    body: inputs({ ...OBS, name: "" }),
  },
  {
    what: "unknown datatype",
    status: 400,
    message: /LORASA_DTYPE: input obs datatype: .*received FLOAT/,
    body: inputs({ ...OBS, datatype: "FLOAT" }),
  },
  {
    what: "another datatype",
    status: 400,
    message: /LORASA_DTYPE: input obs: expected FP32, received FP64/,
    body: inputs({ ...OBS, datatype: "FP64" }),
  },
  {
    what: "FP16 in JSON",
    status: 400,
    message: /LORASA_DTYPE: input obs: expected FP16 as binary/,
    body: inputs({ ...OBS, datatype: "FP16" }),
  },
  {
    what: "negative size",
    status: 400,
    message: /LORASA_SHAPE: input obs shape/,
    body: inputs({ ...OBS, shape: [-1, 2, 3] }),
  },
  {
    what: "broken size",
    status: 400,
    message: /LORASA_SHAPE: input obs shape/,
    body: inputs({ ...OBS, shape: [0.5, 2, 3] }),
  },
  {
    what: "no shape",
    status: 400,
    message: /LORASA_SHAPE: input obs shape: .*received undefined/,
    body: inputs({ ...OBS, shape: undefined }),
  },
  {
    what: "many axes",
    status: 400,
    message: /LORASA_SHAPE: input obs shape/,
    body: inputs({ ...OBS, shape: new Array(9).fill(1) }),
  },
  {
    what: "a product beyond 2^53",
    status: 400,
    message: /LORASA_SHAPE: element count/,
    body: inputs({ ...OBS, shape: [2 ** 40, 2 ** 40] }),
  },
  {
    what: "too many elements",
    status: 413,
    message: /LORASA_TOO_LARGE: input obs \[100000000, 2, 3\]/,
    body: inputs({ ...OBS, shape: [1e8, 2, 3] }),
  },
  {
    what: "wrong count",
    status: 400,
    message: /LORASA_SHAPE: input obs data: expected 6 elements.*received 5/,
    body: inputs({ ...OBS, data: [1, 2, 3, 4, 5] }),
  },
  {
    what: "wrong nesting",
    status: 400,
    message: /LORASA_SHAPE: input obs data, axis 1/,
    body: inputs({ ...OBS, data: [[[1, 2, 3]]] }),
  },
  {
    what: "nested too deep",
    status: 400,
    message: /LORASA_DTYPE: input obs data\[0\]: expected a number, received an array/,
    body: inputs({
      ...OBS,
      data: [
        [
          [[1], 2, 3],
          [4, 5, 6],
        ],
      ],
    }),
  },
  {
    what: "no data",
    status: 400,
    message: /LORASA_DTYPE: input obs data: expected an array, received nothing/,
    body: inputs({ ...OBS, data: undefined }),
  },
  {
    what: "a string among numbers",
    status: 400,
    message: /LORASA_DTYPE: input obs data\[2\]: expected a number, received a string/,
    body: inputs({ ...OBS, data: [1, 2, "3", 4, 5, 6] }),
  },
  {
    what: "null among numbers",
    status: 400,
    message: /LORASA_DTYPE: input obs data\[0\]: .*null/,
    body: inputs({ ...OBS, data: [null, 2, 3, 4, 5, 6] }),
  },
  {
    what: "beyond float32",
    status: 400,
    message: /LORASA_NOT_FINITE: input obs\[0\]\[1\]\[1\]: .*Infinity/,
    body: inputs({ ...OBS, data: [1, 2, 3, 4, 1e39, 6] }),
  },
  {
    what: "no rows",
    status: 400,
    message: /LORASA_SHAPE: rows of the request: expected 1 to/,
    body: inputs({ ...OBS, shape: [0, 2, 3], data: [] }),
  },
  {
    what: "too many rows",
    status: 413,
    message: /LORASA_TOO_LARGE: rows of the request/,
    body: inputs({ ...OBS, shape: [40_000, 2, 3], data: new Array(240_000).fill(0) }),
  },
  {
    what: "another team",
    status: 400,
    message:
      /LORASA_SHAPE: input obs: expected \[E, 2, 3\], or \[B, 3\] with agent \[B\], received \[2, 1, 3\]/,
    body: inputs({ ...OBS, shape: [2, 1, 3] }),
  },
  {
    what: "rows without agents",
    status: 400,
    message: /LORASA_SHAPE: input obs: expected \[E, 2, 3\]/,
    body: inputs(ROWS),
  },
  {
    what: "agent −1",
    status: 404,
    message: /LORASA_UNKNOWN_AGENT: input agent\[1\]: expected 0 to 1, received -1/,
    body: inputs(ROWS, tags([0, -1])),
  },
  {
    what: "agent N",
    status: 404,
    message: /LORASA_UNKNOWN_AGENT: .*received 2/,
    body: inputs(ROWS, tags([0, 2], "INT64")),
  },
  {
    what: "unknown agent",
    status: 404,
    message: /LORASA_UNKNOWN_AGENT: agent "agent_7".*did you mean/,
    body: inputs(ROWS, tags(["agent_0", "agent_7"], "BYTES")),
  },
  {
    what: "agents as floats",
    status: 400,
    message: /LORASA_DTYPE: input agent: expected INT32 or INT64/,
    body: inputs(ROWS, tags([0, 1], "FP32")),
  },
  {
    what: "half an agent",
    status: 400,
    message: /LORASA_DTYPE: input agent data\[0\]: expected a whole number, received 0.5/,
    body: inputs(ROWS, tags([0.5, 1])),
  },
  {
    what: "an index beyond INT32",
    status: 400,
    message: /LORASA_RANGE: input agent data\[0\]/,
    body: inputs(ROWS, tags([2 ** 40, 1])),
  },
  {
    what: "an index beyond 2^53",
    status: 400,
    message: /LORASA_RANGE: .*below 2\^53/,
    body: inputs(ROWS, tags([2 ** 60, 1], "INT64")),
  },
  {
    what: "fewer agents than rows",
    status: 400,
    message: /LORASA_SHAPE: input obs: expected \[1, 3\], received \[2, 3\]/,
    body: inputs(ROWS, { ...tags([0]), shape: [1] }),
  },
  {
    what: "agent to an agent's own model",
    status: 400,
    message: /LORASA_NAME: input agent/,
    path: "/v2/models/team.agent_0/infer",
    body: inputs(ROWS, tags([0, 0])),
  },
  {
    what: "unknown output",
    status: 400,
    message: /LORASA_NAME: output actoin: .*did you mean action/,
    body: { ...inputs(OBS), outputs: [{ name: "actoin" }] },
  },
  {
    what: "output twice",
    status: 400,
    message: /LORASA_NAME: output action/,
    body: { ...inputs(OBS), outputs: [{ name: "action" }, { name: "action" }] },
  },
  {
    what: "classification",
    status: 400,
    message: /LORASA_REQUEST: output action: expected no classification/,
    body: { ...inputs(OBS), outputs: [{ name: "action", parameters: { classification: 2 } }] },
  },
  {
    what: "shared memory",
    status: 400,
    message: /LORASA_REQUEST: input obs: .*shared-memory/,
    body: inputs({ ...OBS, parameters: { shared_memory_region: "x" } }),
  },
  {
    what: "unknown adapter",
    status: 404,
    message: /LORASA_UNKNOWN_ADAPTER: adapter "agent_0\.blue" of team: expected a loaded one.*push it first/,
    body: { ...inputs(OBS), parameters: { adapter_id: "agent_0.blue" } },
  },
  {
    what: "adapter that is no name",
    status: 400,
    message: /LORASA_REQUEST: parameters\.adapter_id: expected the name of an adapter, received number/,
    body: { ...inputs(OBS), parameters: { adapter_id: 0 } },
  },
  {
    what: "unknown adapter of a row",
    status: 404,
    message: /LORASA_UNKNOWN_ADAPTER: adapter "agent_9"/,
    body: inputs(ROWS, tags([0, 1]), { ...tags(["agent_0", "agent_9"], "BYTES"), name: "adapter" }),
  },
  {
    what: "adapters to a team request",
    status: 400,
    message: /LORASA_SHAPE: input adapter: expected rows \[B, …\] with agent \[B\], received \[2\]/,
    body: inputs(OBS, { ...tags(["agent_0", "agent_1"], "BYTES"), name: "adapter" }),
  },
  {
    what: "an adapter's name that was not pushed",
    status: 404,
    message: /LORASA_UNKNOWN_MODEL: model "team\.agent_0\.blue"/,
    path: "/v2/models/team.agent_0.blue/infer",
    body: inputs(ROWS),
  },
  {
    what: "a broken priority",
    status: 400,
    message: /LORASA_REQUEST: parameters\.priority: expected a whole number, received 0\.5/,
    body: { ...inputs(OBS), parameters: { priority: 0.5 } },
  },
  {
    what: "a timeout of words",
    status: 400,
    message: /LORASA_REQUEST: parameters\.timeout: expected a whole number, received soon/,
    body: { ...inputs(OBS), parameters: { timeout: "soon" } },
  },
  {
    what: "a reserved parameter",
    status: 400,
    message: /LORASA_REQUEST: parameters.triton_x/,
    body: { ...inputs(OBS), parameters: { triton_x: 1 } },
  },
  {
    what: "nested parameters",
    status: 400,
    message: /LORASA_REQUEST: parameters.a: /,
    body: { ...inputs(OBS), parameters: { a: {} } },
  },
  { what: "id is a number", status: 400, message: /LORASA_REQUEST: id/, body: { ...inputs(OBS), id: 5 } },
  {
    what: "data and binary",
    status: 400,
    message: /LORASA_REQUEST: input obs: expected data or binary_data_size, received both/,
    body: inputs({ ...OBS, parameters: { binary_data_size: 0 } }),
  },
  {
    what: "binary without bytes",
    status: 400,
    message: /LORASA_REQUEST: input obs binary_data_size: .*at most 0 bytes/,
    body: inputs({ ...OBS, ...BINARY_SIZE }),
  },
  {
    what: "header length of letters",
    status: 400,
    message: /LORASA_REQUEST: Inference-Header-Content-Length/,
    headers: { "Inference-Header-Content-Length": "ten" },
    body: inputs(OBS),
  },
  {
    what: "header length beyond the body",
    status: 400,
    message: /LORASA_REQUEST: Inference-Header-Content-Length: .*received 99999/,
    headers: { "Inference-Header-Content-Length": "99999" },
    body: inputs(OBS),
  },
  {
    what: "raw bytes of a broken row",
    status: 400,
    message: /LORASA_SHAPE: input obs raw data: expected a multiple of 24 bytes/,
    headers: { "Inference-Header-Content-Length": "0" },
    body: "12345",
  },
  {
    what: "compressed",
    status: 400,
    message: /LORASA_REQUEST: Content-Encoding/,
    headers: { "Content-Encoding": "gzip" },
    body: inputs(OBS),
  },
  {
    what: "unknown model",
    status: 404,
    message: /LORASA_UNKNOWN_MODEL: model "taem": .*did you mean team/,
    path: "/v2/models/taem/infer",
    body: inputs(OBS),
  },
  {
    what: "unknown version",
    status: 404,
    message: /LORASA_UNKNOWN_MODEL: model team version 2: expected version 1/,
    path: "/v2/models/team/versions/2/infer",
    body: inputs(OBS),
  },
  {
    what: "a traversing name",
    status: 404,
    message: /LORASA_UNKNOWN_MODEL/,
    path: "/v2/models/..%2f..%2fetc/infer",
    body: inputs(OBS),
  },
  {
    what: "a name that does not decode",
    status: 400,
    message: /LORASA_REQUEST: model name/,
    path: "/v2/models/%ff/infer",
    body: inputs(OBS),
  },
  {
    what: "no such route",
    status: 404,
    message: /Not Found/,
    path: "/v2/models/team/infer/",
    body: inputs(OBS),
  },
];

let served: TinyServer;
const cleanups: (() => unknown)[] = [];
before(async () => {
  // The suite's server outlives each test; `after` runs what a test's context would.
  const context = { after: (done: () => unknown) => cleanups.push(done) } as unknown as TestContext;
  served = await serveTiny(context, { mode: "factored" });
});
after(async () => {
  for (const done of cleanups.reverse()) await done();
});

for (const fault of FAULTS) {
  test(`refused: ${fault.what}`, async () => {
    const body = typeof fault.body === "string" ? fault.body : JSON.stringify(fault.body);
    const path = fault.path ?? "/v2/models/team/infer";
    const reply = await ask(`${served.url}${path}`, { method: "POST", body, headers: { ...fault.headers } });
    assertErrorReply(reply, fault.status, fault.message);
    assert.deepEqual(served.faults, []);
  });
}

test("a hidden input of the wrong size, a mask of twos, and a row with nothing to choose", async (context) => {
  const recurrent = await serveTiny(context, { mode: "factored", hidden: 4, discrete: true });
  const post = (...list: readonly object[]) =>
    ask(`${recurrent.url}/v2/models/team/infer`, {
      method: "POST",
      body: JSON.stringify(inputs(OBS, ...list)),
    });
  const hidden = (shape: readonly number[], data: readonly number[]): object => ({
    name: "hidden_in",
    datatype: "FP32",
    shape,
    data,
  });
  const mask = (data: readonly number[]): object => ({
    name: "action_mask",
    datatype: "FP32",
    shape: [1, 2, 2],
    data,
  });
  const zeros = hidden([1, 2, 4], new Array<number>(8).fill(0));
  assertErrorReply(
    await post(hidden([1, 2, 3], [1, 2, 3, 4, 5, 6])),
    400,
    /LORASA_SHAPE: input hidden_in: expected \[E, 2, 4\].*received \[1, 2, 3\]/,
  );
  assertErrorReply(await post(), 400, /LORASA_NAME: input hidden_in: expected FP32 \[1, 2, 4\]/);
  assertErrorReply(
    await post(zeros, mask([1, 2, 1, 1])),
    400,
    /LORASA_RANGE: input action_mask row 0, action 1/,
  );
  assertErrorReply(
    await post(zeros, mask([1, 1, 0, 0])),
    400,
    /LORASA_RANGE: input action_mask row 1: .*none available/,
  );
  assert.equal((await post(zeros, mask([1, 1, 0, 1]))).status, 200);
});

test("a sequence of a policy that keeps a state: not started, without an id, with flags that are none", async (context) => {
  const recurrent = await serveTiny(context, { mode: "factored", hidden: 4 });
  const post = (parameters: object) =>
    ask(`${recurrent.url}/v2/models/team/infer`, {
      method: "POST",
      body: JSON.stringify({ ...inputs(OBS), parameters }),
    });
  const notStarted = /LORASA_REQUEST: sequence 5 of team: expected a live one, or sequence_start/;
  assertErrorReply(await post({ sequence_id: 5 }), 400, notStarted);
  assertErrorReply(await post({ sequence_id: 0, sequence_start: true }), 400, /LORASA_NAME: input hidden_in/);
  assertErrorReply(
    await post({ sequence_id: -5 }),
    400,
    /LORASA_REQUEST: parameters\.sequence_id: .*received -5/,
  );
  const flag = /LORASA_REQUEST: parameters\.sequence_start: expected true or false, received 1/;
  assertErrorReply(await post({ sequence_id: 5, sequence_start: 1 }), 400, flag);
  assertErrorReply(await post({ sequence_id: 5 }), 400, notStarted);
  assert.equal((await post({ sequence_id: 5, sequence_start: true })).status, 200);
  assert.equal((await post({ sequence_id: "5", sequence_end: true })).status, 200);
  assertErrorReply(await post({ sequence_id: 5 }), 400, notStarted);
});

test("a full queue and a request that waited too long are 503 with a time to come back", async (context) => {
  const full = await serveTiny(context, { mode: "stacked" }, { queueLimit: 1, queueDelayUs: 50_000 });
  const post = (parameters: object) =>
    ask(`${full.url}/v2/models/team/infer`, {
      method: "POST",
      body: JSON.stringify({ ...inputs(OBS), parameters }),
    });
  const replies = await Promise.all([post({}), post({})]);
  const refused = replies.find(({ status }) => status !== 200)!;
  assertErrorReply(refused, 503, /LORASA_UNAVAILABLE: a place in the queue of team/);
  assert.equal(refused.headers.get("retry-after"), "1");
  assertErrorReply(
    await post({ timeout: 1 }),
    503,
    /LORASA_UNAVAILABLE: inference: .*within the request's timeout/,
  );
});
