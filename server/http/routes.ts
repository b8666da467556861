/**
 * Every route of the server in one table: answering, the gate and the API's description all read it. Not how a URL
 * is matched.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  adapterReady,
  describeAdapter,
  indexAdapters,
  loadAdapter,
  pinAdapter,
  rollbackAdapter,
  unloadAdapter,
  unpinAdapter,
} from "./adapter-routes.ts";
import type { ServerContext } from "./handler.ts";
import { infer } from "./infer-route.ts";
import {
  configureModel,
  describeModel,
  describeServer,
  modelReady,
  serverLive,
  serverReady,
} from "./model-routes.ts";
import { openApiDocument } from "./openapi.ts";
import { metricsText, statusPage } from "./page-routes.ts";
import { sendJson } from "./reply.ts";
import { indexModels, loadModel, modelStatistics, unloadModel } from "./repository-routes.ts";
import { listModelCards, loadLoraAdapter, unloadLoraAdapter } from "./vllm-routes.ts";

/** The named parts of a path that the route has; each was decoded once and holds only characters of names. */
export interface RouteMatch {
  readonly model: string;
  /** Digits; absent for the version there is. */
  readonly version: string | undefined;
  readonly adapter: string;
}

/** Who may call: anybody, holders of the inference token (anybody when there is none), holders of the management token. */
export type Role = "open" | "infer" | "manage";

export type Action = (
  request: IncomingMessage,
  response: ServerResponse,
  context: ServerContext,
  match: RouteMatch,
) => Promise<void> | void;

export interface Route {
  readonly verb: "GET" | "POST";
  /** Such as `/v2/models/:model/versions/:version/infer`. */
  readonly path: string;
  readonly role: Role;
  /** One line for the API's description. */
  readonly summary: string;
  readonly act: Action;
}

type Row = readonly [verb: Route["verb"], path: string, role: Role, summary: string, act: Action];

const MODEL = "/v2/models/:model";
const ADAPTER = `${MODEL}/adapters/:adapter`;
const MANAGED = "/v2/repository/models/:model";
const MANAGED_ADAPTER = `${MANAGED}/adapters/:adapter`;

/** What clients call all the time, in the order of how often. */
export const HOT_ROUTES: readonly Route[] = table([
  ["POST", `${MODEL}[V]/infer`, "infer", "Run the policy of a team or of one agent.", infer],
  ["GET", "/v2/health/live", "open", "Whether the server runs.", serverLive],
  [
    "GET",
    "/v2/health/ready",
    "open",
    "Whether the server takes requests; 503 while it starts or stops.",
    serverReady,
  ],
  ["GET", `${MODEL}[V]/ready`, "infer", "Whether a model takes requests.", modelReady],
  ["GET", `${MODEL}[V]`, "infer", "A model's inputs, outputs and properties.", describeModel],
  ["GET", "/v2", "infer", "The server's name, version and extensions.", describeServer],
  ["GET", "/v2/", "infer", "The same as /v2.", describeServer],
]);

/** The rest. */
export const MANAGEMENT_ROUTES: readonly Route[] = table([
  ["GET", "/", "infer", "The status page.", statusPage],
  ["GET", "/metrics", "infer", "Metrics as Prometheus reads them.", metricsText],
  ["GET", "/openapi.json", "infer", "This description of the API.", describeApi],
  ["GET", "/v2/models/stats", "infer", "Statistics of every model.", modelStatistics],
  ["GET", `${MODEL}[V]/stats`, "infer", "Statistics of a model.", modelStatistics],
  ["GET", `${MODEL}[V]/config`, "infer", "A model's configuration.", configureModel],
  ["POST", "/v2/repository/index", "manage", "Models of the repository and their states.", indexModels],
  ["POST", `${MANAGED}/load`, "manage", "Load a model of the repository, or load it again.", loadModel],
  ["POST", `${MANAGED}/unload`, "manage", "Unload a model.", unloadModel],
  ["GET", ADAPTER, "infer", "An adapter's version, state and layers.", describeAdapter],
  ["GET", `${ADAPTER}/ready`, "infer", "Whether an adapter is loaded.", adapterReady],
  ["POST", `${MANAGED}/adapters/index`, "manage", "Adapters of a model and their states.", indexAdapters],
  ["POST", `${MANAGED_ADAPTER}/load`, "manage", "Load or replace an adapter.", loadAdapter],
  ["POST", `${MANAGED_ADAPTER}/unload`, "manage", "Unload an adapter.", unloadAdapter],
  ["POST", `${MANAGED_ADAPTER}/pin`, "manage", "Keep an adapter in memory.", pinAdapter],
  ["POST", `${MANAGED_ADAPTER}/unpin`, "manage", "Let an adapter leave memory.", unpinAdapter],
  [
    "POST",
    `${MANAGED_ADAPTER}/rollback`,
    "manage",
    "Restore an adapter's previous version.",
    rollbackAdapter,
  ],
  ["GET", "/v1/models", "infer", "Models and loaded adapters, as vLLM lists them.", listModelCards],
  ["POST", "/v1/load_lora_adapter", "manage", "Load an adapter, as vLLM does.", loadLoraAdapter],
  ["POST", "/v1/unload_lora_adapter", "manage", "Unload an adapter, as vLLM does.", unloadLoraAdapter],
]);

export const ROUTES: readonly Route[] = [...HOT_ROUTES, ...MANAGEMENT_ROUTES];

let api: object | undefined;

/** The table does not change while the server runs: it is described once. */
function describeApi(_request: IncomingMessage, response: ServerResponse): void {
  api ??= openApiDocument(ROUTES);
  sendJson(response, api);
}

/** `[V]` stands for an optional `/versions/:version` and makes two routes. */
function table(rows: readonly Row[]): Route[] {
  return rows.flatMap(([verb, path, role, summary, act]) => {
    const forms = path.includes("[V]") ? ["", "/versions/:version"] : [""];
    return forms.map((form) => ({ verb, path: path.replace("[V]", form), role, summary, act }));
  });
}
