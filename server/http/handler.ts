/**
 * Answers the routes that clients call all the time, straight on `node:http`; everything else goes to the
 * management application.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import type { Endpoint } from "../engine/policy-model.ts";
import type { ModelRepository } from "../engine/repository.ts";
import type { Metrics } from "../operations/metrics.ts";
import { modelMetadata, serverMetadata } from "../protocol/metadata.ts";
import { HEADER_LENGTH, type InferRequest, parseInferRequest } from "../protocol/request.ts";
import { encodeInferReply } from "../protocol/response.ts";
import { readBody } from "./body.ts";
import { describeError, sendError, sendInferReply, sendJson } from "./reply.ts";

/** What every route works with. */
export interface ServerContext {
  readonly repository: ModelRepository;
  readonly metrics: Metrics;
  readonly bodyLimitBytes: number;
  /** False while starting and stopping: inference is refused then. */
  isReady(): boolean;
  /** Answers with an error, counts it, and reports it when it is a fault of the server. */
  failed(response: ServerResponse, error: unknown): void;
}

/** Parts of a path: model name and version, where the route has them. */
interface RouteMatch {
  readonly model: string;
  readonly version: string | undefined;
}

interface HotRoute {
  readonly verb: "GET" | "POST";
  readonly path: RegExp;
  readonly act: (
    request: IncomingMessage,
    response: ServerResponse,
    context: ServerContext,
    match: RouteMatch,
  ) => Promise<void> | void;
}

const MODEL = String.raw`^/v2/models/(?<model>[^/]+)(?:/versions/(?<version>\d+))?`;

/** In the order of how often they are called. */
const ROUTES: readonly HotRoute[] = [
  { verb: "POST", path: new RegExp(`${MODEL}/infer$`), act: infer },
  { verb: "GET", path: /^\/v2\/health\/live$/, act: (_, response) => sendJson(response, { live: true }) },
  { verb: "GET", path: /^\/v2\/health\/ready$/, act: serverReady },
  { verb: "GET", path: new RegExp(`${MODEL}/ready$`), act: modelReady },
  { verb: "GET", path: new RegExp(`${MODEL}$`), act: describeModel },
  { verb: "GET", path: /^\/v2\/?$/, act: (_, response) => sendJson(response, serverMetadata()) },
];

/** @param rest answers what no hot route does. */
export function createHandler(context: ServerContext, rest: RequestListener): RequestListener {
  return (request, response) => {
    context.metrics.requestBegan();
    response.once("close", context.metrics.requestEnded);
    const url = request.url ?? "/";
    const query = url.indexOf("?");
    const path = query < 0 ? url : url.slice(0, query);
    for (const route of ROUTES) {
      const match = route.path.exec(path);
      if (match === null) continue;
      if (request.method === route.verb) run(route, request, response, context, match.groups);
      else wrongVerb(response, route.verb);
      return;
    }
    rest(request, response);
  };
}

async function run(
  route: HotRoute,
  request: IncomingMessage,
  response: ServerResponse,
  context: ServerContext,
  groups: Readonly<Record<string, string | undefined>> | undefined,
): Promise<void> {
  try {
    const match = { model: decodeName(groups?.["model"] ?? ""), version: groups?.["version"] };
    await route.act(request, response, context, match);
  } catch (error) {
    context.failed(response, error);
  }
}

async function infer(
  request: IncomingMessage,
  response: ServerResponse,
  context: ServerContext,
  { model, version }: RouteMatch,
): Promise<void> {
  const started = performance.now();
  if (!context.isReady()) throw stopping();
  const endpoint = context.repository.endpoint(model, version);
  const body = await readBody(request, context.bodyLimitBytes);
  const header = request.headers[HEADER_LENGTH];
  const parsed = parseInferRequest(body, typeof header === "string" ? header : undefined, endpoint.inputs);
  const result = endpoint.model.infer(endpoint, parsed);
  sendInferReply(
    response,
    encodeInferReply({
      id: parsed.id,
      modelName: endpoint.name,
      modelVersion: endpoint.model.manifest.version,
      parameters: result.parameters,
      outputs: chosenOutputs(parsed, result.outputs),
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  context.metrics.model(endpoint.model).recordInference(seconds, result.computeSeconds, result.rows);
}

type Outputs = ReturnType<Endpoint["model"]["infer"]>["outputs"];

/** The outputs that were asked for, in the order of the request; all of them when none were named. */
function chosenOutputs({ outputs: asked, binaryDefault }: InferRequest, outputs: Outputs) {
  if (!asked) return outputs.map((tensor) => ({ tensor, binary: binaryDefault }));
  return asked.flatMap(({ name, binary }) => {
    const tensor = outputs.find((output) => output.name === name);
    return tensor ? [{ tensor, binary }] : [];
  });
}

function serverReady(_request: IncomingMessage, response: ServerResponse, context: ServerContext): void {
  sendJson(response, { ready: context.isReady() }, context.isReady() ? 200 : 503);
}

function modelReady(
  _request: IncomingMessage,
  response: ServerResponse,
  context: ServerContext,
  { model, version }: RouteMatch,
): void {
  const { name } = context.repository.endpoint(model, version);
  sendJson(response, { name, ready: context.isReady() }, context.isReady() ? 200 : 503);
}

function describeModel(
  _request: IncomingMessage,
  response: ServerResponse,
  { repository }: ServerContext,
  { model, version }: RouteMatch,
): void {
  sendJson(response, modelMetadata(repository.endpoint(model, version)));
}

function wrongVerb(response: ServerResponse, allowed: string): void {
  response.setHeader("Allow", allowed);
  sendJson(response, { error: "Method Not Allowed" }, 405);
}

function decodeName(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new LorasaError("LORASA_REQUEST", {
      asked: "model name in the path",
      expected: "percent-encoded UTF-8",
      received: "something else",
    });
  }
}

function stopping(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "inference",
    expected: "a server that is ready",
    received: "one that is starting or stopping",
    mend: "try again",
  });
}

/** A context's `failed`: status and text by the error's code. */
export function createFailureReply(
  metrics: Metrics,
  report: (error: unknown) => void,
): ServerContext["failed"] {
  return (response, error) => {
    metrics.recordRejected(error instanceof LorasaError ? error.code : "internal");
    if (describeError(error).status >= 500) report(error);
    sendError(response, error);
  };
}
