/** HTTP as bytes on a socket, for requests that no client would send. Not a client of the server's protocol. */
import { connect, type Socket } from "node:net";

/** A reply as it came: header names in lower case, the body as it was sent. */
export interface RawReply {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

/** What came back on a connection. */
export interface Exchanged {
  readonly replies: readonly RawReply[];
  /** Bytes that are no whole reply. */
  readonly rest: Buffer;
  /** Whether the server closed, or broke off, within the bound. */
  readonly closed: boolean;
}

export interface ExchangeOptions {
  /** Closes our half after the bytes, so that nothing more can be waited for. Default true. */
  readonly end?: boolean;
  /** Whether the replies have no bodies. */
  readonly head?: boolean;
  /** For everything to come back. Default 10,000. */
  readonly boundMs?: number;
}

/** Sends bytes and takes what comes back until the server closes or the bound is over. Never rejects. */
export function exchange(
  port: number,
  bytes: Buffer | string,
  { end = true, head = false, boundMs = 10_000 }: ExchangeOptions = {},
): Promise<Exchanged> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const finish = (closed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      const { replies, rest } = parseReplies(Buffer.concat(pieces), head);
      resolve({ replies, rest, closed });
    };
    const timer = setTimeout(() => finish(false), boundMs);
    socket.on("connect", () => (end ? socket.end(bytes) : socket.write(bytes)));
    socket.on("data", (chunk) => pieces.push(chunk));
    socket.on("end", () => finish(true));
    // A reset is a way to close.
    socket.on("error", () => finish(true));
  });
}

/** A kept-alive connection: one request at a time, opened again when the server has closed it. */
export class RawConnection {
  readonly #port: number;
  #socket: Socket | undefined;
  #received = Buffer.alloc(0);
  #waiting: ((reply: RawReply | undefined) => void) | undefined;
  #head = false;

  constructor(port: number) {
    this.#port = port;
  }

  /**
   * The reply to one whole request; undefined when the connection was closed without one.
   * @param head whether the reply has no body.
   * @param pieces in which it is sent, a turn of the event loop between them.
   * @throws Error when neither comes within the bound.
   */
  ask(bytes: Buffer, { head = false, boundMs = 10_000, pieces = 1 } = {}): Promise<RawReply | undefined> {
    this.#socket ??= this.#open();
    this.#head = head;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.close();
        reject(new Error(`no reply within ${boundMs} ms`));
      }, boundMs);
      this.#waiting = (reply) => {
        clearTimeout(timer);
        this.#waiting = undefined;
        // Keeps nothing of a connection that the server is about to close.
        if (reply === undefined || reply.headers.get("connection") === "close") this.close();
        resolve(reply);
      };
      if (this.#socket) writePieces(this.#socket, bytes, Math.ceil(bytes.length / pieces));
    });
  }

  /** A request that waits is answered with nothing. */
  close(): void {
    this.#socket?.destroy();
    this.#socket = undefined;
    this.#received = Buffer.alloc(0);
    this.#waiting?.(undefined);
  }

  #open(): Socket {
    const socket = connect(this.#port, "127.0.0.1");
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#take();
    });
    const lost = (): void => {
      if (this.#socket === socket) this.#waiting?.(undefined);
    };
    socket.on("close", lost);
    socket.on("error", lost);
    return socket;
  }

  /** Hands on a whole reply; those of 1xx come before it and are none. */
  #take(): void {
    const found = parseReply(this.#received, 0, this.#head);
    if (!found) return;
    this.#received = this.#received.subarray(found.end);
    if (found.reply.status >= 200) this.#waiting?.(found.reply);
    else this.#take();
  }
}

function writePieces(socket: Socket, bytes: Buffer, length: number): void {
  socket.write(bytes.subarray(0, length));
  if (bytes.length > length) setImmediate(writePieces, socket, bytes.subarray(length), length);
}

/** A request's bytes, with the Content-Length of its body unless the headers say something of it. */
export function requestBytes(
  verb: string,
  path: string,
  headers: readonly (readonly [string, string])[] = [],
  body: Buffer | string = "",
): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  const framed = headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
  const length = framed ? "" : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  const head = `${verb} ${path} HTTP/1.1\r\nHost: x\r\n${lines}${length}\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)]);
}

/** Replies one after the other; the last one may end with the connection. Those of 1xx are left out. */
function parseReplies(bytes: Buffer, head: boolean): { replies: RawReply[]; rest: Buffer } {
  const replies: RawReply[] = [];
  let at = 0;
  for (let found = parseReply(bytes, at, head); found; found = parseReply(bytes, at, head)) {
    at = found.end;
    if (found.reply.status >= 200) replies.push(found.reply);
  }
  return { replies, rest: bytes.subarray(at) };
}

/** The whole reply at a position, and where it ends; undefined while there is none. */
function parseReply(
  bytes: Buffer,
  at: number,
  head: boolean,
): { readonly reply: RawReply; readonly end: number } | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n", at);
  if (headEnd < 0) return undefined;
  const [first = "", ...lines] = bytes.toString("latin1", at, headEnd).split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(`${first} `)?.[1]);
  if (!Number.isInteger(status)) return undefined;
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const start = headEnd + 4;
  const bare = head || status < 200 || status === 204 || status === 304;
  const end = bare ? start : bodyEnd(bytes, start, headers);
  if (end === undefined || end > bytes.length) return undefined;
  return { reply: { status, headers, body: bytes.subarray(start, end) }, end };
}

/** The server writes whole bodies of a known length; Node itself answers some requests with an empty chunked one. */
function bodyEnd(bytes: Buffer, start: number, headers: ReadonlyMap<string, string>): number | undefined {
  const length = headers.get("content-length");
  if (length !== undefined) return start + Number(length);
  if (headers.get("transfer-encoding") !== "chunked") return bytes.length;
  const end = bytes.indexOf("0\r\n\r\n", start);
  return end < 0 ? undefined : end + 5;
}
