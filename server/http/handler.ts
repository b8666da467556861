/**
 * Every request's way in: its route, then the gate, then the route's action. What clients call all the time is
 * answered right here on `node:http`; the rest is handed to the management application.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import type { LocalPolicyService } from "../engine/policy-service.ts";
import type { ServedModel } from "../engine/service.ts";
import type { Log } from "../operations/log.ts";
import type { Metrics } from "../operations/metrics.ts";
import { createManagement } from "./management.ts";
import { createMatcher, type Found } from "./matcher.ts";
import { describeError, sendJson } from "./reply.ts";
import { HOT_ROUTES, ROUTES, type Route } from "./routes.ts";
import type { Authorize } from "./token.ts";

/** What every route works with. */
export interface ServerContext {
  readonly service: LocalPolicyService;
  readonly metrics: Metrics;
  /** Of a request's body, as it arrives and inflated. */
  readonly bodyLimitBytes: number;
  /** Of the JSON in a request for inference. */
  readonly jsonLimitBytes: number;
  /** What the protocol's metadata extension and its configuration say of a model. */
  metadata(model: ServedModel): object;
  config(model: ServedModel): object;
  /** The only folder that an adapter's `path` may lead into. */
  adapterRoot(model: string): string;
  /** False while starting and stopping: inference and management are refused then. */
  isReady(): boolean;
  /** Answers with an error, counts and tells it; where it is a fault of the server, with all that is known of it. */
  failed(response: ServerResponse, error: unknown, route?: Route): void;
}

export interface Doorway {
  /** Asked before every route, by its role. */
  readonly authorize: Authorize;
  /** Comes before every path, such as `/lorasa`; empty for none. */
  readonly basePath: string;
}

export function createHandler(context: ServerContext, { authorize, basePath }: Doorway): RequestListener {
  const find = createMatcher(ROUTES, basePath);
  const hot = new Set(HOT_ROUTES);
  const manage = createManagement(context, basePath);
  const enter = async (request: IncomingMessage, response: ServerResponse, route: Route, names: Names) => {
    try {
      authorize(route.role, request.headers.authorization);
      if (names instanceof LorasaError) throw names;
      if (!context.isReady()) refuseStopping(route, response);
      if (hot.has(route)) await route.act(request, response, context, names);
      else manage(request, response, names);
    } catch (error) {
      context.failed(response, error, route);
    }
  };
  return (request, response) => {
    context.metrics.requestBegan();
    response.once("close", context.metrics.requestEnded);
    const found = find(request.url ?? "");
    const route = found?.verbs.get(request.method ?? "");
    if (!found) sendJson(response, { error: "Not Found" }, 404);
    else if (!route) wrongVerb(response, found.verbs);
    else enter(request, response, route, found.match);
  };
}

type Names = Found["match"];

function wrongVerb(response: ServerResponse, verbs: ReadonlyMap<string, Route>): void {
  response.setHeader("Allow", [...verbs.keys()].join(", "));
  sendJson(response, { error: "Method Not Allowed" }, 405);
}

/** While stopping, health and what describes the server are still answered, each connection once. */
function refuseStopping(route: Route, response: ServerResponse): void {
  response.setHeader("Connection", "close");
  if (route.role !== "manage") return;
  throw new LorasaError("LORASA_UNAVAILABLE", {
    asked: "management",
    expected: "a server that is ready",
    received: "one that is starting or stopping",
    mend: "try again",
  });
}

/** Counts and tells errors of any door; a fault of the server is told with all that is known of it. */
export type Failures = (error: unknown, where: string) => void;

export function createFailures(
  metrics: Pick<Metrics, "recordRejected">,
  log: Pick<Log, "requestFailed" | "fault">,
): Failures {
  return (error, where) => {
    const code = error instanceof LorasaError ? error.code : "internal";
    const { status } = describeError(error);
    metrics.recordRejected(code);
    log.requestFailed({ code, status, route: where });
    // Being full or about to stop is told to the client and is nobody's fault.
    if (status >= 500 && code !== "LORASA_UNAVAILABLE") log.fault(error);
  };
}
