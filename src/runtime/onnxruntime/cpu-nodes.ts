/** Finds the nodes of a graph that a device has no kernel for, so that the CPU runs them. Not what is done about it. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readJson } from "../../base/files.ts";
import type { Device, TensorInfo } from "../session.ts";
import { loadGraph, runGraph } from "./binding.ts";
import { hostZeros } from "./host-memory.ts";
import { hostToNative, tensorInfo } from "./tensors.ts";

/** What ONNX Runtime's profile says of one kernel that ran. */
interface KernelEvent {
  readonly cat?: string;
  readonly name?: string;
  readonly args?: { readonly provider?: string; readonly op_name?: string };
}

/** `operator name` of each such node, found in the profile of one run over zeros with every open size at 1. */
export function findCpuNodes(bytes: Uint8Array, device: Device): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "lorasa-profile-"));
  try {
    const session = loadGraph(bytes, device, { profilePrefix: join(folder, "run") });
    const inputs = session.inputMetadata.map(tensorInfo);
    const feeds = Object.fromEntries(inputs.map((info) => [info.name, hostToNative(zeros(info))]));
    runGraph(
      session,
      device,
      feeds,
      Object.fromEntries(session.outputMetadata.map(({ name }) => [name, null])),
    );
    session.endProfiling();
    session.dispose();
    const events = readdirSync(folder).flatMap(
      (file) => readJson(join(folder, file), "profile") as KernelEvent[],
    );
    const onCpu = events.filter(
      ({ cat, args }) => cat === "Node" && args?.provider === "CPUExecutionProvider",
    );
    return [
      ...new Set(onCpu.map(({ name, args }) => `${args?.op_name} ${name?.replace(/_kernel_time$/, "")}`)),
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function zeros({ dtype, shape }: TensorInfo) {
  return hostZeros(
    dtype,
    shape.map((size) => (typeof size === "number" ? size : 1)),
  );
}
