/** Reads the numbers that PyTorch gave; their layout is told in `test/fixtures/scripts/make-torch-fixtures.py`. */
import { readFileSync } from "node:fs";
import { type FloatTensor, floatTensor } from "../../src/base/tensor.ts";

/** A tensor in a fixture: row-major, in double precision. */
export interface FixtureTensor {
  readonly dims: readonly number[];
  readonly data: readonly number[];
}

/** The fixture `name` as the shape that the caller knows it has. */
export function torchFixture<T>(name: string): T {
  // The files are ours, made by the script above.
  return JSON.parse(readFileSync(new URL(`../fixtures/torch/${name}.json`, import.meta.url), "utf8")) as T;
}

/** float32 copy, ready to feed. */
export function toFloat({ dims, data }: FixtureTensor): FloatTensor {
  return floatTensor(dims, data);
}
