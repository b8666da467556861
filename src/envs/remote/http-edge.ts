/** The HTTP server that simulators talk to: who may, which route, how large, in which form. Not what they are told. */
import { timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type ErrorCode, LorasaError } from "../../base/errors.ts";
import { sha256 } from "../../base/files.ts";
import { type Body, parseBody } from "./answer.ts";

const BINARY = "application/octet-stream";
const JSON_TYPE = "application/json";
/** Bytes of a registration. */
const REGISTRATION_LIMIT = 1 << 20;

/** What requests are answered with: a body in the form asked for, now or when there is something to say. */
export interface Routes {
  /** Bytes of the longest answer. */
  readonly answerLimit: () => number;
  readonly status: () => object;
  readonly register: (body: unknown) => object;
  /** `reply` is called once; the returned function is called when the request went away before. */
  readonly next: (
    name: string,
    body: Body,
    reply: (bytes: Buffer) => void,
    binary: boolean,
  ) => (() => void) | undefined;
  readonly leave: (name: string) => void;
}

export interface EdgeOptions {
  readonly routes: Routes;
  readonly token?: string;
  /** A connection may rest for so long: as long as a simulator may think. */
  readonly timeoutMs: number;
  /** A fault of ours, told apart from refused requests; the request is answered 500. */
  readonly onFault: (error: unknown) => void;
}

/** 409 tells a simulator that it is not, or no longer, part of the training. */
const STATUS: Partial<Record<ErrorCode, number>> = { LORASA_SIMULATOR: 409 };

/** A server that does not listen yet. */
export function createEdge(options: EdgeOptions): Server {
  const digest = options.token === undefined ? undefined : sha256(options.token);
  const server = createServer({ keepAliveTimeout: options.timeoutMs + 5000 }, (request, response) => {
    answer(request, response, options, digest).catch((error) => {
      if (!(error instanceof LorasaError)) options.onFault(error);
      sendError(request, response, error);
    });
  });
  return server;
}

/** Sends JSON or binary; later attempts on the same response are dropped. */
function send(response: ServerResponse, status: number, body: Buffer, type: string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, {
    "content-type": type,
    "content-length": body.length,
    "cache-control": "no-store",
  });
  response.end(body);
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { routes, timeoutMs }: EdgeOptions,
  digest: string | undefined,
): Promise<void> {
  authorize(request, digest);
  // Not as a URL: what a client sends need not be one.
  const pathname = (request.url ?? "/").split("?", 1)[0]!;
  const simulator = /^\/v1\/simulators\/([\w-]{1,64})(\/next)?$/.exec(pathname);
  const route = `${request.method} ${simulator ? (simulator[2] ? "next" : "simulator") : pathname}`;
  const json = (status: number, body: object): void =>
    send(response, status, Buffer.from(JSON.stringify(body)), JSON_TYPE);
  if (route === "GET /v1/status") return json(200, routes.status());
  if (route === "DELETE simulator") {
    routes.leave(simulator![1]!);
    return json(200, {});
  }
  if (route === "POST /v1/simulators") {
    const body = await readBody(request, REGISTRATION_LIMIT, timeoutMs);
    if (contentType(request) !== JSON_TYPE) throw refused("registration", JSON_TYPE, contentType(request));
    const { fields } = parseBody(body, false);
    return json(201, routes.register(fields));
  }
  if (route === "POST next") {
    const type = contentType(request);
    if (type !== JSON_TYPE && type !== BINARY)
      throw refused("content-type", `${JSON_TYPE} or ${BINARY}`, type);
    const binary = type === BINARY;
    const body = parseBody(await readBody(request, routes.answerLimit(), timeoutMs), binary);
    const cancel = routes.next(simulator![1]!, body, (bytes) => send(response, 200, bytes, type), binary);
    response.once("close", () => {
      if (!response.writableFinished) cancel?.();
    });
    return;
  }
  throw refused(
    "route",
    "POST /v1/simulators, POST /v1/simulators/NAME/next, DELETE /v1/simulators/NAME or GET /v1/status",
    `${request.method} ${pathname.slice(0, 100)}`,
  );
}

/** Pages in a browser cannot send these types without asking first, and nobody answers them. */
function contentType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "none").split(";", 1)[0]!.trim().toLowerCase();
}

/** Hashes have one length, so the time tells nothing of the token. */
function authorize(request: IncomingMessage, digest: string | undefined): void {
  if (digest === undefined) return;
  const given = /^bearer +(.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  const same = timingSafeEqual(Buffer.from(sha256(given ?? "")), Buffer.from(digest));
  if (same && given !== undefined) return;
  throw new LorasaError("LORASA_UNAUTHORIZED", {
    asked: "simulators",
    expected: "Authorization: Bearer and the training's token",
    received: given === undefined ? "none" : "another",
  });
}

/** The whole body. @throws LORASA_TOO_LARGE, or LORASA_CANCELLED when it ends early. */
function readBody(request: IncomingMessage, limit: number, timeoutMs: number): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let length = 0;
    const tooLarge = (): void =>
      reject(
        new LorasaError("LORASA_TOO_LARGE", {
          asked: "body",
          expected: `at most ${limit} bytes`,
          received: "more",
        }),
      );
    if (declared > limit) return tooLarge();
    const stopped = (): void =>
      reject(
        new LorasaError("LORASA_CANCELLED", { asked: "body", expected: "all of it", received: "a part" }),
      );
    const timer = setTimeout(stopped, timeoutMs);
    request.on("data", (piece: Buffer) => {
      length += piece.length;
      if (length > limit) return tooLarge();
      pieces.push(piece);
    });
    request.on("end", () => {
      clearTimeout(timer);
      resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
    });
    request.on("close", () => {
      clearTimeout(timer);
      stopped();
    });
    request.on("error", stopped);
  });
}

/** One line of JSON. A connection whose body was not read to its end is closed: nothing may follow it. */
function sendError(request: IncomingMessage, response: ServerResponse, error: unknown): void {
  const known = error instanceof LorasaError;
  const status = known ? (STATUS[error.code] ?? error.status) : 500;
  const text = known ? `${error.code}: ${error.message}` : "internal error";
  if (!request.complete && !response.headersSent) response.setHeader("connection", "close");
  send(response, status, Buffer.from(JSON.stringify({ error: text })), JSON_TYPE);
}

function refused(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", { asked, expected, received: received.slice(0, 120) });
}
