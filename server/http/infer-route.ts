/** The action of `POST …/infer`: body in, reply out. Not how a request is parsed or run. */
import { LorasaError } from "../../src/base/errors.ts";
import { parseInferRequest } from "../protocol/infer-request.ts";
import { HEADER_LENGTH } from "../protocol/request.ts";
import { encodeInferReply } from "../protocol/response.ts";
import { readBody } from "./body.ts";
import { giveBuffer } from "./body-pool.ts";
import { sendInferReply } from "./reply.ts";
import type { Action } from "./routes.ts";

export const infer: Action = async (request, response, context, { model, version }) => {
  // Before the body is read: what is refused anyway need not arrive.
  if (!context.isReady()) throw stopping();
  const endpoint = context.service.endpoint(model, version);
  const header = request.headers[HEADER_LENGTH];
  const length = typeof header === "string" ? header : undefined;
  // Without the header all of the body is JSON.
  const inflatedLimitBytes = length === undefined ? context.jsonLimitBytes : context.bodyLimitBytes;
  const tensorsAt = Number(length) || 0;
  const body = await readBody(request, context.bodyLimitBytes, { tensorsAt, inflatedLimitBytes });
  // A slow client's time is not the server's.
  const started = performance.now();
  try {
    const parsed = parseInferRequest(body, length, endpoint.inputs, context.jsonLimitBytes);
    const result = await context.service.infer(endpoint, parsed, { cancelled: () => response.destroyed });
    sendInferReply(response, encodeInferReply({ id: parsed.id, ...result }));
  } finally {
    // Answers are memory of their own: with the answer, nothing reads the request any more.
    giveBuffer(body);
  }
  context.metrics.model(endpoint.model.manifest.name).recordRequest((performance.now() - started) / 1000);
};

function stopping(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "inference",
    expected: "a server that is ready",
    received: "one that is starting or stopping",
    mend: "try again",
  });
}
