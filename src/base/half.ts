/** Float32 to float16 and back, on the host: rounding, limits and bits. Not which values of a graph are float16. */
import { LorasaError } from "./errors.ts";
import type { FloatTensor, HostTensor } from "./tensor.ts";

/** The largest number that float16 holds, and its bits as float32. */
const LARGEST_HALF = 65_504;
const LARGEST_BITS = 0x477fe000;

/** Bits of float32's 2⁻¹⁴, float16's smallest normal number, and of 2¹⁶, which its exponent does not reach. */
const SMALLEST_NORMAL = 0x38800000;
const PAST_ALL = 0x47800000;
/** Float32's exponent is biased by 127, float16's by 15. */
const BIAS_DIFFERENCE = (127 - 15) << 23;

/** A float16 host tensor, its numbers as bits. */
export interface HalfTensor extends HostTensor {
  readonly dtype: "float16";
  readonly data: Uint16Array;
}

/**
 * A float16 tensor of the same sizes, every number rounded to the nearest, ties to even.
 * @param what names the tensor in messages.
 * @throws LORASA_RANGE naming the first number that float16 does not hold: above 65,504 in size, or NaN.
 */
export function halfTensor({ dims, data }: FloatTensor, what: string): HalfTensor {
  const wrong = firstTooLarge(data);
  if (wrong === -1) return { dtype: "float16", dims, data: toHalf(data) };
  throw new LorasaError("LORASA_RANGE", {
    asked: `${what} in float16`,
    expected: `numbers of at most ${LARGEST_HALF}`,
    received: `${data[wrong]} at index ${wrong}`,
    mend: "export with --precision fp32",
  });
}

/** The 16 bits of each number, rounded to the nearest, ties to even; from 65,520 on that is infinity. */
export function toHalf(values: Float32Array): Uint16Array {
  const bits = bitsOf(values);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < bits.length; i++) halves[i] = halfBits(bits[i]!, values[i]!);
  return halves;
}

/** The numbers that 16 bits each stand for; all of them are float32 numbers. */
export function fromHalf(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (half) => {
    const exponent = (half >>> 10) & 0x1f;
    const fraction = half & 0x3ff;
    const sign = half & 0x8000 ? -1 : 1;
    if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
    // Without the leading 1 that normal numbers have, and with the exponent of the smallest of them.
    if (exponent === 0) return sign * fraction * 2 ** -24;
    return sign * (0x400 + fraction) * 2 ** (exponent - 25);
  });
}

/** Bits of floats without their sign are in the order of the numbers, NaN behind all of them. */
function firstTooLarge(values: Float32Array): number {
  const bits = bitsOf(values);
  for (let i = 0; i < bits.length; i++) if ((bits[i]! & 0x7fffffff) > LARGEST_BITS) return i;
  return -1;
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** @param bits of the float32 number `value`. */
function halfBits(bits: number, value: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00;
  if (size >= PAST_ALL) return sign | 0x7c00;
  // Subnormal numbers are multiples of 2⁻²⁴. Beside 2⁵² a double has no fraction: the sum is rounded, ties to even.
  if (size < SMALLEST_NORMAL) return sign | (Math.abs(value) * 2 ** 24 + 2 ** 52 - 2 ** 52);
  // 13 bits fall away. Just under half of them is added, and the last bit that stays, so that a tie becomes even; a
  // carry runs into the exponent, as it must: from 65,520 on it makes that of infinity.
  const lastKept = (size >>> 13) & 1;
  return sign | ((size - BIAS_DIFFERENCE + 0xfff + lastKept) >>> 13);
}
