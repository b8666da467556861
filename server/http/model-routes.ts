/** Actions of the routes that say whether the server and its models are there, and what they are. */
import { serverMetadata } from "../protocol/metadata.ts";
import { sendJson } from "./reply.ts";
import type { Action } from "./routes.ts";

/** Also while the server stops: what is not alive gets killed before it has answered everybody. */
export const serverLive: Action = (_request, response) => sendJson(response, { live: true });

export const serverReady: Action = (_request, response, context) =>
  sendJson(response, { ready: context.isReady() }, context.isReady() ? 200 : 503);

export const modelReady: Action = (_request, response, { service, isReady }, { model, version }) => {
  const { name } = service.endpoint(model, version);
  sendJson(response, { name, ready: isReady() }, isReady() ? 200 : 503);
};

export const describeModel: Action = (_request, response, { service, metadata }, { model, version }) =>
  sendJson(response, metadata(service.endpoint(model, version)));

export const configureModel: Action = (_request, response, { service, config }, { model, version }) =>
  sendJson(response, config(service.endpoint(model, version)));

export const describeServer: Action = (_request, response) => sendJson(response, serverMetadata());
