/** Loads a model's folder: manifest, checksums, graphs and the adapters that it ships. Not how they are run. */
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import type { AdapterLayer, ModelManifest } from "../../src/checkpoint/repository.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import type { Runtime } from "../../src/runtime/session.ts";
import { AdapterRegistry } from "./adapter-registry.ts";
import { AdapterStore } from "./adapter-store.ts";
import { BoundGraph, type GraphForm } from "./bound-graph.ts";
import { type EngineEvents, NO_EVENTS } from "./events.ts";
import { type ModelGraphs, PolicyModel } from "./policy-model.ts";
import { rowSizes } from "./policy-tensors.ts";
import { adapterInput, adapterLayout } from "./resident-adapter.ts";

export interface LoadOptions {
  readonly runtime: Runtime;
  /** Threads inside an operator. */
  readonly threads: number;
  /** Keeps what is pushed; its owner disposes of it. */
  readonly store?: AdapterStore;
  /** Last versions of the adapters of the same model before it was loaded again. */
  readonly lastVersions?: ReadonlyMap<string, number>;
  /** Most adapters of a model in memory. Default 1,024. */
  readonly residentAdapters?: number;
  /** Most adapters of a model that are known by name. Default 100,000. */
  readonly maxAdapters?: number;
  readonly events?: EngineEvents;
}

type GraphFiles = ReadonlyMap<string, Buffer>;

/**
 * Reads and checks everything before a session is made; on failure nothing stays loaded. Other work goes on
 * between the graphs.
 * @throws LORASA_FILE, LORASA_CHECKSUM, LORASA_GRAPH, LORASA_DEVICE, LORASA_ADAPTER.
 */
export async function loadModel(folder: string, options: LoadOptions): Promise<PolicyModel> {
  const manifest = readModelManifest(folder);
  const files = verifyFiles(folder, manifest);
  const opened: BoundGraph[] = [];
  try {
    const graphs = await openGraphs(manifest, folder, files, options, opened);
    const model = new PolicyModel(manifest, graphs);
    await model.registry?.readOwn();
    return model;
  } catch (error) {
    for (const graph of opened) graph.dispose();
    throw error;
  }
}

/** Bytes of every graph of the manifest; sizes and checksums of all files as recorded. */
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

async function openGraphs(
  manifest: ModelManifest,
  folder: string,
  files: GraphFiles,
  options: LoadOptions,
  opened: BoundGraph[],
): Promise<ModelGraphs> {
  const { graphs, mode, agents } = manifest;
  const padded = rowSizes(manifest);
  const fixed = manifest.adapterLayers.flatMap(bothInputs);
  const open = async (
    role: string,
    path: string | undefined,
    leading: readonly number[],
    sizes = [padded],
  ): Promise<BoundGraph> => {
    await nextTurn();
    const form = { what: `${manifest.name}, ${role} graph`, leading, sizes, fixed };
    const graph = openGraph(form, join(folder, path ?? ""), graphBytes(form.what, path, files), options);
    opened.push(graph);
    return graph;
  };
  if (mode === "merged") {
    const all: BoundGraph[] = [];
    for (const [agent, { name }] of agents.entries()) {
      all.push(await open(name, graphs.agents?.[name], [-1], [rowSizes(manifest, agent), padded]));
    }
    return { mode, agents: all };
  }
  const team = await open("team", graphs.team, [agents.length, -1]);
  if (mode === "stacked") return { mode, team };
  const rows = await open("rows", graphs.rows, [-1]);
  return { mode, team, rows, registry: openRegistry(manifest, folder, options) };
}

function openRegistry(manifest: ModelManifest, folder: string, options: LoadOptions): AdapterRegistry {
  const { store, lastVersions, residentAdapters = 1024, maxAdapters = 100_000, events = NO_EVENTS } = options;
  const fit = {
    layers: manifest.adapterLayers,
    layout: adapterLayout(manifest.adapterLayers),
    backboneSha256: manifest.backboneSha256,
  };
  return new AdapterRegistry(manifest, fit, {
    folder: join(folder, "adapters"),
    store: store ?? new AdapterStore(undefined),
    lastVersions: lastVersions ?? new Map(),
    residentLimit: residentAdapters,
    adapterLimit: maxAdapters,
    events,
  });
}

function openGraph(
  form: GraphForm,
  path: string,
  bytes: Buffer,
  { runtime, threads }: LoadOptions,
): BoundGraph {
  const session = runtime.createSession(bytes, { threads, untrusted: true });
  try {
    return new BoundGraph(session, form, { path, sha256: sha256(bytes), bytes: bytes.length });
  } catch (error) {
    session.dispose();
    throw error;
  }
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
