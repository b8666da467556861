/**
 * Large constants of graphs in a device's memory, once for all sessions that hold the same: a graph's constants
 * become inputs, and sessions feed one resident tensor to each. Small ones stay, where the library folds them.
 */
import { createHash } from "node:crypto";
import { DTYPES, type HostTensor } from "../../base/tensor.ts";
import type { OnnxModel } from "../../onnx/model.ts";
import type { ResidentTensor, SharedWeight } from "../session.ts";

/** Values from which a constant is shared: less is not worth an input, and axes and shapes must stay constants. */
const SHARED_VALUES = 256;

interface Held {
  readonly tensor: ResidentTensor;
  users: number;
}

/** A graph without its large constants, and these by the names of the inputs that they became. */
export interface LiftedGraph {
  readonly model: OnnxModel;
  readonly constants: ReadonlyMap<string, HostTensor>;
}

export function liftConstants(model: OnnxModel): LiftedGraph {
  const isLarge = ({ dtype, data }: HostTensor): boolean =>
    (dtype === "float32" || dtype === "float16") && data.length >= SHARED_VALUES;
  const constants = new Map([...model.initializers].filter(([, tensor]) => isLarge(tensor)));
  const inputs = [...constants].map(([name, { dtype, dims }]) => ({ name, dtype, shape: dims }));
  const initializers = new Map([...model.initializers].filter(([name]) => !constants.has(name)));
  return { model: { ...model, inputs: [...model.inputs, ...inputs], initializers }, constants };
}

/** Owns the tensors as long as a session uses them. */
export class WeightPool {
  readonly #upload: (tensor: HostTensor) => ResidentTensor;
  readonly #held = new Map<string, Held>();

  constructor(upload: (tensor: HostTensor) => ResidentTensor) {
    this.#upload = upload;
  }

  /** The constant on the device, until {@link release}. */
  acquire(constant: HostTensor): SharedWeight & { readonly tensor: ResidentTensor } {
    const key = contentKey(constant);
    const held = this.#held.get(key) ?? { tensor: this.#upload(constant), users: 0 };
    held.users += 1;
    this.#held.set(key, held);
    return { sha256: key, bytes: constant.data.length * DTYPES[constant.dtype].bytes, tensor: held.tensor };
  }

  release({ sha256 }: SharedWeight): void {
    const held = this.#held.get(sha256);
    if (!held) return;
    held.users -= 1;
    if (held.users > 0) return;
    held.tensor.dispose();
    this.#held.delete(sha256);
  }
}

function contentKey({ dtype, dims, data }: HostTensor): string {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return createHash("sha256")
    .update(`${dtype} ${dims.join(",")}\n`)
    .update(bytes)
    .digest("hex");
}
