/**
 * Requests at a given rate, whatever the server does: a latency counts from the moment at which a request was due, so
 * that a server that stalls is not spared the requests that waited. Not how a reply is checked.
 */
import { Random } from "../../../src/base/random.ts";
import { Connection, type RawReply } from "./connection.ts";
import type { Latencies } from "./latencies.ts";

export interface OpenLoop {
  readonly port: number;
  /** Requests under way at once; one that finds none free waits, and its waiting counts. */
  readonly connections: number;
  readonly requestsPerSecond: number;
  /** At random moments, as of many clients that know nothing of each other, or evenly spaced. */
  readonly arrivals: "poisson" | "even";
  readonly durationMs: number;
  request(connection: number): Buffer;
  reply(reply: RawReply, connection: number): void;
  /** A connection broke with a request under way; it is opened again. */
  lost(reason: string): void;
}

export interface OpenResult {
  readonly sent: number;
  readonly unanswered: number;
  /** How late requests were sent that found a connection free, 99th percentile: the load's own fault. */
  readonly lateP99Us: number;
}

const ANSWER_TIMEOUT_MS = 5000;

/** Adds the latency of each reply. */
export async function runOpenLoop(
  loop: OpenLoop,
  latencies: Latencies,
  late: Latencies,
): Promise<OpenResult> {
  const pool = new ConnectionPool(loop, latencies);
  await pool.open();
  const random = new Random(1);
  const gapMs = 1000 / loop.requestsPerSecond;
  const nextGap = (): number => (loop.arrivals === "even" ? gapMs : -Math.log(1 - random.uniform()) * gapMs);
  const started = performance.now();
  const end = started + loop.durationMs;
  let due = started + nextGap();
  let sent = 0;
  await new Promise<void>((resolve) => {
    // Turned over as fast as it goes: a timer's millisecond is too coarse for these rates.
    const turn = (): void => {
      const now = performance.now();
      while (due <= now && due < end && pool.free > 0) {
        if (!pool.waited) late.add(now - due);
        pool.send(due);
        sent += 1;
        due += nextGap();
      }
      pool.waited = due <= now;
      const over = due >= end && (pool.free === loop.connections || now > end + ANSWER_TIMEOUT_MS);
      if (over) resolve();
      else setImmediate(turn);
    };
    turn();
  });
  const unanswered = loop.connections - pool.free;
  pool.close();
  return { sent, unanswered, lateP99Us: late.summary().p99Us };
}

class ConnectionPool {
  readonly #loop: OpenLoop;
  readonly #latencies: Latencies;
  readonly #connections: Connection[] = [];
  readonly #dueMs: Float64Array;
  readonly #free: number[] = [];
  /** Whether the next request found no connection free when it was due. */
  waited = false;

  constructor(loop: OpenLoop, latencies: Latencies) {
    this.#loop = loop;
    this.#latencies = latencies;
    this.#dueMs = new Float64Array(loop.connections);
  }

  get free(): number {
    return this.#free.length;
  }

  async open(): Promise<void> {
    for (let at = 0; at < this.#loop.connections; at++) await this.#connect(at);
  }

  send(due: number): void {
    const at = this.#free.pop()!;
    this.#dueMs[at] = due;
    this.#connections[at]!.send(this.#loop.request(at));
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  async #connect(at: number): Promise<void> {
    const connection = new Connection(this.#loop.port, {
      reply: (reply) => {
        this.#latencies.add(performance.now() - this.#dueMs[at]!);
        this.#loop.reply(reply, at);
        this.#free.push(at);
      },
      lost: (reason) => {
        if (!this.#free.includes(at)) this.#loop.lost(reason);
        else this.#free.splice(this.#free.indexOf(at), 1);
        this.#connect(at);
      },
    });
    this.#connections[at] = connection;
    await connection.opened();
    this.#free.push(at);
  }
}
