/** Actions of the model repository and statistics extensions. Not how a model is loaded. */
import { join, sep } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { readFlags, readReadyFilter } from "./control-body.ts";
import { sendEmpty, sendJson } from "./reply.ts";
import type { Action } from "./routes.ts";

export const indexModels: Action = async (request, response, { service }) => {
  const readyOnly = await readReadyFilter(request);
  const entries = service.index();
  sendJson(response, readyOnly ? entries.filter(({ state }) => state === "READY") : entries);
};

export const loadModel: Action = async (request, response, { service }, { model }) => {
  await readFlags(request, {}, explainOverride);
  try {
    await service.load(model);
  } catch (error) {
    throw withoutFolder(error, service.repository.folder);
  }
  sendEmpty(response);
};

export const unloadModel: Action = async (request, response, { service }, { model }) => {
  // No model depends on another: there is nothing more to unload.
  await readFlags(request, { unload_dependents: false });
  await service.unload(model);
  sendEmpty(response);
};

/** Of the model that the path names, or of all. */
export const modelStatistics: Action = (_request, response, { service }, { model, version }) =>
  sendJson(response, {
    model_stats: model === "" ? service.statistics() : service.statistics(model, version),
  });

/** What other servers let a load replace. */
function explainOverride(name: string): string | undefined {
  if (name !== "config" && !name.startsWith("file:")) return undefined;
  return "a model's files in the request: they come from the repository's folder alone";
}

/** What is wrong with a model's files is told by their names in the repository, never by where that is. */
function withoutFolder(error: unknown, folder: string): unknown {
  const prefix = join(folder, sep);
  if (!(error instanceof LorasaError) || !error.message.includes(prefix)) return error;
  return new LorasaError(error.code, { asked: error.message.replaceAll(prefix, ""), cause: error });
}
