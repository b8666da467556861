/** TensorFlow.js as a {@link Runtime}: this folder is its only importer, and only when it is asked for. */
import type { Runtime } from "../session.ts";
import { LIBRARIES, type LibraryName, startLibrary } from "./load.ts";
import { TensorflowMemory } from "./resident.ts";
import { TensorflowSession } from "./session.ts";

/** A runtime that says what it runs on. */
export interface TensorflowRuntime extends Runtime {
  readonly backend: "tensorflow";
  readonly library: LibraryName;
  /** One line for a person: the package that was picked, and those that are installed but did not start. */
  readonly note: string;
}

/**
 * A runtime on the first of the libraries that is installed and starts; `cuda` with `node-gpu`, else `cpu`. Resident
 * tensors are TensorFlow.js's own: an upload copies. 64-bit integers are 32 bits wide inside.
 * @param names which to try, in this order (default all, the fastest first).
 * @throws LORASA_DEVICE where none is installed and starts.
 */
export async function createTensorflowRuntime(
  names: readonly LibraryName[] = Object.keys(LIBRARIES) as LibraryName[],
): Promise<TensorflowRuntime> {
  const { tf, name, device, failures } = await startLibrary(names);
  const memory = new TensorflowMemory(tf, device);
  return {
    backend: "tensorflow",
    device,
    library: name,
    note: [`backend tensorflow runs on ${LIBRARIES[name].about}`, ...failures].join("; "),
    get residentBytes() {
      return device === "cpu" ? 0 : memory.bytes;
    },
    createSession: (model) => new TensorflowSession(model, memory),
    upload: (tensor) => memory.upload(tensor),
    allocate: (dtype, dims) => memory.allocate(dtype, dims),
  };
}
