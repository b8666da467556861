/** A process that serves a repository, and tells its parent what it uses. Arguments: repository, options as JSON. */
import { type RunningServer, type ServerOptions, startServer } from "../../../server/app.ts";
import { answerParent } from "./processes.ts";
import { usage } from "./usage.ts";

/** Connections that the load has left open need not be waited for. */
const DRAIN_TIMEOUT_MS = 1000;

const [repository = "", options = "{}"] = process.argv.slice(2);
let server: RunningServer | undefined;
let faults = 0;

const answers = {
  /** Port that it listens on. */
  async start(): Promise<number> {
    const onFault = (error: unknown): void => {
      faults += 1;
      process.stderr.write(`server: ${error instanceof Error ? error.stack : error}\n`);
    };
    // Written by the benchmark that started this process.
    const given = JSON.parse(options) as Partial<ServerOptions>;
    const own = { repository, port: 0, drainTimeoutMs: DRAIN_TIMEOUT_MS, onFault };
    server = await startServer({ ...own, ...given });
    return Number(new URL(server.url).port);
  },
  usage,
  faults: (): number => faults,
};
export type LorasaAnswers = typeof answers;

answerParent(answers);

// What it stored for adapters goes with it.
process.once("SIGTERM", async () => {
  await server?.close();
  process.exit();
});
