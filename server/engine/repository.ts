/** The models of a repository folder under the names that requests use. Not how one model is loaded or run. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { NAME_PATTERN } from "../../src/checkpoint/repository.ts";
import { findModels } from "../../src/checkpoint/repository-files.ts";
import { AdapterStore } from "./adapter-store.ts";
import type { EngineEvents } from "./events.ts";
import { type LoadOptions, loadModel } from "./load-model.ts";
import { totalBytes } from "./model-memory.ts";
import type { Endpoint, PolicyModel } from "./policy-model.ts";
import { Scheduler, type SchedulerOptions } from "./scheduler.ts";
import type { IndexEntry, ModelState } from "./service.ts";

/** Names that the protocol's own routes take. */
const RESERVED = ["stats"];

export interface RepositoryOptions extends Omit<LoadOptions, "store" | "lastVersions"> {
  /** Folder that keeps pushed adapters between servers, one folder a model; absent for temporary ones. */
  readonly adapterStore?: string;
  readonly scheduler: SchedulerOptions;
  readonly events: EngineEvents;
}

/** A model that requests are sent to, until it is retired. */
export interface LoadedModel {
  readonly model: PolicyModel;
  readonly scheduler: Scheduler;
  /** Requests that began and are not answered. */
  users: number;
  retired: boolean;
}

interface Absence {
  readonly state: Exclude<ModelState, "READY">;
  readonly reason: string;
}

/** Owns the loaded models. */
export class ModelRepository {
  /** Never sent to a client. */
  readonly folder: string;
  readonly #options: RepositoryOptions;
  readonly #loaded = new Map<string, LoadedModel>();
  readonly #byModel = new WeakMap<PolicyModel, LoadedModel>();
  readonly #absent = new Map<string, Absence>();
  /** By model: what was pushed stays when a model is loaded again. */
  readonly #stores = new Map<string, AdapterStore>();
  /** Of the adapters of models that were unloaded. */
  readonly #lastVersions = new Map<string, ReadonlyMap<string, number>>();
  /** Loading and unloading, one after the other. */
  #changes: Promise<unknown> = Promise.resolve();
  #endpoints = new Map<string, Endpoint>();

  private constructor(folder: string, options: RepositoryOptions) {
    this.folder = folder;
    this.#options = options;
  }

  /**
   * Loads every folder that holds a `model.json`; when one fails, all are given back.
   * @throws LORASA_FILE when there is none, LORASA_EXISTS when two answer to one name, and what `loadModel` throws.
   */
  static async open(folder: string, options: RepositoryOptions): Promise<ModelRepository> {
    const repository = new ModelRepository(folder, options);
    try {
      for (const name of modelFolders(folder)) await repository.load(name);
    } catch (error) {
      repository.dispose();
      throw error;
    }
    return repository;
  }

