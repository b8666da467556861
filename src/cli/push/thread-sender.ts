/** Sends teams from a thread of its own: a rollout holds the caller's event loop for longer than a server waits. */
import type { Worker } from "node:worker_threads";
import type { ClientOptions } from "../../../server/client.ts";
import { startWorker } from "../../base/worker.ts";
import type { PushOutcome, TeamPush } from "./delivery.ts";

/** A model of a server, and how it is spoken to. */
export interface PushTarget extends ClientOptions {
  readonly url: string;
  readonly model: string;
}

/** Sends one team at a time. */
export interface Sender {
  /** Takes a copy of the team before it returns. */
  send(push: TeamPush): Promise<PushOutcome>;
  close(): Promise<void>;
}

/** The thread starts with the first team, and again when it has ended. */
export function threadSender(target: PushTarget): Sender {
  let worker: Worker | undefined;
  let settle: (outcome: PushOutcome) => void = () => {};
  const start = (): Worker => {
    const own = startWorker(import.meta.url, "./push-worker", target);
    // A thread that fails also exits: by then the next push may have another.
    const ended = (problem: string): void => {
      if (worker !== own) return;
      worker = undefined;
      settle({ kind: "rejected", problem });
    };
    return own
      .on("message", (outcome: PushOutcome) => settle(outcome))
      .on("error", (error) => ended(error.message))
      .on("exit", () => ended("the thread that sends adapters has ended"));
  };
  return {
    send: (push) =>
      new Promise((resolve) => {
        settle = resolve;
        worker ??= start();
        worker.postMessage(push);
      }),
    close: async () => {
      await worker?.terminate();
    },
  };
}
