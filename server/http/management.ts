/** The routes that are not hot, as an Express application: adapters, metrics and the status page. */
import { join } from "node:path";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { LorasaError } from "../../src/base/errors.ts";
import { type AdapterEntry, loadedEntry } from "../engine/adapter-bank.ts";
import { bankOf, checkAdapterFiles, installAdapter } from "../engine/adapter-intake.ts";
import type { PolicyModel } from "../engine/policy-model.ts";
import { HEADER_LENGTH, parseJson } from "../protocol/request.ts";
import { parseAdapterUpload } from "./adapter-upload.ts";
import { readBody } from "./body.ts";
import type { ServerContext } from "./handler.ts";
import { sendJson, sendText } from "./reply.ts";
import { renderStatusPage } from "./status-page.ts";
import type { Gate } from "./token.ts";

type Action = (request: Request, response: Response, context: ServerContext) => Promise<void> | void;

interface ManagementRoute {
  readonly verb: "get" | "post";
  readonly path: string;
  /** `manage` needs the token; `observe` shows what the server is doing. */
  readonly role: "manage" | "observe";
  readonly act: Action;
}

const ADAPTERS = "/v2/repository/models/:model/adapters";
const ADAPTER = "/v2/models/:model/adapters/:adapter";

const ROUTES: readonly ManagementRoute[] = [
  { verb: "get", path: "/", role: "observe", act: statusPage },
  { verb: "get", path: "/metrics", role: "observe", act: metricsText },
  { verb: "post", path: `${ADAPTERS}/index`, role: "manage", act: indexAdapters },
  { verb: "post", path: `${ADAPTERS}/:adapter/load`, role: "manage", act: loadAdapter },
  { verb: "post", path: `${ADAPTERS}/:adapter/unload`, role: "manage", act: unloadAdapter },
  { verb: "get", path: ADAPTER, role: "manage", act: describeAdapter },
  { verb: "get", path: `${ADAPTER}/ready`, role: "observe", act: adapterReady },
];

/** @param gate is asked before every `manage` route, whatever the path's spelling led to it. */
export function createManagement(context: ServerContext, gate: Gate): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.enable("strict routing");
  app.set("query parser", false);
  for (const { verb, path, role, act } of ROUTES) {
    app[verb](path, (request, response) => {
      if (role === "manage") gate(request);
      return act(request, response, context);
    });
  }
  for (const path of new Set(ROUTES.map((route) => route.path))) app.all(path, wrongVerb);
  app.use((_request, response) => sendJson(response, { error: "Not Found" }, 404));
  // Express tells an error handler by its four parameters.
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    context.failed(response, fromExpress(error));
  });
  return app;
}

function wrongVerb(request: Request, response: Response): void {
  const allowed = ROUTES.filter((route) => route.path === request.route.path).map(({ verb }) => verb);
  response.setHeader("Allow", allowed.join(", ").toUpperCase());
  sendJson(response, { error: "Method Not Allowed" }, 405);
}

/** Express fails a path that does not decode with a 400 of its own. */
function fromExpress(error: unknown): unknown {
  if (!(error instanceof URIError)) return error;
  return new LorasaError("LORASA_REQUEST", {
    asked: "path",
    expected: "percent-encoded UTF-8",
    received: "something else",
  });
}

function statusPage(_request: Request, response: Response, context: ServerContext): void {
  response.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  response.setHeader("X-Content-Type-Options", "nosniff");
  sendText(response, "text/html; charset=utf-8", renderStatusPage(context));
}

async function metricsText(_request: Request, response: Response, { metrics }: ServerContext): Promise<void> {
  sendText(response, metrics.contentType, await metrics.text());
}

async function indexAdapters(request: Request, response: Response, context: ServerContext): Promise<void> {
  const model = context.repository.model(parameter(request, "model"));
  const body = await readBody(request, context.bodyLimitBytes);
  const readyOnly = body.length > 0 && parseJson(body)["ready"] === true;
  const { entries } = bankOf(model).current;
  const adapters = model.manifest.agents.map(({ name }, slot) => describe(name, entries[slot]));
  sendJson(response, readyOnly ? adapters.filter(({ state }) => state === "READY") : adapters);
}

async function loadAdapter(request: Request, response: Response, context: ServerContext): Promise<void> {
  const model = context.repository.model(parameter(request, "model"));
  const agent = parameter(request, "adapter");
  const bank = bankOf(model);
  const slot = model.agentIndex(agent);
  const body = await readBody(request, context.bodyLimitBytes);
  const root = join(context.repository.folder, model.manifest.name, "adapters");
  const header = request.headers[HEADER_LENGTH];
  const upload = parseAdapterUpload(body, typeof header === "string" ? header : undefined, root);
  if (bank.current.entries[slot] && !upload.replace) throw loadedAlready(agent);
  const checked = checkAdapterFiles(model, agent, upload.files);
  const started = performance.now();
  const entry = installAdapter(model, checked);
  context.metrics.recordSwap(model.manifest.name, (performance.now() - started) / 1000);
  sendJson(response, describe(agent, entry));
}

function unloadAdapter(request: Request, response: Response, { repository }: ServerContext): void {
  const { model, agent, slot } = findAdapter(request, repository.model(parameter(request, "model")));
  const bank = bankOf(model);
  loadedEntry(bank.current, slot, agent);
  bank.unload(slot);
  sendJson(response, describe(agent, undefined));
}

function describeAdapter(request: Request, response: Response, { repository }: ServerContext): void {
  const { model, agent, slot } = findAdapter(request, repository.model(parameter(request, "model")));
  const bank = bankOf(model);
  const layers = bank.layers.map(({ name, in: inSize, out, rank, scale }) => ({
    name,
    in: inSize,
    out,
    rank,
    scale,
  }));
  sendJson(response, { ...describe(agent, bank.current.entries[slot]), layers });
}

function adapterReady(request: Request, response: Response, { repository }: ServerContext): void {
  const { model, agent, slot } = findAdapter(request, repository.model(parameter(request, "model")));
  loadedEntry(bankOf(model).current, slot, agent);
  sendJson(response, { name: agent, ready: true });
}

interface FoundAdapter {
  readonly model: PolicyModel;
  readonly agent: string;
  readonly slot: number;
}

function findAdapter(request: Request, model: PolicyModel): FoundAdapter {
  const agent = parameter(request, "adapter");
  return { model, agent, slot: model.agentIndex(agent) };
}

/** A named part of the path; every route that reads one has it. */
function parameter(request: Request, name: string): string {
  const value = request.params[name];
  return typeof value === "string" ? value : "";
}

/** The repository extension's words: name, version, state, reason; and ours. */
function describe(name: string, entry: AdapterEntry | undefined) {
  if (!entry) return { name, version: "", state: "UNAVAILABLE", reason: "unloaded" } as const;
  const { version, sha256, loadedAtMs } = entry;
  return {
    name,
    version: `${version}`,
    state: "READY",
    reason: "",
    sha256,
    loaded_at_ms: loadedAtMs,
  } as const;
}

function loadedAlready(agent: string): LorasaError {
  return new LorasaError("LORASA_EXISTS", {
    asked: `adapter ${agent}`,
    expected: "load_inplace true to replace the loaded one",
    received: "a load without it",
    mend: 'add "load_inplace": true to the parameters',
  });
}
