/** Actions of the routes that people and monitors look at: the status page and the metrics. */
import { sendText } from "./reply.ts";
import type { Action } from "./routes.ts";
import { renderStatusPage } from "./status-page.ts";

export const statusPage: Action = (_request, response, context) => {
  response.setHeader("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
  response.setHeader("X-Content-Type-Options", "nosniff");
  sendText(response, "text/html; charset=utf-8", renderStatusPage(context));
};

export const metricsText: Action = async (request, response, { metrics }) => {
  const { contentType, text } = await metrics.scrape(request.headers.accept);
  sendText(response, contentType, text);
};
