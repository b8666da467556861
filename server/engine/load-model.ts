/** Loads a model's folder: manifest, checksums, graphs and the adapters that it ships. Not how they are run. */
import { join } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, readJson, sha256 } from "../../src/base/files.ts";
import { type AdapterLayer, type ModelManifest, modelManifest } from "../../src/checkpoint/repository.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { AdapterBank, adapterInput } from "./adapter-bank.ts";
import { loadShippedAdapters } from "./adapter-intake.ts";
import { BoundGraph } from "./bound-graph.ts";
import { type ModelGraphs, PolicyModel } from "./policy-model.ts";
import { rowSizes } from "./policy-tensors.ts";

export interface LoadOptions {
  readonly runtime: Runtime;
  /** Threads inside an operator. */
  readonly threads: number;
}

type GraphFiles = ReadonlyMap<string, Buffer>;

/**
 * Reads and checks everything before a session is made; on failure nothing stays loaded.
 * @throws LORASA_FILE, LORASA_CHECKSUM, LORASA_GRAPH, LORASA_DEVICE, LORASA_ADAPTER.
 */
export function loadModel(folder: string, options: LoadOptions): PolicyModel {
  const manifest = readManifest(join(folder, "model.json"));
  const files = verifyFiles(folder, manifest);
  const opened: BoundGraph[] = [];
  try {
    const model = new PolicyModel(manifest, openGraphs(manifest, files, options, opened));
    if (model.bank) loadShippedAdapters(model, folder);
    return model;
  } catch (error) {
    for (const graph of opened) graph.dispose();
    throw error;
  }
}

/** @throws LORASA_FILE naming the field that is wrong. */
export function readManifest(path: string): ModelManifest {
  const parsed = modelManifest.safeParse(readJson(path, "model manifest"));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new LorasaError("LORASA_FILE", {
    asked: `model manifest ${path}, ${issue?.path.join(".") || "top level"}`,
    expected: "a manifest that `lorasa export` wrote",
    received: issue?.message ?? "another form",
    mend: "export the model again",
  });
}

/** Bytes of every file of the manifest, sizes and checksums as recorded. */
function verifyFiles(folder: string, manifest: ModelManifest): GraphFiles {
  const files = new Map<string, Buffer>();
  for (const [path, recorded] of Object.entries(manifest.files)) {
    const bytes = readFile(join(folder, path), "model file");
    if (bytes.length !== recorded.bytes || sha256(bytes) !== recorded.sha256) {
      throw new LorasaError("LORASA_CHECKSUM", {
        asked: `${manifest.name}/${path}`,
        expected: `${recorded.bytes} bytes of SHA-256 ${recorded.sha256.slice(0, 12)}…`,
        received: `${bytes.length} bytes of SHA-256 ${sha256(bytes).slice(0, 12)}…`,
        mend: "export the model again",
      });
    }
    if (path.endsWith(".onnx")) files.set(path, bytes);
  }
  return files;
}

function openGraphs(
  manifest: ModelManifest,
  files: GraphFiles,
  options: LoadOptions,
  opened: BoundGraph[],
): ModelGraphs {
  const open = (
    role: string,
    path: string | undefined,
    fixed: readonly string[],
    agent?: number,
  ): BoundGraph => {
    const what = `${manifest.name}, ${role} graph`;
    const session = options.runtime.createSession(graphBytes(what, path, files), {
      threads: options.threads,
    });
    try {
      const graph = new BoundGraph(session, [rowSizes(manifest, agent), rowSizes(manifest)], fixed, what);
      opened.push(graph);
      return graph;
    } catch (error) {
      session.dispose();
      throw error;
    }
  };
  const { graphs, mode } = manifest;
  if (mode === "merged") {
    return {
      mode,
      agents: manifest.agents.map(({ name }, agent) => open(name, graphs.agents?.[name], [], agent)),
    };
  }
  if (mode === "stacked") return { mode, team: open("team", graphs.team, []) };
  const fixed = manifest.adapterLayers.flatMap(bothInputs);
  const bank = new AdapterBank(manifest.adapterLayers, manifest.agents.length);
  return { mode, team: open("team", graphs.team, fixed), rows: open("rows", graphs.rows, fixed), bank };
}

function bothInputs(layer: AdapterLayer): readonly string[] {
  return [adapterInput(layer, "A"), adapterInput(layer, "B")];
}

function graphBytes(what: string, path: string | undefined, files: GraphFiles): Buffer {
  const bytes = path === undefined ? undefined : files.get(path);
  if (bytes) return bytes;
  throw new LorasaError("LORASA_FILE", {
    asked: what,
    expected: "a file that the manifest lists under files",
    received: path ?? "none",
    mend: "export the model again",
  });
}
