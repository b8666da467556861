/** `lorasa export`: writes a checkpoint's policy as ONNX graphs into a repository. */
import { Command, Option } from "commander";
import type { ExportMode } from "../../exporters/contents.ts";
import { exportTeam } from "../../exporters/export-team.ts";
import { formatBytes } from "../base/format.ts";
import { VERSION } from "../base/version.ts";
import { loadRun, withStartedAdapters } from "../training/saved-run.ts";
import { answer, wholeNumber, withJson } from "./command.ts";

interface ExportFlags {
  readonly mode: ExportMode;
  readonly out: string;
  readonly name: string;
  readonly opset?: number;
  readonly precision: "fp32" | "fp16";
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
    .addOption(new Option("--precision <type>", "element type").choices(["fp32", "fp16"]).default("fp32"))
    .option("--sampled", "keep the noise input and give log-probabilities, instead of the most likely action")
    .addHelpText(
      "after",
      `
Examples:
  lorasa export runs/cheetah/checkpoint --mode factored --out repository
  lorasa export runs/cheetah/checkpoint --mode merged --out repository --name cheetah-merged --opset 17`,
    )
    .action((checkpoint: string, flags: ExportFlags) =>
      answer(flags, async () => runExport(checkpoint, flags)),
    );
}

function runExport(checkpoint: string, flags: ExportFlags): { json: object; text: string } {
  const { saved, team: trained } = loadRun(checkpoint);
  // The shared policy of a LoRASA run gets adapters that change nothing yet: `train --push` sends others to its server.
  const team = flags.mode === "factored" ? withStartedAdapters(trained, saved.config) : trained;
  const result = exportTeam(team, {
    mode: flags.mode,
    repository: flags.out,
    name: flags.name,
    precision: flags.precision,
    sampled: flags.sampled ?? false,
    provenance: {
      lorasa: VERSION,
      environmentSteps: `${saved.counters.envSteps}`,
      sharing: saved.config.sharing,
    },
    ...(flags.opset !== undefined && { opset: flags.opset }),
  });
  const lines = [
    `${result.directory}: ${flags.mode}, version ${result.version}, ${result.files.length} files, ${formatBytes(result.bytes)}`,
    `verified against the trained network: largest difference ${result.maxAbsDiff.toExponential(1)}`,
    `next  lorasa serve ${flags.out}`,
  ];
  return { json: result, text: lines.join("\n") };
}
