/** Loads a model's folder: manifest, checksums, graphs and the adapters that it ships. Not how they are run. */
import { join } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import type { AdapterLayer, ModelManifest } from "../../src/checkpoint/repository.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { AdapterBank, adapterInput } from "./adapter-bank.ts";
import { loadShippedAdapters } from "./adapter-intake.ts";
import { BoundGraph, type GraphForm } from "./bound-graph.ts";
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
  const manifest = readModelManifest(folder);
  const files = verifyFiles(folder, manifest);
  const opened: BoundGraph[] = [];
  try {
    const model = new PolicyModel(manifest, openGraphs(manifest, files, options, opened));
    warmUp(model.graphs);
    if (model.bank) loadShippedAdapters(model, folder);
    return model;
  } catch (error) {
    for (const graph of opened) graph.dispose();
    throw error;
  }
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

/** Where a mode's graphs are and what each must be. */
interface GraphFile extends GraphForm {
  readonly path: string | undefined;
}

function openGraphs(
  manifest: ModelManifest,
  files: GraphFiles,
  options: LoadOptions,
  opened: BoundGraph[],
): ModelGraphs {
  const team = manifest.agents.length;
  const padded = rowSizes(manifest);
  const fixed = manifest.adapterLayers.flatMap(bothInputs);
  const open = (
    role: string,
    path: string | undefined,
    leading: readonly number[],
    sizes = [padded],
  ): BoundGraph => {
    const form = { what: `${manifest.name}, ${role} graph`, path, leading, sizes, fixed };
    const graph = openGraph(form, files, options);
    opened.push(graph);
    return graph;
  };
  const { graphs, mode } = manifest;
  if (mode === "merged") {
    const openAgent = (name: string, agent: number): BoundGraph =>
      open(name, graphs.agents?.[name], [-1], [rowSizes(manifest, agent), padded]);
    return { mode, agents: manifest.agents.map(({ name }, agent) => openAgent(name, agent)) };
  }
  const teamGraph = open("team", graphs.team, [team, -1]);
  if (mode === "stacked") return { mode, team: teamGraph };
  const bank = new AdapterBank(manifest.adapterLayers, team);
  return { mode, team: teamGraph, rows: open("rows", graphs.rows, [-1]), bank };
}

function openGraph(file: GraphFile, files: GraphFiles, { runtime, threads }: LoadOptions): BoundGraph {
  const session = runtime.createSession(graphBytes(file.what, file.path, files), {
    threads,
    untrusted: true,
  });
  try {
    return new BoundGraph(session, file);
  } catch (error) {
    session.dispose();
    throw error;
  }
}

/** One run of each graph: what does not fit is found before the first request, which is then not the slowest. */
function warmUp(graphs: ModelGraphs): void {
  if (graphs.mode === "merged") for (const graph of graphs.agents) graph.warmUp({});
  else graphs.team.warmUp(graphs.mode === "factored" ? graphs.bank.current.tensors : {});
  if (graphs.mode === "factored") graphs.rows.warmUp(graphs.bank.current.tensors);
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