  get models(): readonly LoadedModel[] {
    return [...this.#loaded.values()];
  }

  get endpoints(): ReadonlyMap<string, Endpoint> {
    return this.#endpoints;
  }

  /**
   * What answers to a name, such as `team`, `team.agent_0` or `team.agent_0.blue`.
   * @param version digits, or absent for the one there is.
   * @throws LORASA_UNKNOWN_MODEL.
   */
  endpoint(name: string, version?: string): Endpoint {
    const endpoint = this.#endpoints.get(name) ?? this.#variant(name);
    if (endpoint === undefined) throw unknownModel(name, [...this.#endpoints.keys()]);
    const { manifest } = endpoint.model;
    if (version === undefined || version === manifest.version) return endpoint;
    throw new LorasaError("LORASA_UNKNOWN_MODEL", {
      asked: `model ${name} version ${version}`,
      expected: `version ${manifest.version}`,
      received: "one that is not loaded",
    });
  }

  /**
   * The model of a folder's name.
   * @throws LORASA_UNKNOWN_MODEL.
   */
  model(name: string): PolicyModel {
    const loaded = this.#loaded.get(name);
    if (loaded) return loaded.model;
    throw unknownModel(name, [...this.#loaded.keys()]);
  }

  loadedOf(model: PolicyModel): LoadedModel | undefined {
    return this.#byModel.get(model);
  }

  /** Every name that can be asked, then folders that are not loaded. */
  index(): readonly IndexEntry[] {
    const served = [...this.#endpoints.values()].map(({ name, model }) => ({
      name,
      version: model.manifest.version,
      state: "READY" as const,
      reason: "",
    }));
    const folders = new Set([...findModels(this.folder), ...this.#absent.keys()]);
    const others = [...folders].filter((name) => !this.#loaded.has(name) || this.#absent.has(name));
    return [
      ...served,
      ...others.map((name) => {
        const { state, reason } = this.#absent.get(name) ?? { state: "UNAVAILABLE", reason: "not loaded" };
        return { name, version: "1", state, reason };
      }),
    ];
  }

  /**
   * Loads a folder's model, or loads it again: requests go on with the old one until the new one is ready, and the
   * old one stays when that fails.
   * @throws LORASA_UNKNOWN_MODEL for a folder that is not there, and what `loadModel` throws.
   */
  load(name: string): Promise<void> {
    return this.#change(async () => {
      this.#checkFolder(name);
      const reloaded = this.#loaded.get(name);
      if (!reloaded) this.#absent.set(name, { state: "LOADING", reason: "" });
      const started = performance.now();
      // What is stored later than the new one looks would be lost.
      await reloaded?.model.registry?.pause();
      try {
        const model = await loadNamed(this.folder, name, {
          ...this.#options,
          store: this.#storeOf(name),
          lastVersions:
            (reloaded ? reloaded.model.registry?.lastVersions : this.#lastVersions.get(name)) ?? new Map(),
        });
        this.#install(name, model, (performance.now() - started) / 1000);
        this.#absent.delete(name);
      } catch (error) {
        reloaded?.model.registry?.resume();
        if (!reloaded) this.#absent.set(name, { state: "UNAVAILABLE", reason: "failed to load" });
        throw error;
      }
      if (reloaded) this.#retire(reloaded);
    });
  }

  /** Takes a model's names away at once; its memory goes when the requests that began are answered. */
  unload(name: string): Promise<void> {
    return this.#change(async () => {
      const loaded = this.#loaded.get(name);
      if (!loaded) {
        if (!this.#endpoints.has(name)) return;
        throw new LorasaError("LORASA_REQUEST", {
          asked: `unloading ${name}`,
          expected: "the name of a team",
          received: "an agent of one",
          mend: "unload the team, or the agent's adapter",
        });
      }
      this.#loaded.delete(name);
      this.#endpoints = nameEndpoints(this.models.map(({ model }) => model));
      this.#absent.set(name, { state: "UNAVAILABLE", reason: "unloaded" });
      const { registry } = loaded.model;
      await registry?.pause();
      if (registry) this.#lastVersions.set(name, registry.lastVersions);
      this.#retire(loaded);
    });
  }

  /** A request that used a model is answered. */
  leave(loaded: LoadedModel): void {
    loaded.users -= 1;
    if (loaded.retired && loaded.users === 0) this.#free(loaded);
  }

  /** Waits for loads and pushes under way, then frees every model. */
  async close(): Promise<void> {
    await this.#changes;
    await Promise.all(this.models.map(({ model }) => model.registry?.pause()));
    this.dispose();
  }

  dispose(): void {
    for (const { model } of this.#loaded.values()) model.dispose();
    for (const store of this.#stores.values()) store.dispose();
  }

  #storeOf(name: string): AdapterStore {
    const { adapterStore } = this.#options;
    const store =
      this.#stores.get(name) ??
      new AdapterStore(adapterStore === undefined ? undefined : join(adapterStore, name));
    this.#stores.set(name, store);
    return store;
  }

  #variant(name: string): Endpoint | undefined {
    for (let dot = name.indexOf("."); dot > 0; dot = name.indexOf(".", dot + 1)) {
      const endpoint = this.#loaded.get(name.slice(0, dot))?.model.variantEndpoint(name.slice(dot + 1));
      if (endpoint) return endpoint;
    }
    return undefined;
  }

  #install(name: string, model: PolicyModel, seconds: number): void {
    const others = [...this.#loaded].filter(([other]) => other !== name).map(([, loaded]) => loaded.model);
    try {
      this.#endpoints = nameEndpoints([...others, model]);
    } catch (error) {
      model.dispose();
      throw error;
    }
    const scheduler = new Scheduler(model, this.#options.scheduler);
    const loaded = { model, scheduler, users: 0, retired: false };
    this.#loaded.set(name, loaded);
    this.#byModel.set(model, loaded);
    this.#options.events.model({ kind: "loaded", model: name, seconds, bytes: totalBytes(model.memory) });
  }

  #retire(loaded: LoadedModel): void {
    loaded.retired = true;
    this.#byModel.delete(loaded.model);
    if (loaded.users === 0) this.#free(loaded);
  }

  #free({ model }: LoadedModel): void {
    const { name } = model.manifest;
    const bytes = totalBytes(model.memory);
    model.dispose();
    for (const key of model.graphKeys) this.#options.scheduler.longRuns.forget(key);
    this.#options.events.model({ kind: "unloaded", model: name, seconds: 0, bytes });
  }

  #change(work: () => Promise<void>): Promise<void> {
    const done = this.#changes.then(work, work);
    this.#changes = done.catch(() => {});
    return done;
  }

  #checkFolder(name: string): void {
    if (NAME_PATTERN.test(name) && findModels(this.folder).includes(name)) return;
    throw unknownModel(name, findModels(this.folder));
  }
}

function modelFolders(folder: string): string[] {
  const names = findModels(folder);
  if (names.length > 0) return names;
  throw new LorasaError("LORASA_FILE", {
    asked: `repository ${folder}`,
    expected: "a folder of models, each with a model.json",
    received: existsSync(folder) ? "none in it" : "no such folder",
    mend: "run `lorasa export CHECKPOINT --mode factored --out REPOSITORY` first",
  });
}

async function loadNamed(folder: string, name: string, options: LoadOptions): Promise<PolicyModel> {
  const model = await loadModel(join(folder, name), options);
  if (model.manifest.name === name && !RESERVED.includes(name)) return model;
  model.dispose();
  throw new LorasaError("LORASA_FILE", {
    asked: `model folder ${name}`,
    expected: "a folder of the model's own name, other than stats",
    received: model.manifest.name,
  });
}

function nameEndpoints(models: readonly PolicyModel[]): Map<string, Endpoint> {
  const endpoints = new Map<string, Endpoint>();
  for (const endpoint of models.flatMap((model) => model.endpoints)) {
    if (endpoints.has(endpoint.name)) {
      throw new LorasaError("LORASA_EXISTS", {
        asked: `model ${endpoint.name}`,
        expected: "one model or agent of that name",
        received: "two",
        mend: "export one under another --name",
      });
    }
    endpoints.set(endpoint.name, endpoint);
  }
  return endpoints;
}

function unknownModel(name: string, known: readonly string[]): LorasaError {
  return new LorasaError("LORASA_UNKNOWN_MODEL", {
    asked: `model ${JSON.stringify(name.slice(0, 80))}`,
    expected: "a loaded model",
    received: "an unknown name",
    mend: suggestion(name.slice(0, 80), known),
  });
}
