/** Finds TensorFlow.js among the packages that are installed and starts it. Not what is done with it. */
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { LorasaError } from "../../base/errors.ts";
import type { Device } from "../session.ts";
import type { TensorFlow } from "./operators.ts";

/** A way to run TensorFlow.js. */
interface Library {
  /** Loaded in this order; the first has the functions. */
  readonly packages: readonly string[];
  /** TensorFlow.js's own name of what then runs the kernels. */
  readonly backend: string;
  readonly device: Device;
  /** For a person. */
  readonly about: string;
}

/** The fastest first. */
export const LIBRARIES = {
  "node-gpu": {
    packages: ["@tensorflow/tfjs-node-gpu"],
    backend: "tensorflow",
    device: "cuda",
    about: "@tensorflow/tfjs-node-gpu",
  },
  node: {
    packages: ["@tensorflow/tfjs-node"],
    backend: "tensorflow",
    device: "cpu",
    about: "@tensorflow/tfjs-node",
  },
  wasm: {
    packages: ["@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"],
    backend: "wasm",
    device: "cpu",
    about: "@tensorflow/tfjs-backend-wasm, one thread",
  },
  cpu: {
    packages: ["@tensorflow/tfjs"],
    backend: "cpu",
    device: "cpu",
    about: "@tensorflow/tfjs in plain JavaScript, the slowest: install @tensorflow/tfjs-backend-wasm",
  },
} as const satisfies Record<string, Library>;

export type LibraryName = keyof typeof LIBRARIES;

/** A library that runs, and what became of those before it that are installed. */
export interface StartedLibrary {
  readonly tf: TensorFlow;
  readonly name: LibraryName;
  readonly device: Device;
  /** `package: why`, one each. */
  readonly failures: readonly string[];
}

/** Where packages come from. */
export interface Packages {
  /** The main file, if the package is installed. */
  find(name: string): string | undefined;
  load(name: string): unknown;
}

/** What the WebAssembly package has besides its kernels. */
interface WasmModule {
  setWasmPaths(folder: string): void;
  setThreadsCount(threads: number): void;
}

/**
 * The first of `names` that is installed and starts. A process has one TensorFlow.js: the last one started runs
 * everything.
 * @throws LORASA_DEVICE where none does.
 */
export async function startLibrary(
  names: readonly LibraryName[],
  packages: Packages = installedPackages(),
): Promise<StartedLibrary> {
  // The native library writes notes to standard error otherwise.
  process.env["TF_CPP_MIN_LOG_LEVEL"] ??= "2";
  const failures: string[] = [];
  for (const name of names) {
    const library: Library = LIBRARIES[name];
    if (library.packages.some((needed) => packages.find(needed) === undefined)) continue;
    try {
      return { tf: await start(library, packages), name, device: library.device, failures };
    } catch (cause) {
      failures.push(`${library.packages.at(-1)}: ${(cause as Error).message.split("\n")[0]}`);
    }
  }
  const advised = LIBRARIES[names.includes("wasm") ? "wasm" : names[0]!];
  throw new LorasaError("LORASA_DEVICE", {
    asked: "backend tensorflow",
    expected: names.map((name) => LIBRARIES[name].packages.join(" with ")).join(", or "),
    received: failures.length > 0 ? failures.join("; ") : "nothing installed",
    mend: `npm install ${advised.packages.join(" ")}, or choose --backend onnxruntime`,
  });
}

async function start(library: Library, packages: Packages): Promise<TensorFlow> {
  const modules = library.packages.map((name) => packages.load(name));
  // The other packages only add kernels to the first.
  const tf = modules[0] as TensorFlow;
  // Without it every kernel's arguments are checked again and advice is printed.
  tf.enableProdMode();
  if (library.backend === "wasm") prepareWasm(modules[1] as WasmModule, packages.find(library.packages[1]!)!);
  if (!(await tf.setBackend(library.backend))) throw new Error("it does not start");
  // The GPU's package runs on the CPU where there is no GPU, as the next one does.
  if (library.device === "cuda" && !usesGpu(tf)) throw new Error("no CUDA device, or not its libraries");
  return tf;
}

/** Takes SIMD where there is one; more threads need a browser. */
function prepareWasm(wasm: WasmModule, file: string): void {
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(`${dirname(file)}/`);
}

function usesGpu(tf: TensorFlow): boolean {
  // The native backend's own field, which the types of all backends do not have.
  return (tf.backend() as { isUsingGpuDevice?: boolean }).isUsingGpuDevice === true;
}

/** Beside this package, as peer dependencies are. */
function installedPackages(): Packages {
  const require = createRequire(import.meta.url);
  return {
    find(name) {
      try {
        return require.resolve(name);
      } catch {
        return undefined;
      }
    },
    load: (name) => require(name),
  };
}
