/**
 * Actions of the routes by which trainers and gateways made for vLLM load, unload and list adapters: the same
 * operations as the adapter routes, in that server's fields, statuses and words.
 *
 * An adapter is called `<adapter>` while one factored model is served, else `<model>.<adapter>`.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { type ErrorCode, LorasaError } from "../../src/base/errors.ts";
import { NAME_PATTERN } from "../../src/checkpoint/repository.ts";
import type { Adapters, PolicyService } from "../engine/service.ts";
import { CONTROL_LIMIT_BYTES } from "../limits.ts";
import { SERVER_NAME } from "../protocol/metadata.ts";
import { parseJson } from "../protocol/request.ts";
import { readAdapterPath } from "./adapter-path.ts";
import { readBody } from "./body.ts";
import type { ServerContext } from "./handler.ts";
import { describeError, sendJson, sendText } from "./reply.ts";
import type { Action } from "./routes.ts";

/** A model that answers, and its adapters where it has any of its own. */
interface Model {
  readonly name: string;
  readonly adapters: Adapters | undefined;
}

export const listModelCards: Action = (_request, response, { service }) => {
  const models = servedModels(service);
  const prefixed = factored(models).length > 1;
  sendJson(response, { object: "list", data: models.flatMap((model) => modelCards(model, prefixed)) });
};

export const loadLoraAdapter: Action = (request, response, context) =>
  answer(request, response, context, async (body) => {
    const { model, adapters, adapter } = findAdapters(context.service, textField(body, "lora_name"));
    const path = textField(body, "lora_path");
    const replace = body["load_inplace"] ?? false;
    if (typeof replace !== "boolean") throw invalid("load_inplace", "true or false", typeof replace);
    const files = await readAdapterPath(path, {
      root: context.adapterRoot(model),
      limitBytes: context.bodyLimitBytes,
    });
    const load = adapters.load(adapter, { files, replace });
    const { version } = await context.metrics.model(model).watchLoad(load);
    return `Success: ${model} answers with version ${version} of adapter ${adapter}.`;
  });

export const unloadLoraAdapter: Action = (request, response, context) =>
  answer(request, response, context, async (body) => {
    const { model, adapters, adapter } = findAdapters(context.service, textField(body, "lora_name"));
    // Requests that have begun are waited for, as by a client of vLLM's engine.
    await adapters.unload(adapter, true);
    return `Success: adapter ${adapter} of ${model} is unloaded.`;
  });

type Body = Readonly<Record<string, unknown>>;

/** Fields that this server has no use for are let be: clients of other versions send more. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { metrics }: ServerContext,
  act: (body: Body) => Promise<string>,
): Promise<void> {
  try {
    const body = parseJson(await readBody(request, CONTROL_LIMIT_BYTES));
    sendText(response, "text/plain; charset=utf-8", await act(body));
  } catch (error) {
    // A fault of the server is reported and answered as everywhere.
    if (!(error instanceof LorasaError) || error.status >= 500) throw error;
    metrics.recordRejected(error.code);
    const { status, type } = FAILURES[error.code] ?? { status: error.status, type: "BadRequestError" };
    const { text } = describeError(error);
    sendJson(response, { error: { message: text, type, param: null, code: status } }, status);
  }
}

const INVALID = { status: 400, type: "InvalidUserInput" };
const NOT_FOUND = { status: 404, type: "NotFoundError" };

/** Where vLLM answers otherwise than our own routes. */
const FAILURES: Readonly<Partial<Record<ErrorCode, { readonly status: number; readonly type: string }>>> = {
  LORASA_REQUEST: INVALID,
  LORASA_EXISTS: INVALID,
  LORASA_FILE: NOT_FOUND,
  LORASA_UNKNOWN_MODEL: NOT_FOUND,
  LORASA_UNKNOWN_AGENT: NOT_FOUND,
  LORASA_UNKNOWN_ADAPTER: NOT_FOUND,
};

function findAdapters(
  service: PolicyService,
  name: string,
): { readonly model: string; readonly adapters: Adapters; readonly adapter: string } {
  // It becomes part of a path, as the names of the other routes do.
  if (!NAME_PATTERN.test(name))
    throw invalid("lora_name", "letters, digits, dots, - and _", "other characters");
  const models = factored(servedModels(service));
  const [only] = models;
  if (only && models.length === 1) return { model: only.name, adapters: only.adapters, adapter: name };
  const found = models.find((model) => name.startsWith(`${model.name}.`));
  if (found) {
    return { model: found.name, adapters: found.adapters, adapter: name.slice(found.name.length + 1) };
  }
  throw new LorasaError("LORASA_UNKNOWN_ADAPTER", {
    asked: `lora_name ${name}`,
    expected: "<model>.<adapter> of a factored model",
    received: models.length === 0 ? "no factored model is served" : "no such model",
  });
}

/** Models by name, the longest first: `team.b` is looked for before `team`. */
function servedModels(service: PolicyService): Model[] {
  const models = service
    .index()
    .flatMap(({ name, state }) => (state === "READY" ? asModel(service, name) : []));
  return models.sort((a, b) => b.name.length - a.name.length || a.name.localeCompare(b.name));
}

/** The index also names agents and adapters: those are no models of their own. */
function asModel(service: PolicyService, name: string): Model[] {
  try {
    return [{ name, adapters: service.adapters(name) }];
  } catch (error) {
    if (!(error instanceof LorasaError)) throw error;
    return error.code === "LORASA_ADAPTER" ? [{ name, adapters: undefined }] : [];
  }
}

function factored(models: readonly Model[]) {
  return models.flatMap(({ name, adapters }) => (adapters ? [{ name, adapters }] : []));
}

const STARTED_SECONDS = Math.floor(Date.now() / 1000);

/** A model and its loaded adapters; `root` is the name under which `/v2` has them, never a path. */
function modelCards({ name, adapters }: Model, prefixed: boolean): object[] {
  const loaded = adapters?.list().filter(({ state }) => state === "READY") ?? [];
  return [
    card(name, { created: STARTED_SECONDS, root: name, parent: null }),
    ...loaded.map((adapter) => {
      const root = `${name}.${adapter.name}`;
      const created = Math.floor(adapter.loadedAtMs / 1000);
      return card(prefixed ? root : adapter.name, { created, root, parent: name });
    }),
  ];
}

function card(
  id: string,
  more: { readonly created: number; readonly root: string; readonly parent: string | null },
): object {
  return { id, object: "model", owned_by: SERVER_NAME, ...more };
}

function textField(body: Body, field: string): string {
  const value = body[field];
  if (typeof value === "string" && value !== "") return value;
  throw invalid(field, "a string that is not empty", value === undefined ? "none" : typeof value);
}

function invalid(field: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked: field, expected, received });
}
