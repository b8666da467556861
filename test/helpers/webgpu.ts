/**
 * Whether this machine can run WebGPU, for tests that need it: through the software driver that Chromium's package
 * ships where there is one, else through what is installed. Importing it sets the environment that the driver reads.
 */
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { encodeModel } from "../../src/onnx/encode.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { buildGraph } from "./run-graph.ts";

/** Where distributions put the software driver. `LORASA_TEST_GPU=1` keeps to the machine's own. */
const SOFTWARE_DRIVERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"];

const driver = SOFTWARE_DRIVERS.map((folder) => join(folder, "vk_swiftshader_icd.json")).find(existsSync);
if (driver && process.env["LORASA_TEST_GPU"] !== "1") process.env["VK_ICD_FILENAMES"] ??= driver;
process.env["XDG_RUNTIME_DIR"] ??= tmpdir();

/** For a test's `skip`: false where WebGPU runs, else why it does not. */
export const NO_WEBGPU: string | false = probe("no Vulkan driver", () =>
  createRuntime("webgpu").allocate("float32", [1]).dispose(),
);

/** The same for float16 in kernels, which a device need not have. */
export const NO_HALF_PRECISION: string | false = NO_WEBGPU || probe("no float16", runHalf);

function probe(what: string, use: () => void): string | false {
  try {
    use();
    return false;
  } catch (error) {
    if (error instanceof LorasaError && error.code === "LORASA_DEVICE") return `${what}: ${error.message}`;
    throw error;
  }
}

function runHalf(): void {
  const feeds = { x: floatTensor([1], [1]) };
  const model = buildGraph(feeds, (g, { x }) => ({ y: g.cast(g.cast(x!, "float16"), "float32") }));
  const session = createRuntime("webgpu").createSession(encodeModel(model));
  try {
    session.run(feeds);
  } finally {
    session.dispose();
  }
}
