/** The routes that are not hot, as an Express application. Which route it is and who may call it is decided before. */
import type { IncomingMessage, ServerResponse } from "node:http";
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import type { ServerContext } from "./handler.ts";
import { sendJson } from "./reply.ts";
import { MANAGEMENT_ROUTES, type RouteMatch } from "./routes.ts";

/** Answers a request whose route was found and that may call it. */
type Management = (request: IncomingMessage, response: ServerResponse, match: RouteMatch) => void;

/** @param basePath comes before every path, such as `/lorasa`; empty for none. */
export function createManagement(context: ServerContext, basePath: string): Management {
  // The names were read and checked when the route was found: Express's own reading of them is not used.
  const matches = new WeakMap<IncomingMessage, RouteMatch>();
  const app = strictExpress();
  for (const route of MANAGEMENT_ROUTES) {
    app[METHODS[route.verb]](basePath + route.path, async (request: Request, response: Response) => {
      try {
        await route.act(request, response, context, matches.get(request) ?? NO_NAMES);
      } catch (error) {
        context.failed(response, error, route);
      }
    });
  }
  app.use((_request, response) => sendJson(response, { error: "Not Found" }, 404));
  // Express tells an error handler by its four parameters.
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    context.failed(response, error);
  });
  return (request, response, match) => {
    matches.set(request, match);
    app(request, response);
  };
}

const NO_NAMES: RouteMatch = { model: "", version: undefined, adapter: "" };

const METHODS = { GET: "get", POST: "post" } as const;

function strictExpress(): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.enable("strict routing");
  app.set("query parser", false);
  return app;
}
