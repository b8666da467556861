/** Writes replies: JSON, text, and errors as `{"error": "CODE: message"}`, never a stack trace or a path. */
import type { ServerResponse } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import type { EncodedReply } from "../protocol/response.ts";

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  const text = JSON.stringify(value);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendText(response: ServerResponse, contentType: string, text: string): void {
  response.writeHead(200, { "Content-Type": contentType, "Content-Length": Buffer.byteLength(text) });
  response.end(text);
}

/** An inference reply; the header that says where its JSON ends is set only when bytes follow. */
export function sendInferReply(response: ServerResponse, { json, jsonBytes, tensors }: EncodedReply): void {
  if (tensors.length === 0) {
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": jsonBytes });
    response.end(json);
    return;
  }
  const body = Buffer.concat([Buffer.from(json), ...tensors]);
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": jsonBytes,
    "Content-Length": body.length,
  });
  response.end(body);
}

/** Status and text of an error. What is not the client's doing is told by its code alone. */
export function describeError(error: unknown): { readonly status: number; readonly text: string } {
  if (!(error instanceof LorasaError)) return { status: 500, text: "internal error" };
  const inside = error.status >= 500 && error.code !== "LORASA_UNAVAILABLE";
  return {
    status: error.status,
    text: inside ? `${error.code}: internal error` : `${error.code}: ${error.message}`,
  };
}

/** Sends an error, or ends the connection when a reply has begun. */
export function sendError(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, text } = describeError(error);
  // The body of a refused request is not read to its end.
  if (status === 413 || status === 503) response.setHeader("Connection", "close");
  if (status === 401) response.setHeader("WWW-Authenticate", "Bearer");
  if (status === 503) response.setHeader("Retry-After", "1");
  sendJson(response, { error: text }, status);
}
