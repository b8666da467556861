/**
 * Whether this machine can run WebGPU, for tests that need it: through the software driver that Chromium's package
 * ships where there is one, else through what is installed. Importing it sets the environment that the driver reads.
 */
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";

/** Where distributions put the software driver. `LORASA_TEST_GPU=1` keeps to the machine's own. */
const SOFTWARE_DRIVERS = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"];

const driver = SOFTWARE_DRIVERS.map((folder) => join(folder, "vk_swiftshader_icd.json")).find(existsSync);
if (driver && process.env["LORASA_TEST_GPU"] !== "1") process.env["VK_ICD_FILENAMES"] ??= driver;
process.env["XDG_RUNTIME_DIR"] ??= tmpdir();

/** For a test's `skip`: false where WebGPU runs, else why it does not. */
export const NO_WEBGPU: string | false = probe();

function probe(): string | false {
  try {
    createRuntime("webgpu").allocate("float32", [1]).dispose();
    return false;
  } catch (error) {
    if (error instanceof LorasaError && error.code === "LORASA_DEVICE")
      return `no Vulkan driver: ${error.message}`;
    throw error;
  }
}
