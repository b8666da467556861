/** The process that sends the load, on the core that the server does not have. Not what it sends. */
import { runClosedLoop } from "./closed-loop.ts";
import type { RawReply } from "./connection.ts";
import { Latencies, type LatencySummary } from "./latencies.ts";
import { answerParent } from "./processes.ts";
import { readInference } from "./reply.ts";

export interface ClosedOrder {
  readonly port: number;
  readonly request: Uint8Array;
  readonly connections: number;
  /** Ends with whichever of the two comes first. */
  readonly durationMs?: number;
  readonly count?: number;
}

export interface LoadResult extends LatencySummary {
  readonly seconds: number;
  /** Processor time of the load over `seconds`: near 1 the load is what bounds the rate. */
  readonly cpuShare: number;
}

export interface ListOrder {
  readonly port: number;
  readonly requests: readonly Uint8Array[];
  /** Actions that the replies must hold, float32 [requests, K]. */
  readonly actions: Float32Array;
}

/** Actions that differ by less than this are the same: batches of other sizes sum in other orders. */
const TOLERANCE = 1e-3;

const latencies = new Latencies();

const answers = {
  /** The same request over and over; every reply must have status 200. */
  async closed({ request, ...order }: ClosedOrder): Promise<LoadResult> {
    const bytes = Buffer.from(request);
    latencies.clear();
    const before = process.cpuUsage();
    const seconds = await runClosedLoop({ ...order, request: () => bytes }, latencies);
    const { user, system } = process.cpuUsage(before);
    return { ...latencies.summary(), seconds, cpuShare: (user + system) / 1e6 / seconds };
  },
  /** Each request once, one after the other; every reply must hold its action. */
  async list({ port, requests, actions }: ListOrder): Promise<LatencySummary> {
    latencies.clear();
    const order = {
      port,
      connections: 1,
      count: requests.length,
      request: (_: number, n: number) => Buffer.from(requests[n]!),
      check: (reply: RawReply, _: number, n: number) => {
        checkAction(reply, actions, n * (actions.length / requests.length), actions.length / requests.length);
      },
    };
    await runClosedLoop(order, latencies);
    return latencies.summary();
  },
};
export type LoadAnswers = typeof answers;

answerParent(answers);

/** @throws Error when the reply's action is not `expected[from … from + size)`. */
function checkAction(reply: RawReply, expected: Float32Array, from: number, size: number): void {
  const action = readInference(reply).outputs.get("action") ?? [];
  for (let k = 0; k < size; k++) {
    if (Math.abs(action[k]! - expected[from + k]!) <= TOLERANCE) continue;
    throw new Error(`action[${k}] is ${action[k]}, not ${expected[from + k]}: ${reply.head}`);
  }
}
