/** Loads a model's folder: manifest, checksums, graphs and the adapters that it ships. Not how they are run. */
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { LorasaError } from "../../src/base/errors.ts";
import { readFile, sha256 } from "../../src/base/files.ts";
import type { AdapterLayer, ModelManifest } from "../../src/checkpoint/repository.ts";
import { readModelManifest } from "../../src/checkpoint/repository-files.ts";
import { choiceText, type DeviceTime, faultText, quickest } from "../../src/runtime/choose.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { deviceFault, isDeviceError } from "../../src/runtime/probe.ts";
import type { Device, Runtime } from "../../src/runtime/session.ts";
import { AdapterRegistry } from "./adapter-registry.ts";
import { AdapterStore } from "./adapter-store.ts";
import { BoundGraph, type GraphForm } from "./bound-graph.ts";
import { type EngineEvents, NO_EVENTS } from "./events.ts";
import { type ModelGraphs, PlacedModel } from "./placed-model.ts";
import { PolicyModel } from "./policy-model.ts";
import { rowSizes } from "./policy-tensors.ts";
import { adapterInput, adapterLayout } from "./resident-adapter.ts";

export interface LoadOptions {
  readonly runtime: Runtime;
  /** Devices that a model is tried on too: it stays on the one that is quickest for it. */
  readonly otherRuntimes?: readonly Runtime[];
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
  /** Whether a model goes to the CPU when the device cannot hold it or is lost. */
  readonly fallback?: boolean;
  readonly events?: EngineEvents;
}

const RESIDENT_ADAPTERS = 1024;
/** Rows an agent of the request by which devices are compared. */
const CHOICE_ENVIRONMENTS = 8;

type GraphFiles = ReadonlyMap<string, Buffer>;

/** A model's folder as it was read and checked. */
interface ReadModel {
  readonly folder: string;
  readonly manifest: ModelManifest;
  readonly files: GraphFiles;
}

/**
 * Reads and checks everything before a session is made; on failure nothing stays loaded. Other work goes on
 * between the graphs.
 * @throws LORASA_FILE, LORASA_CHECKSUM, LORASA_GRAPH, LORASA_DEVICE, LORASA_ADAPTER.
 */
export async function loadModel(folder: string, options: LoadOptions): Promise<PolicyModel> {
  const manifest = readModelManifest(folder);
  const read: ReadModel = { folder, manifest, files: verifyFiles(folder, manifest) };
  const { fallback, events = NO_EVENTS } = options;
  const failed = ({ device }: Runtime, { message: reason }: LorasaError): void =>
    events.device({ model: manifest.name, device, reason, moved: fallback ?? false });
  const placeOnCpu = () => place(read, options, createRuntime());
  const { placed, runtime, why } = await placeQuickest(read, options).catch(async (error: unknown) => {
    if (!fallback || !isDeviceError(error)) throw error;
    failed(options.runtime, error);
    return { placed: await placeOnCpu(), runtime: createRuntime(), why: undefined };
  });
  try {
    const registry = manifest.mode === "factored" ? openRegistry(manifest, folder, options) : undefined;
    await registry?.readOwn();
    return new PolicyModel({
      manifest,
      placed,
      ...(registry && { registry }),
      ...(fallback && { placeOnCpu }),
      ...(why !== undefined && { why }),
      isDeviceUsable: () => {
        const fault = deviceFault(runtime);
        if (fault) failed(runtime, fault);
        return fault === undefined;
      },
    });
  } catch (error) {
    placed.dispose();
    throw error;
  }
}

/** Where a model is, and why there when there was a choice. */
interface Placing {
  readonly placed: PlacedModel;
  readonly runtime: Runtime;
  readonly why: string | undefined;
}

/** The model on the device that answers a team request of a few environments soonest; on the only one, without a test. */
async function placeQuickest(read: ReadModel, options: LoadOptions): Promise<Placing> {
  const { runtime, otherRuntimes = [] } = options;
  if (otherRuntimes.length === 0) {
    return { placed: await place(read, options, runtime), runtime, why: undefined };
  }
  const tried = new Map<Device, PlacedModel>();
  const times: DeviceTime[] = [];
  const all = [runtime, ...otherRuntimes];
  for (const each of all) {
    const { device } = each;
    try {
      const placed = await place(read, options, each);
      tried.set(device, placed);
      times.push({ device, ms: placed.teamMs(CHOICE_ENVIRONMENTS) });
    } catch (error) {
      if (!isDeviceError(error)) {
        for (const placed of tried.values()) placed.dispose();
        throw error;
      }
      times.push({ device, fault: faultText(error) });
    }
  }
  const device = quickest(times);
  for (const [other, placed] of tried) if (other !== device) placed.dispose();
  return {
    placed: tried.get(device)!,
    runtime: all.find((each) => each.device === device)!,
    why: choiceText(`a team request of ${CHOICE_ENVIRONMENTS} environments`, times),
  };
}

async function place(read: ReadModel, options: LoadOptions, runtime: Runtime): Promise<PlacedModel> {
  const { residentAdapters = RESIDENT_ADAPTERS } = options;
  const opened: BoundGraph[] = [];
  try {
    const graphs = await openGraphs(read, { ...options, runtime }, opened);
    return new PlacedModel(read.manifest, graphs, { runtime, residentAdapters });
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
  { manifest, folder, files }: ReadModel,
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
    const { cpuNodes } = graph.session;
    if (cpuNodes.length > 0) options.events?.cpuNodes({ model: manifest.name, graph: role, nodes: cpuNodes });
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
  return { mode, team, rows };
}

function openRegistry(manifest: ModelManifest, folder: string, options: LoadOptions): AdapterRegistry {
  const {
    store,
    lastVersions,
    residentAdapters = RESIDENT_ADAPTERS,
    maxAdapters = 100_000,
    events = NO_EVENTS,
  } = options;
  const fit = {
    layers: manifest.adapterLayers,
    layout: adapterLayout(manifest.adapterLayers),
    backboneSha256: manifest.backboneSha256,
    precision: manifest.precision,
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
  const session = runtime.createSession(bytes, { threads, untrusted: true, shareWeights: true });
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
