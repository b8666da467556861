/** The thread of `thread-sender.ts`: sends one team at a time, with an event loop that training does not hold up. */
import { parentPort, workerData } from "node:worker_threads";
import { ServerClient } from "../../../server/client.ts";
import { deliver, type TeamPush } from "./delivery.ts";
import type { PushTarget } from "./thread-sender.ts";

// What a worker is given has no type of its own.
const { url, model, ...options } = workerData as PushTarget;
const client = new ServerClient(url, options);

parentPort!.on("message", async (push: TeamPush) => {
  parentPort!.postMessage(await deliver(client, model, push));
});
