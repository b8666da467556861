/** What a server lets its connections do: how many, how slow, how long after it stops. Not what they ask. */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { Server as TlsServer } from "node:tls";
import { LorasaError } from "../../src/base/errors.ts";
import { HEADER_LIMIT_BYTES, HEADER_LIMIT_COUNT, SURPLUS_LIMIT } from "../limits.ts";
import type { Listener } from "./listen.ts";
import { sendJson } from "./reply.ts";

export interface ConnectionOptions {
  readonly maxConnections: number;
  /** For a whole request to arrive. */
  readonly requestTimeoutMs: number;
  /** Answers a request that is refused because there are too many connections. */
  failed(response: ServerResponse, error: unknown): void;
}

/** For a request's headers to arrive. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Longer than the minute after which balancers let go of a connection: the server is never the first. */
const KEEP_ALIVE_MS = 75_000;
/**
 * How many request timeouts may pass without a byte either way, as when a client does not read its reply: so many that
 * a request that is slow to arrive is answered before.
 */
const STALLED_FACTOR = 4;
/** How often slow clients are looked for. */
const CHECK_MS = 5_000;
/** How long a connection beyond the most may take to ask before it is closed without an answer. */
const SURPLUS_MS = 2_000;
const SWEEP_MS = 20;

/**
 * Settings that only the constructor of a server takes.
 * @param requestTimeoutMs for a whole request to arrive.
 */
export function serverSettings(requestTimeoutMs: number) {
  return {
    maxHeaderSize: HEADER_LIMIT_BYTES,
    requestTimeout: requestTimeoutMs,
    headersTimeout: Math.min(HEADERS_TIMEOUT_MS, requestTimeoutMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: Math.min(CHECK_MS, requestTimeoutMs),
  };
}

/** Hands on the requests of connections that keep to the limits, and waits for them in the end. */
export class Connections {
  readonly #server: Listener;
  readonly #options: ConnectionOptions;
  readonly #surplus = new WeakSet<Socket>();
  /** Replies that are not sent yet, by the connection that they wait for. */
  readonly #queued = new WeakMap<Socket, Set<ServerResponse>>();
  #open = 0;
  #requests = 0;
  #whenIdle: (() => void) | undefined;

  constructor(server: Listener, listener: RequestListener, options: ConnectionOptions) {
    this.#server = server;
    this.#options = options;
    server.timeout = STALLED_FACTOR * options.requestTimeoutMs;
    server.maxConnections = options.maxConnections + SURPLUS_LIMIT;
    // Node drops what is beyond this without a word: one more than allowed is enough to see that there are too many.
    server.maxHeadersCount = HEADER_LIMIT_COUNT + 1;
    const opened = server instanceof TlsServer ? "secureConnection" : "connection";
    server.on(opened, (socket: Socket) => this.#admit(socket));
    server.on("clientError", answerMalformed);
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#requests += 1;
      const queued = this.#queued.get(request.socket);
      queued?.add(response);
      response.once("close", () => {
        queued?.delete(response);
        this.#ended();
      });
      if (!this.#refuse(request, response)) listener(request, response);
    });
  }

  /** Requests that have begun and are not answered. */
  get requests(): number {
    return this.#requests;
  }

  /** Connections that are open. */
  get open(): number {
    return this.#open;
  }

  /**
   * Waits for the requests that have begun, listening on so that probes are answered; then lets nobody in, and ends
   * what is left. Once.
   */
  drain(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      let sweep: NodeJS.Timeout | undefined;
      const finish = (): void => {
        if (sweep) return;
        // A kept-alive connection becomes idle when its last request is answered: look again until none is left.
        sweep = setInterval(() => this.#server.closeIdleConnections(), SWEEP_MS);
        this.#server.close(() => {
          clearTimeout(timer);
          clearInterval(sweep);
          resolve();
        });
      };
      const timer = setTimeout(() => {
        finish();
        this.#server.closeAllConnections();
      }, timeoutMs);
      this.#whenIdle = finish;
      if (this.#requests === 0) finish();
    });
  }

  #admit(socket: Socket): void {
    this.#open += 1;
    const queued = new Set<ServerResponse>();
    this.#queued.set(socket, queued);
    socket.once("close", () => {
      this.#open -= 1;
      setImmediate(() => giveUp(queued));
    });
    if (this.#open <= this.#options.maxConnections) return;
    this.#surplus.add(socket);
    const timer = setTimeout(() => socket.destroy(), SURPLUS_MS);
    socket.once("close", () => clearTimeout(timer));
  }

  #ended(): void {
    this.#requests -= 1;
    if (this.#requests === 0) this.#whenIdle?.();
  }

  /** Whether the request was answered here. */
  #refuse(request: IncomingMessage, response: ServerResponse): boolean {
    if (this.#surplus.has(request.socket)) {
      this.#options.failed(response, tooManyConnections(this.#options.maxConnections));
      return true;
    }
    if (request.rawHeaders.length <= 2 * HEADER_LIMIT_COUNT) return false;
    response.setHeader("Connection", "close");
    sendJson(response, { error: `more than ${HEADER_LIMIT_COUNT} request headers` }, 431);
    return true;
  }
}

/**
 * Node tells only the reply that a connection was being sent that the connection is gone: those behind it, of requests
 * that a client sent ahead, would wait for ever.
 */
function giveUp(queued: ReadonlySet<ServerResponse>): void {
  for (const response of [...queued]) {
    response.destroy();
    response.emit("close");
  }
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
  // A client that keeps its half open would keep the connection's place.
  setTimeout(() => socket.destroy(), SURPLUS_MS).unref();
}

function tooManyConnections(most: number): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "connection",
    expected: `at most ${most} open at once`,
    received: "one more",
    mend: "try again",
  });
}
