/** What every executor's sessions check, fill and read anew. */
import assert from "node:assert/strict";
import type { ErrorCode } from "../../src/base/errors.ts";
import { floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { RunTensor, Runtime, Session } from "../../src/runtime/session.ts";
import { assertFails } from "../helpers/fails.ts";
import type { ExecutorSuite } from "./executor.ts";

/** `sum = obs + other·2` float32 [rows, 2], `picked = table[index]` float32 [picks]. */
function createModel(): Uint8Array {
  const g = new GraphBuilder();
  const obs = g.input("obs", "float32", ["rows", 2]);
  const other = g.input("other", "float32", ["rows", 2]);
  const index = g.input("index", "int64", ["picks"]);
  g.output("sum", g.add(obs, g.mul(other, 2)));
  g.output("picked", g.gather(g.constant("table", floatTensor([3], [10, 20, 30])), index));
  return encodeModel(finishGraph(g, "session"));
}

const indices = (...numbers: bigint[]): HostTensor => ({
  dtype: "int64",
  dims: [numbers.length],
  data: BigInt64Array.from(numbers),
});

const feeds = (): Record<string, HostTensor> => ({
  obs: floatTensor([2, 2], [1, 2, 3, 4]),
  other: floatTensor([2, 2], [1, 1, 1, 1]),
  index: indices(2n),
});

const SUM = floatTensor([2, 2], [3, 4, 5, 6]);

/** What is wrong, the feeds that are changed for it, the code and the message. */
const REFUSED: readonly (readonly [string, Record<string, RunTensor>, ErrorCode, RegExp])[] = [
  ["an input left out", { obs: undefined as never }, "LORASA_NAME", /^input obs: .* received none$/],
  ["an unknown input", { obss: floatTensor([1]) }, "LORASA_NAME", /^input obss: .* did you mean obs\?$/],
  ["another type", { index: floatTensor([1]) }, "LORASA_DTYPE", /^input index: expected int64/],
  ["another fixed size", { obs: floatTensor([2, 3]) }, "LORASA_SHAPE", /^input obs: .* \[2, 3\]$/],
  ["another rank", { obs: floatTensor([2]) }, "LORASA_SHAPE", /^input obs: .* \[2\]$/],
  ["sizes that disagree", { other: floatTensor([3, 2]) }, "LORASA_SHAPE", /^input other: .* \[3, 2\]$/],
  [
    "fewer values than its sizes say",
    { obs: { dtype: "float32", dims: [2, 2], data: new Float32Array(3) } },
    "LORASA_SHAPE",
    /^input obs: expected 4 values/,
  ],
];

const REFUSED_FETCHES: readonly (readonly [string, Record<string, HostTensor>, ErrorCode, RegExp])[] = [
  ["an unknown output", { summ: SUM }, "LORASA_NAME", /^output summ: .* did you mean sum\?$/],
  ["another type", { sum: indices(1n) }, "LORASA_DTYPE", /^output sum: expected float32/],
  ["another rank", { sum: floatTensor([4]) }, "LORASA_SHAPE", /^output sum: /],
  ["sizes other than those fed", { sum: floatTensor([3, 2]) }, "LORASA_SHAPE", /^output sum: /],
];

export function testSessions({ test }: ExecutorSuite): void {
  const testSession = (title: string, body: (session: Session) => void): void =>
    test(title, (runtime) => withSession(runtime, body));

  testSession("a session tells its inputs and outputs and computes", (session) => {
    assert.deepEqual(session.inputs, [
      { name: "obs", dtype: "float32", shape: ["rows", 2] },
      { name: "other", dtype: "float32", shape: ["rows", 2] },
      { name: "index", dtype: "int64", shape: ["picks"] },
    ]);
    assert.deepEqual(session.outputs, [
      { name: "sum", dtype: "float32", shape: ["rows", 2] },
      { name: "picked", dtype: "float32", shape: ["picks"] },
    ]);
    assert.deepEqual(session.run(feeds()), { sum: SUM, picked: floatTensor([1], [30]) });
    assert.deepEqual(session.run(feeds(), { picked: null }), { picked: floatTensor([1], [30]) });
  });

  testSession("no rows at all are a run like any other", (session) => {
    const empty = { obs: floatTensor([0, 2]), other: floatTensor([0, 2]), index: indices() };
    assert.deepEqual(session.run(empty), { sum: floatTensor([0, 2]), picked: floatTensor([0]) });
  });

  for (const [what, change, code, message] of REFUSED) {
    testSession(`feeds are refused: ${what}`, (session) => {
      const changed = { ...feeds(), ...change };
      assertFails(() => session.run(changed), code, message, "run");
      assertFails(() => session.bind(changed, {}), code, message, "bind");
    });
  }

  for (const [what, fetches, code, message] of REFUSED_FETCHES) {
    testSession(`fetches are refused: ${what}`, (session) => {
      assertFails(() => session.run(feeds(), fetches), code, message, "run");
      assertFails(() => session.bind(feeds(), fetches), code, message, "bind");
    });
  }

  testSession("a run for no output at all is refused", (session) => {
    assertFails(() => session.run(feeds(), {}), "LORASA_GRAPH", /^running a graph: /);
  });

  testSession("a tensor given as a fetch is filled in place and returned", (session) => {
    const sum = floatTensor([2, 2]);
    const results = session.run(feeds(), { sum, picked: null });
    assert.equal(results["sum"], sum);
    assert.deepEqual(results, { sum: SUM, picked: floatTensor([1], [30]) });
  });

  testSession("results stay as they are when the inputs' memory and later runs change", (session) => {
    const first = feeds();
    const { sum } = session.run(first);
    (first["obs"]!.data as Float32Array).fill(100);
    session.run(first);
    assert.deepEqual(sum, SUM);
  });

  testSession("a bound run reads the inputs' memory anew each time", (session) => {
    const tensors = feeds();
    const [sum, picked] = [floatTensor([2, 2]), floatTensor([1])];
    const bound = session.bind(tensors, { sum, picked });
    bound.run();
    assert.deepEqual([...sum.data, ...picked.data], [3, 4, 5, 6, 30]);
    (tensors["obs"]!.data as Float32Array).fill(100);
    (tensors["index"]!.data as BigInt64Array)[0] = 0n;
    bound.run();
    assert.deepEqual([...sum.data, ...picked.data], [102, 102, 102, 102, 10]);
  });

  testSession("a bound run may fetch some of the outputs", (session) => {
    const picked = floatTensor([1]);
    session.bind(feeds(), { picked }).run();
    assert.deepEqual([...picked.data], [30]);
  });

  testSession("an index out of range is one line of ours, and the session is still good", (session) => {
    assertFails(
      () => session.run({ ...feeds(), index: indices(7n) }),
      "LORASA_GRAPH",
      /^running a graph: received .*7/,
    );
    assert.deepEqual(session.run(feeds())["picked"], floatTensor([1], [30]));
  });

  test("a session after dispose is refused, a second dispose is not", (runtime) => {
    const session = runtime.createSession(createModel());
    const bound = session.bind(feeds(), { sum: floatTensor([2, 2]) });
    session.dispose();
    session.dispose();
    const message = /^using a session: expected an open one, received one that was disposed$/;
    assertFails(() => session.run(feeds()), "LORASA_DISPOSED", message, "run");
    assertFails(() => session.bind(feeds(), {}), "LORASA_DISPOSED", message, "bind");
    assertFails(() => bound.run(), "LORASA_DISPOSED", message, "bound run");
  });

  test("bytes that are no model are refused in one line", (runtime) => {
    for (const bytes of [new Uint8Array(), Uint8Array.of(1, 2, 3), createModel().subarray(0, 100)])
      assert.throws(() => runtime.createSession(bytes), {
        code: /^LORASA_(GRAPH|FILE)$/,
        message: /^[^\n]+$/,
      });
  });

  test("64-bit integers and bools go in and come out", (runtime) => {
    const g = new GraphBuilder();
    const [x, flags] = [g.input("x", "int64", [3]), g.input("flags", "bool", [3])];
    g.output("sum", g.add(x, x));
    g.output("small", g.and(g.less(x, 5), g.not(flags)));
    const session = runtime.createSession(encodeModel(finishGraph(g, "types")));
    const small: HostTensor = { dtype: "bool", dims: [3], data: Uint8Array.of(9, 9, 9) };
    const given = {
      x: { dtype: "int64", dims: [3], data: BigInt64Array.of(2n ** 29n, -4n, 4n) },
      flags: { dtype: "bool", dims: [3], data: Uint8Array.of(0, 1, 0) },
    } as const;
    const { sum } = session.run(given, { sum: null, small });
    session.dispose();
    assert.deepEqual(sum, { dtype: "int64", dims: [3], data: BigInt64Array.of(2n ** 30n, -8n, 8n) });
    assert.deepEqual([...small.data], [0, 0, 1]);
  });
}

function withSession(runtime: Runtime, body: (session: Session) => void): void {
  const session = runtime.createSession(createModel());
  try {
    assert.equal(session.device, runtime.device);
    body(session);
  } finally {
    session.dispose();
  }
}
