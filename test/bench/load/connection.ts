/**
 * One kept-alive connection that sends prepared bytes and finds where a reply ends: no HTTP library, so that the
 * load costs less than the server. Not what a reply says.
 */
import { connect, type Socket } from "node:net";

/** Largest reply that is read in one piece; longer ones are put together. */
const READ_BYTES = 256 * 1024;
const HEAD_END = Buffer.from("\r\n\r\n");

/** A view into the connection's memory: it is overwritten when the callback has returned. */
export interface RawReply {
  readonly status: number;
  /** From the status line to the empty line. */
  readonly head: string;
  readonly body: Buffer;
}

export interface ConnectionEvents {
  reply(reply: RawReply): void;
  /** Ended or broken by the other side, or malformed. Nothing comes after it. */
  lost(reason: string): void;
}

/** One request at a time: the next is sent after the reply to the last. */
export class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  #pending: Buffer | undefined;
  #done = false;

  constructor(port: number, events: ConnectionEvents) {
    this.#events = events;
    this.#socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(READ_BYTES),
        callback: (size, buffer) => {
          // The buffer is the one given here.
          this.#received((buffer as Buffer).subarray(0, size));
          return true;
        },
      },
    });
    this.#socket.on("error", ({ message }) => this.#lose(message));
    this.#socket.on("close", () => this.#lose("closed"));
  }

  /** Resolves when connected. */
  opened(): Promise<void> {
    return new Promise((resolve) => this.#socket.once("connect", resolve));
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** Ends it at once, whatever is under way. */
  destroy(): void {
    this.#done = true;
    this.#socket.destroy();
  }

  #received(chunk: Buffer): void {
    const bytes = this.#pending ? Buffer.concat([this.#pending, chunk]) : chunk;
    const headEnd = bytes.indexOf(HEAD_END);
    const head = headEnd < 0 ? "" : bytes.toString("latin1", 0, headEnd);
    const size = headEnd < 0 ? Number.POSITIVE_INFINITY : headEnd + 4 + contentLength(head);
    if (bytes.length < size) {
      // The chunk's memory is used again for the next one.
      this.#pending = this.#pending ? bytes : Buffer.from(bytes);
      return;
    }
    this.#pending = undefined;
    if (bytes.length > size) this.#lose(`${bytes.length - size} bytes after a reply`);
    else this.#events.reply({ status: Number(head.slice(9, 12)), head, body: bytes.subarray(headEnd + 4) });
  }

  #lose(reason: string): void {
    if (this.#done) return;
    this.#done = true;
    this.#socket.destroy();
    this.#events.lost(reason);
  }
}

/** Value of a header of a reply, if it has one. */
export function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.*?)\\r?$`, "im").exec(head)?.[1];
}

function contentLength(head: string): number {
  const length = /^content-length: *(\d+)/im.exec(head)?.[1];
  if (length === undefined) throw new Error(`a reply without Content-Length: ${head}`);
  return Number(length);
}
