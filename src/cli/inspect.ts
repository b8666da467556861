/** `lorasa inspect`: says what a file or folder is and what it holds, whatever lorasa reads or writes. */
import { existsSync, statSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { Command } from "commander";
import { LorasaError } from "../base/errors.ts";
import { MANIFEST_FILE } from "../checkpoint/checkpoint.ts";
import { CONFIG_FILE } from "../checkpoint/peft.ts";
import { MODEL_FILE } from "../checkpoint/repository-files.ts";
import { answer, withJson } from "./command.ts";
import { inspectOnnxAdapter, inspectPeftAdapter } from "./inspect/adapters.ts";
import { inspectCheckpoint, inspectRun, isCheckpoint, isRun } from "./inspect/checkpoint.ts";
import { inspectGraph } from "./inspect/graph.ts";
import type { Inspection } from "./inspect/inspection.ts";
import { inspectModel, inspectRepository, isRepository } from "./inspect/repository.ts";
import { inspectSafetensors } from "./inspect/tensors.ts";

interface InspectFlags {
  readonly graph?: boolean;
  readonly json?: boolean;
}

export function inspectCommand(): Command {
  return withJson(new Command("inspect"))
    .description("Say what a checkpoint, run, adapter, tensor file, ONNX graph, model or repository holds.")
    .argument("<path>", "file or folder")
    .option("--graph", "write out every node of an ONNX graph")
    .addHelpText(
      "after",
      `
Examples:
  lorasa inspect runs/lorasa/checkpoint
  lorasa inspect models-repository/team/1/team.onnx --graph
  lorasa inspect runs/lorasa/checkpoint/adapters/agent_0 --json`,
    )
    .action((path: string, flags: InspectFlags) =>
      answer(flags, () => Promise.resolve(inspectPath(path, flags.graph ?? false))),
    );
}

type Inspector = (path: string, graph: boolean) => Inspection;

/** What a folder is, by what it has; the first that fits. */
const FOLDERS: readonly (readonly [fits: (folder: string) => boolean, inspect: Inspector])[] = [
  [isCheckpoint, inspectCheckpoint],
  [isRun, inspectRun],
  [(folder) => existsSync(join(folder, CONFIG_FILE)), inspectPeftAdapter],
  [(folder) => existsSync(join(folder, MODEL_FILE)), inspectModel],
  [isRepository, inspectRepository],
];

const EXTENSIONS: Readonly<Record<string, Inspector>> = {
  ".safetensors": inspectSafetensors,
  ".onnx_adapter": inspectOnnxAdapter,
  ".onnx": inspectGraph,
};

/** Files that stand for the folder that they describe. */
const MANIFESTS: readonly string[] = [MANIFEST_FILE, MODEL_FILE, CONFIG_FILE];

/**
 * @param graph whether an ONNX graph is written out node by node.
 * @throws LORASA_FILE for what is missing, unknown or broken, and what the reader of that format throws.
 */
export function inspectPath(path: string, graph = false): Inspection {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) {
    const asked = `inspecting ${path}`;
    throw new LorasaError("LORASA_FILE", { asked, expected: "a file or folder", received: "none" });
  }
  if (found.isDirectory()) return inspectFolder(path, graph);
  if (MANIFESTS.includes(basename(path))) return inspectFolder(dirname(path), graph);
  const inspect = EXTENSIONS[extname(path)];
  if (!inspect)
    throw unknown(path, extname(path) === "" ? "a file without an ending" : `a file of ${extname(path)}`);
  return inspect(path, graph);
}

function inspectFolder(folder: string, graph: boolean): Inspection {
  for (const [fits, inspect] of FOLDERS) if (fits(folder)) return inspect(folder, graph);
  throw unknown(folder, "a folder with none of their manifests");
}

function unknown(path: string, received: string): LorasaError {
  return new LorasaError("LORASA_FILE", {
    asked: `inspecting ${path}`,
    expected: `a checkpoint, run, adapter, model or repository, or a file of ${Object.keys(EXTENSIONS).join(", ")}`,
    received,
  });
}
