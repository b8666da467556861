/** First values of parameters, from a seed. */

import type { Random } from "../src/base/random.ts";
import { elementCount } from "../src/base/tensor.ts";
import type { Initializer, ParameterLayout } from "./parameters.ts";

/** A flat float32 [G, P] matrix; owners draw one after another, each its own numbers. */
export function initialise(layout: ParameterLayout, random: Random): Float32Array {
  const flat = new Float32Array(layout.owners * layout.size);
  for (let owner = 0; owner < layout.owners; owner++) {
    for (const { name, initializer, shape, copies = 1 } of layout.specs) {
      for (let copy = 0; copy < copies; copy++)
        layout.view(flat, name, owner, copy).data.set(draw(initializer, shape, random));
    }
  }
  return flat;
}

function draw(initializer: Initializer, shape: readonly number[], random: Random): Float32Array {
  const count = elementCount(shape);
  if (initializer.kind === "constant") return new Float32Array(count).fill(initializer.value);
  if (initializer.kind === "uniform") {
    return Float32Array.from({ length: count }, () =>
      random.uniformIn(-initializer.bound, initializer.bound),
    );
  }
  const [rows, columns] = shape as readonly [number, number];
  return orthogonal(rows, columns, initializer.gain, random);
}

/**
 * A [rows, columns] matrix whose shorter side is orthonormal, times a gain: Gram and Schmidt, twice for precision,
 * on normal deviates. The distribution is that of PyTorch's `orthogonal_` (uniform over such matrices).
 */
export function orthogonal(rows: number, columns: number, gain: number, random: Random): Float32Array {
  const [short, long] = rows < columns ? [rows, columns] : [columns, rows];
  const basis: Float64Array[] = [];
  while (basis.length < short) {
    const vector = Float64Array.from({ length: long }, () => random.normal());
    for (const other of [...basis, ...basis]) removeAlong(vector, other);
    const norm = Math.hypot(...vector);
    basis.push(vector.map((component) => component / norm));
  }
  const matrix = new Float32Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++)
      matrix[i * columns + j] = gain * (rows < columns ? basis[i]![j]! : basis[j]![i]!);
  }
  return matrix;
}

function removeAlong(vector: Float64Array, unit: Float64Array): void {
  let along = 0;
  for (let k = 0; k < vector.length; k++) along += vector[k]! * unit[k]!;
  for (let k = 0; k < vector.length; k++) vector[k]! -= along * unit[k]!;
}
