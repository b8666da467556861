/**
 * Writes replies: JSON, text, tensors, and errors as `{"error": "CODE: message"}`, never a stack trace or a path.
 * Large ones are compressed for clients that ask for it.
 */
import type { OutgoingHttpHeaders, ServerResponse } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import { COMPRESSED_LEAST_BYTES, PIECES_LEAST_BYTES } from "../limits.ts";
import type { EncodedReply } from "../protocol/response.ts";
import { type Coding, deflateBody, replyCoding } from "./compression.ts";

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  const text = JSON.stringify(value);
  // Never compressed: a client that takes gzip in every request may inflate inference replies only.
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
  });
  response.end(text);
}

export function sendText(response: ServerResponse, contentType: string, text: string): void {
  send(response, 200, { "Content-Type": contentType }, text, Buffer.byteLength(text));
}

/** Done, and nothing to say: what the repository extension answers to load and unload. */
export function sendEmpty(response: ServerResponse): void {
  response.writeHead(200, { "Content-Length": 0 });
  response.end();
}

/**
 * An inference reply. The header that says where its JSON ends is set only when bytes follow, and counts the JSON as
 * it is before compression.
 */
export function sendInferReply(response: ServerResponse, { json, jsonBytes, tensors }: EncodedReply): void {
  if (tensors.length === 0) {
    send(response, 200, { "Content-Type": "application/json" }, json, jsonBytes);
    return;
  }
  const bytes = tensors.reduce((sum, { length }) => sum + length, jsonBytes);
  const headers = {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": jsonBytes,
  };
  if (bytes >= PIECES_LEAST_BYTES && negotiate(response) === undefined) {
    sendPieces(response, { ...headers, "Content-Length": bytes }, json, tensors);
  } else send(response, 200, headers, joinReply(json, bytes, tensors), bytes);
}

/** One write to the socket, without a copy of the tensors. */
function sendPieces(
  response: ServerResponse,
  headers: OutgoingHttpHeaders,
  json: string,
  tensors: readonly Uint8Array[],
): void {
  response.writeHead(200, headers);
  response.cork();
  response.write(json);
  for (const tensor of tensors) response.write(tensor);
  response.end();
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

/** One buffer: the JSON, then the tensors in order. */
function joinReply(json: string, bytes: number, tensors: readonly Uint8Array[]): Buffer {
  const body = Buffer.allocUnsafe(bytes);
  let at = body.write(json);
  for (const tensor of tensors) {
    body.set(tensor, at);
    at += tensor.length;
  }
  return body;
}

function send(
  response: ServerResponse,
  status: number,
  headers: OutgoingHttpHeaders,
  body: string | Buffer,
  bytes: number,
): void {
  const coding = bytes < COMPRESSED_LEAST_BYTES ? undefined : negotiate(response);
  if (coding === undefined) {
    headers["Content-Length"] = bytes;
    response.writeHead(status, headers);
    response.end(body);
    return;
  }
  deflateBody(typeof body === "string" ? Buffer.from(body) : body, coding, (sent) => {
    // The client may be gone by now.
    if (response.headersSent || response.destroyed) return;
    if (sent.coding) response.setHeader("Content-Encoding", sent.coding);
    response.writeHead(status, { ...headers, "Content-Length": sent.body.length });
    response.end(sent.body);
  });
}

/** Caches between are told that the answer depends on what was asked for. */
function negotiate(response: ServerResponse): Coding | undefined {
  response.setHeader("Vary", "Accept-Encoding");
  const accepted = response.req.headers["accept-encoding"];
  return replyCoding(Array.isArray(accepted) ? accepted.join(",") : accepted);
}
