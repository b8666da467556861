/** A process that serves a repository, and tells its parent what it uses. Arguments: repository, options as JSON. */
import { type RunningServer, type ServerOptions, startServer } from "../../../server/app.ts";
import { answerParent } from "./processes.ts";
import { usage } from "./usage.ts";

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
    server = await startServer({ repository, port: 0, onFault, ...given });
    return Number(new URL(server.url).port);
  },
  usage,
  faults: (): number => faults,
  close: (): Promise<void> | undefined => server?.close(),
};
export type LorasaAnswers = typeof answers;

answerParent(answers);
