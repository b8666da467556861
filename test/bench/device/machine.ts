/** What a benchmark ran on: the GPU as its driver names it, and whether a software driver stands in for one. */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  /** Null without NVIDIA's tools. */
  readonly gpu: string | null;
  readonly driver: string | null;
  /** Whether Vulkan is a program on the CPU: times of it say nothing. */
  readonly software: boolean;
  readonly node: string;
}

/** Names of software drivers' files. */
const SOFTWARE = /swiftshader|lvp_icd|lavapipe/;

export function machineFacts(): Machine {
  const [gpu, driver] = query("name,driver_version")?.split(", ") ?? [];
  const drivers = `${process.env["VK_ICD_FILENAMES"] ?? ""} ${process.env["VK_DRIVER_FILES"] ?? ""}`;
  return {
    processor: cpus()[0]!.model.trim(),
    cores: cpus().length,
    gpu: gpu ?? null,
    driver: driver ?? null,
    software: SOFTWARE.test(drivers),
    node: process.version,
  };
}

/** Bytes in use of the first GPU's memory, or null without NVIDIA's tools. */
export function gpuUsedBytes(): number | null {
  const mebibytes = query("memory.used");
  return mebibytes === undefined ? null : Number(mebibytes) * 2 ** 20;
}

function query(fields: string): string | undefined {
  try {
    const given = [`--query-gpu=${fields}`, "--format=csv,noheader,nounits"];
    const text = execFileSync("nvidia-smi", given, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    return text.split("\n")[0]!.trim();
  } catch {
    // None on this machine.
    return undefined;
  }
}
