/** The load of the swap benchmark: team requests whose every reply is checked, and pushes. Not what is made of it. */
import type { ActionTable } from "./action-table.ts";
import { runClosedLoop } from "./closed-loop.ts";
import { Latencies, type LatencySummary } from "./latencies.ts";
import { type OpenLoop, type OpenResult, runOpenLoop } from "./open-loop.ts";
import { answerParent } from "./processes.ts";
import { type AskedRow, ReplyCheck, type Wrong } from "./reply-check.ts";
import { Swapper } from "./swapper.ts";
import { Versions } from "./versions.ts";

export interface SwapSetup {
  readonly port: number;
  readonly agents: readonly string[];
  readonly table: ActionTable;
  /** Team requests, one for each set of observations of the table. */
  readonly requests: readonly Uint8Array[];
  /** Prepared pushes, by agent and variant. */
  readonly pushes: readonly (readonly Uint8Array[])[];
}

export interface PacedOrder
  extends Pick<OpenLoop, "connections" | "requestsPerSecond" | "arrivals" | "durationMs"> {
  /** None when absent. */
  readonly swapEveryMs?: number;
}

export interface PacedResult extends LatencySummary, OpenResult {
  readonly wrong: Wrong;
  readonly swaps: LatencySummary;
}

export interface Highest {
  readonly requestsPerSecond: number;
  /** Processor time of the load over wall time: near 1 the load is what bounds the rate. */
  readonly cpuShare: number;
}

interface State {
  readonly setup: SwapSetup;
  readonly requests: readonly Buffer[];
  /** By request. */
  readonly rows: readonly (readonly AskedRow[])[];
  readonly versions: Versions;
  /** By connection: versions that were acknowledged when its request was sent. */
  readonly sentAfter: Int32Array[];
}

const latencies = new Latencies();
const late = new Latencies();
const swapLatencies = new Latencies();
let state: State | undefined;

const answers = {
  prepare(setup: SwapSetup): void {
    state = {
      setup,
      requests: setup.requests.map((bytes) => Buffer.from(bytes)),
      rows: setup.requests.map((_, set) => setup.agents.map((_name, agent) => ({ set, agent }))),
      versions: new Versions(setup.agents),
      sentAfter: [],
    };
  },
  /** Full speed, every reply checked. @throws Error at the first that is wrong. */
  async highest(order: { connections: number; durationMs: number }): Promise<Highest> {
    const { setup, requests, rows, versions } = state!;
    const check = new ReplyCheck(setup.table, versions);
    latencies.clear();
    const before = process.cpuUsage();
    const seconds = await runClosedLoop(
      {
        ...order,
        port: setup.port,
        request: (connection) => requests[connection % requests.length]!,
        check: (reply, connection) =>
          check.check(reply, rows[connection % rows.length]!, versions.acknowledged),
      },
      latencies,
    );
    if (check.wrong.first !== "") throw new Error(check.wrong.first);
    const { user, system } = process.cpuUsage(before);
    return { requestsPerSecond: latencies.count / seconds, cpuShare: (user + system) / 1e6 / seconds };
  },
  async paced({ swapEveryMs, ...order }: PacedOrder): Promise<PacedResult> {
    const { setup, requests, rows, versions, sentAfter } = state!;
    const check = new ReplyCheck(setup.table, versions);
    for (const each of [latencies, late, swapLatencies]) each.clear();
    while (sentAfter.length < order.connections) sentAfter.push(new Int32Array(setup.agents.length));
    const swapper =
      swapEveryMs === undefined
        ? undefined
        : new Swapper({ ...setup, everyMs: swapEveryMs }, versions, swapLatencies, (what) =>
            check.count("failed", what),
          );
    swapper?.start();
    const result = await runOpenLoop(
      {
        ...order,
        port: setup.port,
        request(connection) {
          sentAfter[connection]!.set(versions.acknowledged);
          return requests[connection % requests.length]!;
        },
        reply: (reply, connection) =>
          check.check(reply, rows[connection % rows.length]!, sentAfter[connection]!),
        lost: (reason) => check.count("failed", `connection ${reason}`),
      },
      latencies,
      late,
    );
    await swapper?.stop();
    return { ...latencies.summary(), ...result, wrong: check.wrong, swaps: swapLatencies.summary() };
  },
};
export type SwapAnswers = typeof answers;

answerParent(answers);
