/** Checks the tensors of a run against a graph's inputs and outputs: ONNX Runtime ignores names it does not know. */
import { LorasaError, suggestion } from "../base/errors.ts";
import { elementCount, formatDims, type HostTensor } from "../base/tensor.ts";
import type { RunTensor, TensorInfo } from "./session.ts";

/**
 * Every input is fed, nothing else is, and element types and sizes fit; a named size is the same everywhere.
 * @returns what each named size stands for.
 * @throws LORASA_NAME, LORASA_DTYPE, LORASA_SHAPE.
 */
export function checkFeeds(
  inputs: readonly TensorInfo[],
  feeds: Readonly<Record<string, RunTensor>>,
): ReadonlyMap<string, number> {
  const sizes = new Map<string, number>();
  for (const input of inputs) {
    const tensor = feeds[input.name];
    if (tensor === undefined) {
      throw new LorasaError("LORASA_NAME", {
        asked: `input ${input.name}`,
        expected: "a tensor",
        received: "none",
      });
    }
    checkTensor("input", input, tensor, sizes);
  }
  checkKnown("input", inputs, Object.keys(feeds));
  return sizes;
}

/** Every fetch is an output, and a tensor to fill has its type and sizes, named ones as the feeds have them. */
export function checkFetches(
  outputs: readonly TensorInfo[],
  fetches: Readonly<Record<string, RunTensor | null>>,
  fedSizes: ReadonlyMap<string, number>,
): void {
  checkKnown("output", outputs, Object.keys(fetches));
  const sizes = new Map(fedSizes);
  for (const output of outputs) {
    const tensor = fetches[output.name];
    if (tensor) checkTensor("output", output, tensor, sizes);
  }
}

/** @throws LORASA_DTYPE, LORASA_SHAPE for a tensor of another type or other sizes than a resident one. */
export function checkSame(resident: Pick<RunTensor, "dtype" | "dims">, tensor: HostTensor): void {
  checkTensor(
    "value",
    { name: "of a resident tensor", dtype: resident.dtype, shape: resident.dims },
    tensor,
    new Map(),
  );
}

/** @throws LORASA_RANGE for a size that a prefix of the first axis cannot have. */
export function checkFirst(dims: readonly number[], size: number): void {
  const [all = 0] = dims;
  if (Number.isInteger(size) && size >= 1 && size <= all) return;
  throw new LorasaError("LORASA_RANGE", {
    asked: "the first entries of a resident tensor",
    expected: `1 to ${all}`,
    received: `${size}`,
  });
}

function checkKnown(kind: string, infos: readonly TensorInfo[], names: readonly string[]): void {
  const known = infos.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new LorasaError("LORASA_NAME", {
    asked: `${kind} ${unknown}`,
    expected: `an ${kind} of the graph`,
    received: "an unknown name",
    mend: suggestion(unknown, known),
  });
}

function checkTensor(kind: string, info: TensorInfo, tensor: RunTensor, sizes: Map<string, number>): void {
  const asked = `${kind} ${info.name}`;
  if (tensor.dtype !== info.dtype) {
    throw new LorasaError("LORASA_DTYPE", { asked, expected: info.dtype, received: tensor.dtype });
  }
  if (!fits(info.shape, tensor.dims, sizes)) {
    throw new LorasaError("LORASA_SHAPE", {
      asked,
      expected: formatDims(info.shape),
      received: formatDims(tensor.dims),
    });
  }
  if ("data" in tensor && tensor.data.length !== elementCount(tensor.dims)) {
    throw new LorasaError("LORASA_SHAPE", {
      asked,
      expected: `${elementCount(tensor.dims)} values for ${formatDims(tensor.dims)}`,
      received: `${tensor.data.length}`,
    });
  }
}

function fits(
  shape: readonly (number | string)[],
  dims: readonly number[],
  sizes: Map<string, number>,
): boolean {
  if (shape.length !== dims.length) return false;
  return shape.every((size, axis) => {
    const actual = dims[axis]!;
    if (typeof size === "number") return size === actual;
    if (size === "?") return true;
    const bound = sizes.get(size) ?? actual;
    sizes.set(size, bound);
    return bound === actual;
  });
}

/** What using a session or resident tensor after `dispose` is answered. */
export function disposed(what: string): LorasaError {
  return new LorasaError("LORASA_DISPOSED", {
    asked: `using ${what}`,
    expected: "an open one",
    received: "one that was disposed",
  });
}
