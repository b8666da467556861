/** The training step of `train.ts` in PyTorch, where `python3` has it: the same numbers, written for a script to read. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Sizes } from "./plan.ts";
import { COMPARED_STEPS, SETTINGS, type TrainFigures, trainingBatch, trainingParameters } from "./train.ts";

/** Tried in this order; `LORASA_TORCH_PYTHON` names another. */
const PYTHON = process.env["LORASA_TORCH_PYTHON"] ?? "python3";
const SCRIPT = fileURLToPath(new URL("../torch_train_step.py", import.meta.url));

/** Devices that PyTorch has here; none where it is not installed. */
export function torchDevices(): ("cuda" | "cpu")[] {
  try {
    const code = "import torch; print(torch.cuda.is_available())";
    const text = execFileSync(PYTHON, ["-c", code], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    return text.includes("True") ? ["cuda", "cpu"] : ["cpu"];
  } catch {
    // No Python, or one without PyTorch.
    return [];
  }
}

export function measureTorch(device: "cuda" | "cpu", hidden: number, sizes: Sizes): TrainFigures {
  const folder = mkdtempSync(join(tmpdir(), "lorasa-torch-"));
  try {
    writeTask(folder, hidden, sizes);
    const seconds = `${(20 * sizes.measureMs) / 1e3}`;
    const text = execFileSync(PYTHON, [SCRIPT, folder, device, seconds], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "inherit"],
    });
    // Written by the script a moment ago.
    return JSON.parse(text.trim().split("\n").at(-1)!) as TrainFigures;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `task.json` says where in `numbers.bin`, float32, each parameter and tensor lies. */
function writeTask(folder: string, hidden: number, sizes: Sizes): void {
  const { layout, flat } = trainingParameters(hidden, sizes);
  const parameters = layout.specs.map(
    ({ name, shape }) => [name, shape, layout.view(flat, name).data] as const,
  );
  const tensors = Object.entries(trainingBatch(sizes)).map(
    ([name, { dims, data }]) => [name, dims, data] as const,
  );
  let offset = 0;
  const table = ([name, shape, data]: readonly [string, readonly number[], Float32Array]) => {
    const entry = { name, shape, offset };
    offset += data.length;
    return entry;
  };
  const task = {
    ...SETTINGS,
    stdX: 1,
    stdY: 0.5,
    comparedSteps: COMPARED_STEPS,
    parameters: parameters.map(table),
    tensors: tensors.map(table),
  };
  const numbers = [...parameters, ...tensors].map(([, , data]) =>
    Buffer.from(new Uint8Array(data.slice().buffer)),
  );
  writeFileSync(join(folder, "task.json"), JSON.stringify(task));
  writeFileSync(join(folder, "numbers.bin"), Buffer.concat(numbers));
}
