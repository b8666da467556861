/** One request after another over one connection, each awaited, for what is not load: probes, polls, checks. */
import { Connection, headerOf, type RawReply } from "./connection.ts";

export interface WholeReply extends RawReply {
  /** Lower-case names, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The body's JSON part as text. */
  readonly text: string;
  /** What follows it. */
  readonly binary: Buffer;
}

/** Connects when it is first asked and again after a loss. */
export class Caller {
  readonly #port: number;
  #connection: Connection | undefined;
  #settle: ((reply: WholeReply | Error) => void) | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  /** The reply's memory is its own. @throws Error when the connection is lost. */
  ask(request: Buffer): Promise<WholeReply> {
    this.#connection ??= this.#connect();
    const connection = this.#connection;
    return new Promise((resolve, reject) => {
      this.#settle = (reply) => (reply instanceof Error ? reject(reply) : resolve(reply));
      connection.send(request);
    });
  }

  close(): void {
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  #connect(): Connection {
    return new Connection(this.#port, {
      reply: (raw) => {
        // The server keeps its word: it answers no more on this connection.
        if (headerOf(raw.head, "connection") === "close") this.close();
        this.#settle?.(wholeReply(raw));
      },
      lost: (reason) => {
        this.#connection = undefined;
        this.#settle?.(new Error(`connection ${reason}`));
      },
    });
  }
}

/** Sends prepared bytes over a connection of their own. @throws Error when it is lost. */
export async function exchange(port: number, request: Buffer): Promise<WholeReply> {
  const caller = new Caller(port);
  try {
    return await caller.ask(request);
  } finally {
    caller.close();
  }
}

function wholeReply({ status, head, body }: RawReply): WholeReply {
  const own = Buffer.from(body);
  const jsonLength = Number(headerOf(head, "inference-header-content-length") ?? own.length);
  const text = own.toString("utf8", 0, jsonLength);
  return { status, head, headers: headersOf(head), body: own, text, binary: own.subarray(jsonLength) };
}

function headersOf(head: string): [string, string][] {
  return head
    .split("\r\n")
    .slice(1)
    .map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    });
}
