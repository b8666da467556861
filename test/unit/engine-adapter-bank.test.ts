/** Adapters in the slots that graphs read: never two in one, never one taken away within a batch. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { AdapterBank } from "../../server/engine/adapter-bank.ts";
import { adapterLayout, type ResidentAdapter } from "../../server/engine/resident-adapter.ts";

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
  return LAYOUT.parts.flatMap(({ input, length }) => {
    const { data } = bank.tensors[input]!;
    return [...data.subarray(slot * length, (slot + 1) * length)];
  });
}

test("matrices lie behind each other, by layer, A before B", () => {
  assert.deepEqual(
    LAYOUT.parts.map(({ input, offset, length }) => [input, offset, length]),
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
  const bank = new AdapterBank(LAYOUT, 3);
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
      const bank = new AdapterBank(LAYOUT, slots);
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
  const bank = new AdapterBank(LAYOUT, 2);
  const before = bank.tensors;
  bank.beginBatch(2);
  assert.equal(bank.tensors, before);
  bank.slotOf(adapter(1));
  bank.beginBatch(3);
  assert.notEqual(bank.tensors, before);
  assert.equal(bank.slots, 4);
  assert.deepEqual(bank.tensors["a.lora_A.weight"]!.dims, [4, 2, 1]);
});
