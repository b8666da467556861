/** The models of a repository folder under the names that requests use. Not how one model is loaded. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { LorasaError, suggestion } from "../../src/base/errors.ts";
import { findModels } from "../../src/checkpoint/repository-files.ts";
import { type LoadOptions, loadModel } from "./load-model.ts";
import type { Endpoint, PolicyModel } from "./policy-model.ts";

/** Names that the protocol's own routes take. */
const RESERVED = ["stats"];

/** Owns the loaded models. */
export class ModelRepository {
  /** Absolute or relative path of the folder; never sent to a client. */
  readonly folder: string;
  readonly models: ReadonlyMap<string, PolicyModel>;
  readonly endpoints: ReadonlyMap<string, Endpoint>;

  /**
   * Loads every folder that holds a `model.json`; when one fails, all are given back.
   * @throws LORASA_FILE when there is none, LORASA_EXISTS when two answer to one name, and what `loadModel` throws.
   */
  constructor(folder: string, options: LoadOptions) {
    this.folder = folder;
    const models = new Map<string, PolicyModel>();
    try {
      for (const name of modelFolders(folder)) models.set(name, loadNamed(folder, name, options));
      this.endpoints = nameEndpoints([...models.values()]);
    } catch (error) {
      for (const model of models.values()) model.dispose();
      throw error;
    }
    this.models = models;
  }

  /**
   * What answers to a name, such as `team` or `team.agent_0`.
   * @param version digits, or absent for the one there is.
   * @throws LORASA_UNKNOWN_MODEL.
   */
  endpoint(name: string, version?: string): Endpoint {
    const endpoint = this.endpoints.get(name);
    if (endpoint === undefined) throw unknownModel(name, [...this.endpoints.keys()]);
    const { manifest } = endpoint.model;
    if (version === undefined || version === manifest.version) return endpoint;
    throw new LorasaError("LORASA_UNKNOWN_MODEL", {
      asked: `model ${name} version ${version}`,
      expected: `version ${manifest.version}`,
      received: "one that is not loaded",
    });
  }

  /**
   * The model whose adapters a route manages.
   * @throws LORASA_UNKNOWN_MODEL.
   */
  model(name: string): PolicyModel {
    const model = this.models.get(name);
    if (model) return model;
    throw unknownModel(name, [...this.models.keys()]);
  }

  dispose(): void {
    for (const model of this.models.values()) model.dispose();
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

function loadNamed(folder: string, name: string, options: LoadOptions): PolicyModel {
  const model = loadModel(join(folder, name), options);
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
