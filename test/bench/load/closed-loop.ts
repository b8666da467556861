/** As many requests as connections, each sending its next when the reply to its last is there. Not at a given rate. */
import { Connection, type RawReply } from "./connection.ts";
import type { Latencies } from "./latencies.ts";

export interface ClosedLoop {
  readonly port: number;
  readonly connections: number;
  /** Ends with whichever of the two comes first; one at least is given. */
  readonly durationMs?: number;
  /** Requests of each connection. */
  readonly count?: number;
  /** Bytes of the n-th request of a connection. */
  request(connection: number, n: number): Buffer;
  /** Told of every reply but those that end the run; it fails the run by throwing. */
  check?(reply: RawReply, connection: number, n: number): void;
}

/**
 * Runs for a while and adds the latency of each reply.
 * @returns seconds from the first request to the last reply.
 */
export async function runClosedLoop(loop: ClosedLoop, latencies: Latencies): Promise<number> {
  const started = performance.now();
  const end = started + (loop.durationMs ?? Number.POSITIVE_INFINITY);
  await Promise.all(Array.from({ length: loop.connections }, (_, at) => drive(loop, at, end, latencies)));
  return (performance.now() - started) / 1000;
}

function drive(loop: ClosedLoop, at: number, end: number, latencies: Latencies): Promise<void> {
  return new Promise((resolve, reject) => {
    let n = 0;
    let sentAt = 0;
    const send = (): void => {
      const bytes = loop.request(at, n);
      sentAt = performance.now();
      connection.send(bytes);
    };
    const reply = (raw: RawReply): void => {
      const now = performance.now();
      latencies.add(now - sentAt);
      if (raw.status !== 200) throw new Error(`${raw.status}: ${raw.body.toString("utf8", 0, 500)}`);
      loop.check?.(raw, at, n);
      n += 1;
      if (now < end && n !== loop.count) send();
      else {
        connection.destroy();
        resolve();
      }
    };
    const connection = new Connection(loop.port, {
      reply: (raw) => {
        try {
          reply(raw);
        } catch (error) {
          connection.destroy();
          reject(error);
        }
      },
      lost: (reason) => reject(new Error(`connection ${reason}`)),
    });
    connection.opened().then(send);
  });
}
