/** Adapters in the slots that graphs read: never two in one, never one taken away within a batch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AdapterBank, type BankOptions } from "../../server/engine/adapter-bank.ts";
import { adapterLayout, type ResidentAdapter } from "../../server/engine/resident-adapter.ts";
import type { FloatTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { createSlots } from "../../src/runtime/slots.ts";

const LAYOUT = adapterLayout([
  { name: "a", in: 2, out: 3, rank: 1, scale: 1 },
  { name: "b", in: 1, out: 1, rank: 1, scale: 1 },
]);

function adapter(seed: number): ResidentAdapter {
  const values = Float32Array.from({ length: LAYOUT.length }, (_, at) => 100 * seed + at);
  return { name: `${seed}`, version: 1, sha256: "", values, holders: 0 };
}

/** What the graph reads in a slot, in the layout's order. */
function slotValues(bank: AdapterBank, slot: number): number[] {
  return LAYOUT.parts.flatMap(({ name, length }) => {
    const { data } = bank.tensors[name] as FloatTensor;
    return [...data.subarray(slot * length, (slot + 1) * length)];
  });
}

function bankOf(slots: number, options: Partial<BankOptions> = {}): AdapterBank {
  return new AdapterBank(createSlots(createRuntime(), LAYOUT, slots), { own: [], ...options });
}

test("matrices lie behind each other, by layer, A before B", () => {
  assert.deepEqual(
    LAYOUT.parts.map(({ name, offset, length }) => [name, offset, length]),
    [
      ["a.lora_A.weight", 0, 2],
      ["a.lora_B.weight", 2, 3],
      ["b.lora_A.weight", 5, 1],
      ["b.lora_B.weight", 6, 1],
    ],
  );
  assert.equal(LAYOUT.length, 7);
});

test("a slot holds what was put last, and others are not touched", () => {
  const bank = bankOf(3);
  bank.put(0, adapter(1));
  bank.put(2, adapter(3));
  bank.put(0, adapter(2));
  bank.put(2, { ...adapter(4), name: "3", version: 2 });
  assert.deepEqual(slotValues(bank, 0), [...adapter(2).values]);
  assert.deepEqual(slotValues(bank, 1), new Array(7).fill(0));
  assert.deepEqual(slotValues(bank, 2), [...adapter(4).values]);
  assert.equal(bank.bytes, 3 * 7 * 4);
});

test("whatever batches ask for, each adapter of a batch is in a slot of its own until the batch ends", () => {
  const batches = fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 12 }), {
    maxLength: 20,
  });
  fc.assert(
    fc.property(batches, fc.integer({ min: 1, max: 6 }), (all, slots) => {
      const adapters = Array.from({ length: 10 }, (_, seed) => adapter(seed));
      const bank = bankOf(slots);
      for (const batch of all) {
        bank.beginBatch(new Set(batch).size);
        const placed = new Map(batch.map((seed) => [seed, bank.slotOf(adapters[seed]!)]));
        assert.equal(new Set(placed.values()).size, placed.size, "a slot each");
        for (const [seed, slot] of placed)
          assert.deepEqual(slotValues(bank, slot), [...adapters[seed]!.values]);
      }
    }),
  );
});

test("a larger batch makes the bank larger: other tensors, of the same inputs", () => {
  const bank = bankOf(2);
  const before = bank.tensors;
  bank.beginBatch(2);
  assert.equal(bank.tensors, before);
  bank.slotOf(adapter(1));
  bank.beginBatch(3);
  assert.notEqual(bank.tensors, before);
  assert.equal(bank.slots, 4);
  assert.deepEqual(bank.tensors["a.lora_A.weight"]!.dims, [4, 2, 1]);
});

test("a new version takes the slot of the one before, so that swaps make no bank larger", () => {
  const bank = bankOf(2, { limit: 64 });
  const slots = new Set<number>();
  for (let version = 1; version <= 50; version++) {
    bank.beginBatch(1);
    const swapped = { ...adapter(version), name: "blue", version };
    const slot = bank.slotOf(swapped);
    assert.deepEqual(slotValues(bank, slot), [...swapped.values]);
    slots.add(slot);
  }
  assert.deepEqual([slots.size, bank.slots], [1, 2]);
});

test("two versions of one adapter in a batch have a slot each", () => {
  const bank = bankOf(4);
  bank.beginBatch(2);
  const [old, replaced] = [1, 2].map((version) => ({ ...adapter(version), name: "blue", version }));
  const placed = [bank.slotOf(old!), bank.slotOf(replaced!), bank.slotOf(old!)];
  assert.notEqual(placed[0], placed[1]);
  assert.equal(placed[0], placed[2]);
  assert.deepEqual(slotValues(bank, placed[1]!), [...replaced!.values]);
});

test("the first slots are their owners': no other adapter is ever gathered from them", () => {
  const bank = bankOf(4, { own: ["1", "2"] });
  for (let seed = 3; seed < 9; seed++) {
    bank.beginBatch(2);
    assert.ok(bank.slotOf(adapter(seed)) >= 2, `adapter ${seed}`);
    assert.equal(bank.slotOf(adapter(2)), 1);
  }
  bank.put(0, adapter(7));
  bank.beginBatch(1);
  assert.equal(bank.slotOf(adapter(1)), 0);
  assert.deepEqual(slotValues(bank, 0), [...adapter(1).values]);
});

test("a bank grows up to its limit before an adapter has to go, and keeps what it holds", () => {
  const bank = bankOf(2, { limit: 8 });
  const adapters = Array.from({ length: 9 }, (_, seed) => adapter(seed));
  const slots = adapters.slice(0, 8).map((each) => {
    bank.beginBatch(1);
    return bank.slotOf(each);
  });
  assert.equal(bank.slots, 8);
  assert.equal(new Set(slots).size, 8);
  for (const [at, slot] of slots.entries())
    assert.deepEqual(slotValues(bank, slot), [...adapters[at]!.values]);
  bank.beginBatch(1);
  assert.equal(bank.slotOf(adapters[8]!), slots[0], "the one that was not wanted for longest");
  assert.equal(bank.slots, 8);
});

test("a packed bank shows a batch's adapters alone, from the first slot on", () => {
  const bank = bankOf(4, { packed: true });
  const sizes = [[5], [6, 7, 8], [7], [1, 2, 3, 4, 5, 6]].map((batch) => {
    const tensors = bank.beginBatch(batch.length);
    const placed = batch.map((seed) => bank.slotOf(adapter(seed)));
    assert.deepEqual(placed, [...batch.keys()]);
    return (tensors["a.lora_A.weight"] as FloatTensor).dims[0];
  });
  assert.deepEqual(sizes, [1, 3, 1, 6]);
  assert.equal(bank.first(3), bank.first(3), "one object, so that bindings see that nothing changed");
});
