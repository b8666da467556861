/** Tensors that stay in an executor's memory between runs. */
import assert from "node:assert/strict";
import { DTYPES, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { GraphBuilder } from "../../src/graph/builder.ts";
import { finishGraph } from "../../src/graph/finish.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import type { Runtime, Session } from "../../src/runtime/session.ts";
import { assertFails } from "../helpers/fails.ts";
import type { ExecutorSuite } from "./executor.ts";

/** `y = 2·x + 1`, `z = −x`, `same = x` float32 [rows, 2]. */
function createModel(): Uint8Array {
  const g = new GraphBuilder();
  const x = g.input("x", "float32", ["rows", 2]);
  g.output("y", g.add(g.mul(x, 2), 1));
  g.output("z", g.neg(x));
  g.output("same", x);
  return encodeModel(finishGraph(g, "resident"));
}

/** `next = b`, `sum = a + b` float32 [2]: what `a` and `b` are after a step. */
function createPair(): Uint8Array {
  const g = new GraphBuilder();
  const [a, b] = [g.input("a", "float32", [2]), g.input("b", "float32", [2])];
  g.output("next", b);
  g.output("sum", g.add(a, b));
  return encodeModel(finishGraph(g, "pair"));
}

const X = floatTensor([2, 2], [1, 2, 3, 4]);
const x = (): HostTensor => floatTensor([2, 2], [...X.data]);

/** One of each type that graphs carry. */
const TYPES: readonly HostTensor[] = [
  X,
  { dtype: "int64", dims: [3], data: BigInt64Array.of(0n, -1n, 2n ** 30n) },
  { dtype: "int32", dims: [2, 1], data: Int32Array.of(-7, 7) },
  { dtype: "bool", dims: [3], data: Uint8Array.of(1, 0, 1) },
  floatTensor([], [5]),
];

export function testResidents({ test }: ExecutorSuite): void {
  const testModel = (title: string, body: (session: Session, runtime: Runtime) => void): void =>
    test(title, (runtime) => {
      const session = runtime.createSession(createModel());
      try {
        body(session, runtime);
      } finally {
        session.dispose();
      }
    });

  for (const tensor of TYPES) {
    const type = `${tensor.dtype} [${tensor.dims.join(", ")}]`;
    test(`what is uploaded is downloaded as a copy: ${type}`, (runtime) => {
      const resident = runtime.upload({ ...tensor, data: tensor.data.slice() });
      assert.deepEqual(
        [resident.device, resident.dtype, resident.dims],
        [runtime.device, tensor.dtype, tensor.dims],
      );
      const copy = resident.download();
      assert.deepEqual(copy, tensor);
      overwrite(copy);
      assert.deepEqual(resident.download(), tensor);
      resident.dispose();
    });

    test(`what is allocated is zeros, and takes values: ${type}`, (runtime) => {
      const resident = runtime.allocate(tensor.dtype, tensor.dims);
      const zeros = { ...tensor, data: new DTYPES[tensor.dtype].array(tensor.data.length) };
      assert.deepEqual(resident.download(), zeros);
      resident.write(tensor);
      assert.deepEqual(resident.download(), tensor);
      resident.dispose();
    });
  }

  test("values of another type or other sizes are not written", (runtime) => {
    const resident = runtime.upload(x());
    assertFails(
      () => resident.write({ ...X, dtype: "int32", data: new Int32Array(4) }),
      "LORASA_DTYPE",
      /float32/,
    );
    assertFails(() => resident.write(floatTensor([4])), "LORASA_SHAPE", /expected \[2, 2\], received \[4\]/);
    assertFails(() => resident.write({ ...X, data: new Float32Array(3) }), "LORASA_SHAPE", /4 values/);
    assert.deepEqual(resident.download(), X);
    resident.dispose();
  });

  testModel("a resident tensor feeds runs, and is filled by runs that fetch into it", (session, runtime) => {
    const [fed, filled] = [runtime.upload(x()), runtime.allocate("float32", [2, 2])];
    const z = floatTensor([2, 2]);
    const results = session.run({ x: fed }, { y: filled, z, same: null });
    assert.equal(results["y"], filled);
    assert.equal(results["z"], z);
    assert.deepEqual(results["same"], X);
    assert.deepEqual([...z.data], [-1, -2, -3, -4]);
    assert.deepEqual(filled.download(), floatTensor([2, 2], [3, 5, 7, 9]));
    assert.deepEqual(fed.download(), X);
    for (const tensor of [fed, filled]) tensor.dispose();
  });

  testModel(
    "a resident tensor that a run copies to is apart from what it was copied from",
    (session, runtime) => {
      const [fed, filled] = [runtime.upload(x()), runtime.allocate("float32", [2, 2])];
      session.run({ x: fed }, { same: filled });
      fed.write(floatTensor([2, 2], [9, 9, 9, 9]));
      assert.deepEqual(filled.download(), X);
      fed.dispose();
      assert.deepEqual(filled.download(), X);
      const host = x();
      session.run({ x: host }, { same: filled });
      overwrite(host);
      assert.deepEqual(filled.download(), X, "the host's memory is not kept either");
      filled.dispose();
    },
  );

  testModel("a tensor that is fed and fetched by the same run is updated in place", (session, runtime) => {
    const state = runtime.upload(x());
    const bound = session.bind({ x: state }, { y: state });
    for (let step = 0; step < 3; step++) bound.run();
    assert.deepEqual(state.download(), floatTensor([2, 2], [15, 23, 31, 39]));
    state.write(x());
    bound.run();
    assert.deepEqual(
      state.download(),
      floatTensor([2, 2], [3, 5, 7, 9]),
      "a bound run reads what was written",
    );
    state.dispose();
  });

  test("two tensors that are fed and fetched crosswise are both read before either is written", (runtime) => {
    const session = runtime.createSession(createPair());
    const pair = (): HostTensor => floatTensor([2], [1, 10]);
    const [a, b] = [runtime.upload(pair()), runtime.upload(pair())];
    const [next, sum] = [runtime.allocate("float32", [2]), runtime.allocate("float32", [2])];
    const there = session.bind({ a, b }, { next, sum });
    const back = session.bind({ a: next, b: sum }, { next: a, sum: b });
    for (let step = 0; step < 3; step++) for (const bound of [there, back]) bound.run();
    assert.deepEqual(b.download(), floatTensor([2], [21, 210]));
    session.dispose();
    for (const tensor of [a, b, next, sum]) tensor.dispose();
  });

  testModel("the first entries are the same memory: fed, filled and written", (session, runtime) => {
    const all = runtime.upload(floatTensor([3, 2], [1, 2, 3, 4, 5, 6]));
    const part = all.first(2);
    assert.deepEqual([part.dtype, part.dims], ["float32", [2, 2]]);
    assert.deepEqual(part.download(), X);
    assert.deepEqual(session.run({ x: part }, { z: null })["z"], floatTensor([2, 2], [-1, -2, -3, -4]));
    session.run({ x: part }, { y: part });
    assert.deepEqual(all.download(), floatTensor([3, 2], [3, 5, 7, 9, 5, 6]));
    part.write(floatTensor([2, 2], [0, 0, 0, 0]));
    assert.deepEqual(all.download(), floatTensor([3, 2], [0, 0, 0, 0, 5, 6]));
    all.write(floatTensor([3, 2], [7, 7, 7, 7, 7, 7]));
    assert.deepEqual(part.first(1).download(), floatTensor([1, 2], [7, 7]));
    assert.deepEqual(all.first(3).download().dims, [3, 2]);
    part.dispose();
    assertFails(() => part.download(), "LORASA_DISPOSED", /^using a resident tensor: /);
    assert.deepEqual(all.download().dims, [3, 2], "the whole is its owner's to dispose of");
    for (const size of [0, 4, 1.5]) assertFails(() => all.first(size), "LORASA_RANGE", /expected 1 to 3/);
    all.dispose();
  });

  testModel("sizes of resident tensors are checked as those of others", (session, runtime) => {
    const wide = runtime.allocate("float32", [2, 3]);
    assertFails(() => session.run({ x: wide }), "LORASA_SHAPE", /^input x: .* \[2, 3\]$/);
    assertFails(() => session.run({ x: x() }, { y: wide }), "LORASA_SHAPE", /^output y: /);
    wide.dispose();
  });

  testModel("a resident tensor after dispose is refused, a second dispose is not", (session, runtime) => {
    const tensor = runtime.upload(x());
    tensor.dispose();
    tensor.dispose();
    for (const use of [
      () => tensor.download(),
      () => tensor.write(x()),
      () => tensor.first(1),
      () => session.run({ x: tensor }),
      () => session.run({ x: x() }, { y: tensor }),
      () => session.bind({ x: tensor }, { y: floatTensor([2, 2]) }),
    ])
      assertFails(use, "LORASA_DISPOSED", /^using a resident tensor: /, use.toString());
  });

  testModel("a resident tensor of another runtime is refused", (session, runtime) => {
    const foreign = {
      ...runtime.upload(x()),
      device: runtime.device,
      dtype: "float32",
      dims: [2, 2],
    } as const;
    assertFails(() => session.run({ x: foreign }), "LORASA_DEVICE", /^a resident tensor: /);
  });
}

/** Other bits in the same memory. */
function overwrite({ data }: HostTensor): void {
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength).fill(1);
}
