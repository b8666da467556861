/** Starts and stops a server: loads the repository, listens, drains, closes. Not how requests are answered. */
import { createServer, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { LorasaError } from "../src/base/errors.ts";
import { createRuntime } from "../src/runtime/onnxruntime.ts";
import type { Device } from "../src/runtime/session.ts";
import { ModelRepository } from "./engine/repository.ts";
import { createFailureReply, createHandler, type ServerContext } from "./http/handler.ts";
import { createManagement } from "./http/management.ts";
import { createGate } from "./http/token.ts";
import { BODY_LIMIT_BYTES, HEADER_LIMIT_BYTES } from "./limits.ts";
import { createMetrics } from "./operations/metrics.ts";

export interface ServerOptions {
  /** Folder of exported models. */
  readonly repository: string;
  /** Address to listen on. Default 127.0.0.1. */
  readonly host?: string;
  /** Default 8000; 0 takes a free one. */
  readonly port?: number;
  readonly device?: Device;
  /** Threads inside an operator. Default 1. */
  readonly threads?: number;
  /** Secret for management routes; without one they are switched off. */
  readonly token?: string;
  /** Allows an address other than this machine's own without a token. */
  readonly allowOpen?: boolean;
  /** Default 64 MiB. */
  readonly bodyLimitBytes?: number;
  /** How long `close` waits for requests that have begun. Default 30,000. */
  readonly drainTimeoutMs?: number;
  /** Told of faults that a reply only hints at. Default: standard error. */
  readonly onFault?: (error: unknown) => void;
}

export interface RunningServer {
  /** Such as `http://127.0.0.1:8000`. */
  readonly url: string;
  /** Refuses inference, answers what has begun, then closes and frees the models. A second call awaits the first. */
  close(): Promise<void>;
}

/** Clients that are slow to send hold a connection this long at most. */
const TIMEOUTS_MS = { headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 75_000 };

const SWEEP_MS = 20;

/**
 * Loads every model, then listens; nothing is left behind when it fails.
 * @throws LORASA_PORT when the address cannot be listened on, LORASA_FORBIDDEN for an open address without a token,
 *   and what loading a repository throws.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const host = options.host ?? "127.0.0.1";
  refuseOpen(host, options);
  const runtime = createRuntime(options.device ?? "cpu");
  const repository = new ModelRepository(options.repository, { runtime, threads: options.threads ?? 1 });
  const metrics = createMetrics(repository);
  let ready = false;
  const context: ServerContext = {
    repository,
    metrics,
    bodyLimitBytes: options.bodyLimitBytes ?? BODY_LIMIT_BYTES,
    isReady: () => ready,
    failed: createFailureReply(metrics, options.onFault ?? reportFault),
  };
  const management = createManagement(context, createGate(options.token));
  const server = createServer({ maxHeaderSize: HEADER_LIMIT_BYTES }, createHandler(context, management));
  Object.assign(server, TIMEOUTS_MS);
  server.on("clientError", answerMalformed);
  try {
    await listen(server, host, options.port ?? 8000);
  } catch (error) {
    repository.dispose();
    throw error;
  }
  server.on("error", options.onFault ?? reportFault);
  ready = true;
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    ready = false;
    await drain(server, options.drainTimeoutMs ?? 30_000);
    repository.dispose();
  };
  return {
    url: serverUrl(server),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

function refuseOpen(host: string, { token, allowOpen }: ServerOptions): void {
  const own = host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
  if (own || token !== undefined || allowOpen) return;
  throw new LorasaError("LORASA_FORBIDDEN", {
    asked: `listening on ${host}`,
    expected: "a token, since other machines can reach it",
    received: "none",
    mend: "give --token-file, listen on 127.0.0.1, or allow it explicitly",
  });
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => reject(portError(host, port, cause)));
    server.listen(port, host, resolve);
  });
}

const PORT_CAUSES: Readonly<Record<string, string>> = {
  EADDRINUSE: "one that is in use",
  EACCES: "one that needs more rights",
  EADDRNOTAVAIL: "an address that this machine does not have",
  ENOTFOUND: "a name that has no address",
};

function portError(host: string, port: number, cause: NodeJS.ErrnoException): LorasaError {
  return new LorasaError("LORASA_PORT", {
    asked: `listening on ${host}:${port}`,
    expected: "a free address",
    received: PORT_CAUSES[cause.code ?? ""] ?? cause.message,
    mend: "choose another with --port, or --port 0 for any free one",
    cause,
  });
}

function serverUrl(server: Server): string {
  // A server that listens on a port has an address of this form.
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** Waits for requests that have begun, then ends what is left. */
function drain(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
    // A kept-alive connection becomes idle when its last request is answered: look again until none is left.
    const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
    server.close(() => {
      clearTimeout(timer);
      clearInterval(sweep);
      resolve();
    });
  });
}

const MALFORMED: Readonly<Record<string, readonly [status: string, text: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "request headers are too long"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request took too long to arrive"],
};

/** What is not HTTP never becomes a request: answered on the socket. */
function answerMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, text] = MALFORMED[error.code ?? ""] ?? ["400 Bad Request", "malformed HTTP"];
  const body = JSON.stringify({ error: text });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function reportFault(error: unknown): void {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`lorasa server: ${text}\n`);
}
