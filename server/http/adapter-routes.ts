/** Actions of the routes of adapters. Not whether an adapter fits, nor how it is kept. */
import { LorasaError } from "../../src/base/errors.ts";
import type { AdapterStatus } from "../engine/service.ts";
import { HEADER_LENGTH } from "../protocol/request.ts";
import { readUpload } from "./adapter-upload.ts";
import { readBody } from "./body.ts";
import { readFlags, readReadyFilter } from "./control-body.ts";
import { sendJson } from "./reply.ts";
import type { Action } from "./routes.ts";

export const indexAdapters: Action = async (request, response, { service }, { model }) => {
  const adapters = service.adapters(model);
  const readyOnly = await readReadyFilter(request);
  const shown = adapters.list().filter(({ state }) => !readyOnly || state === "READY");
  sendJson(response, shown.map(adapterJson));
};

export const describeAdapter: Action = (_request, response, { service }, { model, adapter }) => {
  const adapters = service.adapters(model);
  sendJson(response, { ...adapterJson(adapters.status(adapter)), layers: adapters.layers });
};

export const adapterReady: Action = (_request, response, { service }, { model, adapter }) => {
  const { name, state } = service.adapters(model).status(adapter);
  if (state !== "READY") throw notLoaded(model, name);
  sendJson(response, { name, ready: true });
};

export const loadAdapter: Action = async (request, response, context, { model, adapter }) => {
  const adapters = context.service.adapters(model);
  const body = await readBody(request, context.bodyLimitBytes);
  const load = await readUpload(body, request.headers[HEADER_LENGTH], {
    root: context.adapterRoot(model),
    limitBytes: context.bodyLimitBytes,
  });
  sendJson(response, adapterJson(await context.metrics.model(model).watchLoad(adapters.load(adapter, load))));
};

export const unloadAdapter: Action = async (request, response, { service }, { model, adapter }) => {
  const adapters = service.adapters(model);
  const { drain } = await readFlags(request, { drain: true });
  sendJson(response, adapterJson(await adapters.unload(adapter, drain)));
};

export const pinAdapter: Action = pinTo(true);

export const unpinAdapter: Action = pinTo(false);

export const rollbackAdapter: Action = async (request, response, { service }, { model, adapter }) => {
  const adapters = service.adapters(model);
  await readFlags(request, {});
  sendJson(response, adapterJson(await adapters.rollback(adapter)));
};

function pinTo(pinned: boolean): Action {
  return async (request, response, { service }, { model, adapter }) => {
    const adapters = service.adapters(model);
    await readFlags(request, {});
    sendJson(response, adapterJson(await adapters.pin(adapter, pinned)));
  };
}

/** The repository extension's words, versions as text; and ours. One that is not loaded has no version to ask for. */
function adapterJson(status: AdapterStatus): object {
  return {
    name: status.name,
    version: status.state === "READY" ? `${status.version}` : "",
    state: status.state,
    reason: status.reason,
    agent: status.agent,
    resident: status.resident,
    pinned: status.pinned,
    sha256: status.sha256,
    bytes: status.bytes,
    loaded_at_ms: status.loadedAtMs,
    last_used_ms: status.lastUsedMs,
    previous_version: status.previousVersion === 0 ? "" : `${status.previousVersion}`,
  };
}

/** As a request for inference is told. */
function notLoaded(model: string, adapter: string): LorasaError {
  return new LorasaError("LORASA_UNKNOWN_ADAPTER", {
    asked: `adapter "${adapter}" of ${model}`,
    expected: "a loaded one",
    received: "none",
    mend: "push one, or leave this agent out",
  });
}
