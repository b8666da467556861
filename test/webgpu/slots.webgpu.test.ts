/** Slots in a WebGPU device's memory: what the host's hold, through puts, growth and a device that fails in between. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { createSlots, type SlotForm, type Slots, type SlotType } from "../../src/runtime/slots.ts";
import { lostDevice } from "../helpers/device-runtime.ts";
import { NO_HALF_PRECISION, NO_WEBGPU } from "../helpers/webgpu.ts";

const SLOT_VALUES = 7;
const SKIPPED: Readonly<Record<SlotType, string | false>> = {
  float32: NO_WEBGPU,
  float16: NO_HALF_PRECISION,
};

const gpu = () => createRuntime("webgpu");

function formOf(dtype: SlotType = "float32"): SlotForm {
  const parts = [
    { name: "a", dims: [2, 2], offset: 0, length: 4 },
    { name: "b", dims: [3], offset: 4, length: 3 },
  ];
  return { parts, dtype };
}

function valuesFrom(first: number): Float32Array {
  return Float32Array.from({ length: SLOT_VALUES }, (_, at) => first + at);
}

/** The same slots and sizes, all of them and as a prefix. */
function assertAlike(device: Slots, host: Slots, what: string): void {
  assert.deepEqual([device.count, device.bytes], [host.count, host.bytes], what);
  for (const count of [1, host.count]) {
    for (const [name, expected] of Object.entries(host.first(count))) {
      const own = device.first(count)[name]!;
      assert.ok("download" in own && "data" in expected);
      assert.deepEqual(own.download(), expected, `${what}: ${name}`);
    }
  }
}

for (const dtype of ["float32", "float16"] as const) {
  test(`${dtype} slots on the device hold what those of the host hold, also once they are more`, {
    skip: SKIPPED[dtype],
  }, () => {
    const before = gpu().residentBytes;
    const [device, host] = [gpu(), createRuntime()].map((runtime) =>
      createSlots(runtime, formOf(dtype), 3),
    ) as [Slots, Slots];
    const assertSame = (what: string): void => {
      assertAlike(device, host, what);
      assert.equal(gpu().residentBytes - before, device.bytes, what);
    };
    const put = (slot: number, first: number): void => {
      const values = valuesFrom(first);
      for (const slots of [device, host]) slots.put(slot, values);
      // What was put was copied.
      values.fill(-1);
      assertSame(`slot ${slot}`);
    };
    assertSame("nothing was put");
    for (const [slot, first] of [
      [2, 10],
      [0, 20],
      [2, 30],
      [1, 40],
    ] as const)
      put(slot, first);
    for (const slots of [device, host]) slots.grow(8);
    assertSame("grown");
    put(7, 50);
    for (const slots of [device, device, host]) slots.dispose();
    assert.equal(gpu().residentBytes, before);
  });
}

test("the first slots are the same memory: what is put later shows in them", { skip: NO_WEBGPU }, () => {
  const slots = createSlots(gpu(), formOf(), 4);
  const { b } = slots.first(2);
  slots.put(1, valuesFrom(60));
  assert.ok(b && "download" in b);
  assert.deepEqual([...(b.download().data as Float32Array)], [0, 0, 0, 64, 65, 66]);
  slots.dispose();
});

/** The device's runtime, of which the test can make allocations and runs fail. */
interface FailingRuntime extends Runtime {
  /** Allocations that still succeed. */
  allocations: number;
  /** Whether runs fail. */
  lost: boolean;
  /** Sessions that are not disposed of. */
  sessions: number;
}

function failingRuntime(): FailingRuntime {
  const runtime = gpu();
  const failing: FailingRuntime = {
    ...runtime,
    allocations: Number.POSITIVE_INFINITY,
    lost: false,
    sessions: 0,
    allocate: (dtype, dims) => {
      if (failing.allocations-- <= 0) throw lostDevice("no room in the device's memory");
      return runtime.allocate(dtype, dims);
    },
    createSession: (model, options) => {
      const session = runtime.createSession(model, options);
      failing.sessions += 1;
      return {
        ...session,
        run: (feeds, fetches) => {
          if (failing.lost) throw lostDevice();
          return session.run(feeds, fetches);
        },
        bind: (feeds, fetches) => session.bind(feeds, fetches),
        dispose: () => {
          failing.sessions -= 1;
          session.dispose();
        },
      };
    },
  };
  return failing;
}

const FAULTS: Readonly<Record<string, (runtime: FailingRuntime) => void>> = {
  "without room for any": (runtime) => {
    runtime.allocations = 0;
  },
  "with room for some of it": (runtime) => {
    runtime.allocations = 1;
  },
  "on a device that fails while slots are copied": (runtime) => {
    runtime.lost = true;
  },
};

for (const [what, fail] of Object.entries(FAULTS)) {
  test(`slots that cannot grow are as before and give back what they took: ${what}`, {
    skip: NO_WEBGPU,
  }, () => {
    const before = gpu().residentBytes;
    const runtime = failingRuntime();
    const [device, host] = [createSlots(runtime, formOf(), 3), createSlots(createRuntime(), formOf(), 3)];
    for (const slots of [device, host]) slots.put(1, valuesFrom(10));
    const { tensors } = device;
    fail(runtime);
    assert.throws(() => device.grow(6), { code: "LORASA_DEVICE" });
    Object.assign(runtime, { allocations: Number.POSITIVE_INFINITY, lost: false });
    assert.equal(device.tensors, tensors, "bindings of them are good");
    assert.equal(gpu().residentBytes - before, device.bytes);
    assertAlike(device, host, "as before");
    for (const slots of [device, host]) slots.put(2, valuesFrom(20));
    for (const slots of [device, host]) slots.grow(6);
    assertAlike(device, host, "grown after all");
    device.dispose();
    assert.deepEqual([gpu().residentBytes, runtime.sessions], [before, 0]);
  });
}

test("slots that have no room from the start leave nothing behind", { skip: NO_WEBGPU }, () => {
  const before = gpu().residentBytes;
  const runtime = failingRuntime();
  runtime.allocations = 1;
  assert.throws(() => createSlots(runtime, formOf(), 3), { code: "LORASA_DEVICE" });
  assert.deepEqual([gpu().residentBytes, runtime.sessions], [before, 0]);
});
