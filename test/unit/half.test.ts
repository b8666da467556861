/** Float16 against a table, against its definition for every number it has, and against float64 between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHalf, halfTensor, toHalf } from "../../src/base/half.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { assertFails } from "../helpers/fails.ts";

const half = (value: number): number => toHalf(Float32Array.of(value))[0]!;
const number = (bits: number): number => fromHalf(Uint16Array.of(bits))[0]!;

/** IEEE 754's binary16 by its definition, in float64: sign, 5 bits of exponent, 10 of fraction. */
function defined(bits: number): number {
  const [exponent, fraction] = [Math.floor(bits / 1024) % 32, bits % 1024];
  const size = exponent === 0 ? (fraction / 1024) * 2 ** -14 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >= 0x8000 ? -size : size;
}

/** The float32 numbers on both sides. */
function neighbours(value: number): [number, number] {
  const step = (by: number): number => {
    const words = new Uint32Array(Float32Array.of(value).buffer);
    words[0]! += by;
    return new Float32Array(words.buffer)[0]!;
  };
  return [step(-1), step(1)];
}

test("known numbers have their known bits", () => {
  const known: readonly [number, number][] = [
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [0.1, 0x2e66],
    [1 / 3, 0x3555],
    [65_504, 0x7bff],
    [65_519.996, 0x7bff],
    [65_520, 0x7c00],
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [1e-45, 0x0000],
    [-1e-45, 0x8000],
    [3.4e38, 0x7c00],
  ];
  for (const [value, bits] of known) assert.equal(half(value), bits, `${value}`);
  assert.equal(half(Number.NaN) & 0x7e00, 0x7e00);
  assert.ok(Number.isNaN(number(0x7e01)));
  assert.deepEqual([number(0x7c00), number(0xfc00)], [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]);
});

test("every float16 number is what its bits say and comes back as them", () => {
  for (let bits = 0; bits < 0x10000; bits++) {
    if ((bits & 0x7c00) === 0x7c00) continue;
    assert.ok(Object.is(number(bits), defined(bits)), `0x${bits.toString(16)}`);
    assert.equal(half(number(bits)), bits);
  }
});

test("between two float16 numbers the nearer one is taken, half way the even one", () => {
  for (let bits = 0; bits < 0x7bff; bits++) {
    for (const sign of [0, 0x8000]) {
      const [low, high] = [bits + sign, bits + 1 + sign];
      // Float32 holds the middle of two float16 numbers as it is.
      const middle = (defined(low) + defined(high)) / 2;
      const [before, after] = neighbours(middle);
      assert.equal(half(middle), bits % 2 === 0 ? low : high, `${middle}`);
      assert.deepEqual([half(before), half(after)], [low, high], `beside ${middle}`);
    }
  }
});

test("a view into a larger buffer is converted alone", () => {
  const view = Float32Array.of(9, 1, -2, 9).subarray(1, 3);
  assert.deepEqual([...toHalf(view)], [0x3c00, 0xc000]);
});

test("a tensor that float16 cannot hold is refused by name and number", () => {
  const tensor = halfTensor(floatTensor([2, 1], [65_504, -1]), "weight w");
  assert.deepEqual(tensor, { dtype: "float16", dims: [2, 1], data: Uint16Array.of(0x7bff, 0xbc00) });
  for (const value of [65_505, -70_000, Number.NaN, Number.POSITIVE_INFINITY]) {
    const wrong = floatTensor([3], [0, 1, value]);
    const message = new RegExp(`weight w in float16: .*65504, received ${value} at index 2`);
    assertFails(() => halfTensor(wrong, "weight w"), "LORASA_RANGE", message);
  }
});
