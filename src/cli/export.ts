/** `lorasa export`: writes a checkpoint's policy as ONNX graphs into a repository. */
import { Command, Option } from "commander";
import type { ExportMode } from "../../exporters/contents.ts";
import { exportTeam } from "../../exporters/export-team.ts";
import { exportPrecision, TOLERANCES } from "../../exporters/precision.ts";
import { formatBytes } from "../base/format.ts";
import { VERSION } from "../base/version.ts";
import { DEVICES, type Device } from "../runtime/session.ts";
import { loadRun, withStartedAdapters } from "../training/saved-run.ts";
import { answer, numberIn, wholeNumber, withJson } from "./command.ts";

interface ExportFlags {
  readonly mode: ExportMode;
  readonly out: string;
  readonly name: string;
  readonly opset?: number;
  readonly precision: string;
  readonly maxDifference?: number;
  readonly device: Device;
  readonly sampled?: boolean;
  readonly json?: boolean;
}

export function exportCommand(): Command {
  return withJson(new Command("export"))
    .description("Write a checkpoint's policy as ONNX graphs, verified against the trained network first.")
    .argument("<checkpoint>", "folder with lorasa.json")
    .addOption(
      new Option(
        "--mode <kind>",
        "merged: a graph an agent; stacked: all merged agents in one; factored: a backbone and adapters",
      )
        .choices(["merged", "stacked", "factored"])
        .default("factored"),
    )
    .option("--out <repository>", "folder of models", "repository")
    .option("--name <model>", "name of the model", "team")
    .option("--opset <n>", "ONNX operator set (default 15, which game engines read)", wholeNumber(1))
    .option(
      "--precision <type>",
      "fp32, or fp16: linear maps and adapters in half the bytes, for GPUs",
      "fp32",
    )
    .option(
      "--max-difference <x>",
      `most that fp16 may differ, 1 being the largest output or half the action's width (default ${TOLERANCES.fp16})`,
      numberIn(0, 1),
    )
    .addOption(
      new Option("--device <name>", "device that verifies the graphs").choices(DEVICES).default("cpu"),
    )
    .option("--sampled", "keep the noise input and give log-probabilities, instead of the most likely action")
    .addHelpText(
      "after",
      `
Examples:
  lorasa export runs/cheetah/checkpoint --mode factored --out repository
  lorasa export runs/cheetah/checkpoint --mode merged --out repository --name cheetah-merged --opset 17
  lorasa export runs/cheetah/checkpoint --out repository --name cheetah-half --precision fp16 --device webgpu`,
    )
    .action((checkpoint: string, flags: ExportFlags) =>
      answer(flags, async () => runExport(checkpoint, flags)),
    );
}

function runExport(checkpoint: string, flags: ExportFlags): { json: object; text: string } {
  const precision = exportPrecision(flags.precision);
  const { saved, team: trained } = loadRun(checkpoint);
  // The shared policy of a LoRASA run gets adapters that change nothing yet: `train --push` sends others to its server.
  const team = flags.mode === "factored" ? withStartedAdapters(trained, saved.config) : trained;
  const result = exportTeam(team, {
    mode: flags.mode,
    repository: flags.out,
    name: flags.name,
    precision,
    device: flags.device,
    sampled: flags.sampled ?? false,
    provenance: {
      lorasa: VERSION,
      environmentSteps: `${saved.counters.envSteps}`,
      sharing: saved.config.sharing,
    },
    ...(flags.opset !== undefined && { opset: flags.opset }),
    ...(flags.maxDifference !== undefined && { maxDifference: flags.maxDifference }),
  });
  const lines = [
    `${result.directory}: ${flags.mode}, ${precision}, version ${result.version}, ${result.files.length} files, ${formatBytes(result.bytes)}`,
    `verified against the trained network on ${result.device}: largest difference ${result.maxAbsDiff.toExponential(1)}, of actions ${result.maxActionDiff.toExponential(1)}`,
    `next  lorasa serve ${flags.out}`,
  ];
  return { json: result, text: lines.join("\n") };
}
