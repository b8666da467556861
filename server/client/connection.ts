/**
 * One server's address and its kept-alive connections: sends a request, reads the reply whole, waits and sends again
 * where that is safe. Not what requests and replies mean.
 */
import { type Agent, type IncomingHttpHeaders, type RequestOptions, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { LorasaError } from "../../src/base/errors.ts";
import { authorization, parseAddress, plainAgent, tlsAgent } from "./address.ts";
import { unreachable } from "./failures.ts";

export interface ConnectionOptions {
  /** Sent with every request. */
  readonly token?: string;
  /** For a whole request, each time it is sent. Default 30,000. */
  readonly timeoutMs?: number;
  /** PEM file of the authorities that an `https:` server's certificate may come from (default: the system's). */
  readonly caFile?: string;
  /**
   * How often a request is sent again that found nobody listening, and, where it may happen twice as well as once
   * (inference without a sequence, most of the rest), that was refused for now (503) or lost its connection. Default 0.
   */
  readonly retries?: number;
  /** Longest wait before it is sent again; a server that asks for more is not asked again. Default 5,000. */
  readonly retryWaitMs?: number;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Request {
  readonly method: "GET" | "POST";
  /** Behind the base path of the server's address. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly body?: Buffer;
  /** Whether it may happen twice as well as once. */
  readonly repeatable: boolean;
}

const TIMEOUT_MS = 30_000;
const RETRY_WAIT_MS = 5_000;
/** The first wait when a server names none; it doubles each time. */
const BACKOFF_MS = 100;
const NOT_BEGUN: ReadonlySet<string> = new Set(["ECONNREFUSED"]);
const LOST: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"]);
/** Largest reply that is read, in bytes. */
const REPLY_LIMIT_BYTES = 256 * 2 ** 20;

/** Owns its sockets until `close`. */
export class Connection {
  readonly url: string;
  readonly #basePath: string;
  readonly #target: RequestOptions;
  readonly #agent: Agent;
  readonly #request: typeof requestHttp;
  readonly #authorization: Readonly<Record<string, string>> | undefined;
  readonly #options: ConnectionOptions;
  /** What ends the waits before a request is sent again. */
  readonly #waits = new Set<() => void>();
  #closed = false;

  /** @throws LORASA_FLAG for an address or token that cannot be used, LORASA_FILE for the file of authorities. */
  constructor(url: string, options: ConnectionOptions) {
    const parsed = parseAddress(url);
    const secure = parsed.protocol === "https:";
    this.url = url.replace(/\/$/, "");
    this.#basePath = parsed.pathname.replace(/\/$/, "");
    this.#options = options;
    this.#authorization = authorization(options.token);
    this.#agent = secure ? tlsAgent(options.caFile) : plainAgent(options.caFile);
    this.#request = secure ? requestHttps : requestHttp;
    this.#target = {
      agent: this.#agent,
      host: parsed.hostname.replace(/^\[|\]$/g, ""),
      port: parsed.port || (secure ? 443 : 80),
    };
  }

  /** @throws LORASA_SERVER when no whole reply comes, LORASA_DISPOSED after `close`; any status is a reply. */
  send(request: Request): Promise<Reply> {
    const { retries = 0 } = this.#options;
    return retries === 0 ? this.once(request) : this.#persist(request, retries);
  }

  async #persist(request: Request, retries: number): Promise<Reply> {
    for (let attempt = 0; ; attempt++) {
      const last = attempt >= retries;
      try {
        const reply = await this.once(request);
        if (reply.status !== 503 || last || !request.repeatable) return reply;
        const waitMs = this.#waitMs(attempt, reply.headers["retry-after"]);
        if (waitMs === undefined) return reply;
        await this.#pause(waitMs);
      } catch (error) {
        // Where nobody listened, nothing has begun.
        const again = NOT_BEGUN.has(codeOf(error)) || (LOST.has(codeOf(error)) && request.repeatable);
        if (last || !again) throw error;
        await this.#pause(this.#waitMs(attempt) ?? 0);
      }
    }
  }

  /** As {@link send}, without waiting for a server that is away or busy. */
  async once(request: Request): Promise<Reply> {
    try {
      return await this.#exchange(request);
    } catch (error) {
      if (!(error instanceof StaleConnection) || !request.repeatable) throw this.#failure(request, error);
    }
    try {
      return await this.#exchange(request);
    } catch (error) {
      throw this.#failure(request, error);
    }
  }

  /** Ends requests under way too. */
  close(): void {
    this.#closed = true;
    this.#agent.destroy();
    for (const end of this.#waits) end();
  }

  #exchange({ method, path, headers, body }: Request): Promise<Reply> {
    if (this.#closed) return Promise.reject(new Error("closed"));
    const timeoutMs = this.#options.timeoutMs ?? TIMEOUT_MS;
    const options = {
      ...this.#target,
      method,
      path: this.#basePath + path,
      headers: this.#authorization ? { ...headers, ...this.#authorization } : headers,
    };
    return new Promise((resolve, reject) => {
      const sent = this.#request(options, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > REPLY_LIMIT_BYTES)
            sent.destroy(new Error(`an answer of more than ${REPLY_LIMIT_BYTES} bytes`));
          else chunks.push(chunk);
        });
        response.on("error", (cause) => fail(cause));
        response.on("end", () => {
          clearTimeout(timer);
          const whole = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: whole });
        });
      });
      const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
      const fail = (cause: Error): void => {
        clearTimeout(timer);
        reject(cause);
      };
      sent.on("error", (cause: NodeJS.ErrnoException) => {
        // The server closed a kept-alive connection just as it was taken up again.
        fail(sent.reusedSocket && cause.code === "ECONNRESET" ? new StaleConnection(cause) : cause);
      });
      sent.end(body);
    });
  }

  #failure({ method, path }: Request, error: unknown): LorasaError {
    const asked = `${method} ${this.url}${path}`;
    if (this.#closed)
      return new LorasaError("LORASA_DISPOSED", {
        asked,
        expected: "an open client",
        received: "a closed one",
      });
    return unreachable(asked, error instanceof StaleConnection ? error.failure : (error as Error));
  }

  /** At least what the server asked for, spread so that clients do not all come back at once. */
  #waitMs(attempt: number, retryAfter?: string): number | undefined {
    const limit = this.#options.retryWaitMs ?? RETRY_WAIT_MS;
    const askedMs = retryAfterMs(retryAfter);
    if (askedMs !== undefined && askedMs > limit) return undefined;
    const least = askedMs ?? BACKOFF_MS * 2 ** attempt;
    return Math.min(limit, least * (1 + Math.random() / 2));
  }

  /** A closed client is told by the request that follows. */
  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#waits.delete(end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#waits.add(end);
    });
  }
}

/** A reused connection broke before any of a reply came. */
class StaleConnection extends Error {
  readonly failure: Error;

  constructor(failure: Error) {
    super(failure.message);
    this.failure = failure;
  }
}

/** The header's seconds or date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** The system's code of what a LORASA_SERVER error was made from; empty for a reply. */
function codeOf(error: unknown): string {
  if (!(error instanceof LorasaError)) return "";
  return (error.cause as NodeJS.ErrnoException | undefined)?.code ?? "";
}
