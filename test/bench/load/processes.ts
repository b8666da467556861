/**
 * The processes of a benchmark, each on a core of its own where the system can pin them, and how its parent asks them.
 * Not what they do.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** What a process can be asked, by name: one argument in, what it gives out. Both cross by structured cloning. */
type Answers = Readonly<Record<string, (argument: never) => unknown>>;

/** A process that answers. It ends with its parent. */
export interface Worker<A> {
  readonly pid: number;
  ask<Q extends keyof A & string>(
    question: Q,
    ...argument: A[Q] extends (...given: infer Given) => unknown ? Given : never
  ): Promise<A[Q] extends (...given: never[]) => infer Value ? Awaited<Value> : never>;
  /** Ends the process; resolves when it has. */
  stop(): Promise<void>;
}

interface WorkerOptions {
  readonly args?: readonly string[];
  /** Lets the process collect its garbage on demand. */
  readonly exposeGc?: boolean;
}

interface Reply {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** The server's core and the one that everything else shares; undefined where processes cannot be pinned. */
const CORES = pinnableCores();

/** How the processes share the machine, for reports. */
export const PINNING = CORES ? `server on core ${CORES.server}, load on core ${CORES.load}` : "not pinned";

/** @param module file name in this folder, without extension. */
export function startWorker<A>(
  role: "server" | "load",
  module: string,
  { args = [], exposeGc = false }: WorkerOptions = {},
): Worker<A> {
  const file = fileURLToPath(new URL(`./${module}.ts`, import.meta.url));
  const node = [process.execPath, ...(exposeGc ? ["--expose-gc"] : []), "--import", "tsx", file, ...args];
  const [command, ...given] = CORES ? ["taskset", "-c", `${CORES[role]}`, ...node] : node;
  const child = spawn(command!, given, {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced",
  });
  return asWorker(child, module);
}

/** Called once by a worker's module. */
export function answerParent(answers: Answers): void {
  const send = (reply: Reply): unknown => process.send?.(reply);
  process.on("message", async (message: unknown) => {
    // Sent by `ask` of this same file.
    const { id, question, argument } = message as { id: number; question: string; argument: never };
    try {
      send({ id, value: await answers[question]!(argument) });
    } catch (error) {
      send({ id, error: error instanceof Error ? (error.stack ?? error.message) : `${error}` });
    }
  });
  process.once("disconnect", () => process.exit());
}

function asWorker<A>(child: ChildProcess, module: string): Worker<A> {
  const waiting = new Map<number, (reply: Reply) => void>();
  let asked = 0;
  child.on("message", (message: unknown) => {
    // Sent by `answerParent` of this same file.
    const reply = message as Reply;
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  });
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => {
      for (const settle of waiting.values()) settle({ id: 0, error: `${module} ended` });
      resolve();
    });
  });
  const ask = (question: string, ...[argument]: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = asked++;
      waiting.set(id, ({ value, error }) =>
        error === undefined ? resolve(value) : reject(new Error(error)),
      );
      child.send({ id, question, argument }, (error) => error && reject(error));
    });
  const stop = (): Promise<void> => {
    child.kill();
    return ended;
  };
  // The types of a question and its value are those of the worker's own table.
  return { pid: child.pid!, ask: ask as Worker<A>["ask"], stop };
}

function pinnableCores(): { readonly server: number; readonly load: number } | undefined {
  if (!existsSync("/usr/bin/taskset") || !existsSync("/proc/self/status")) return undefined;
  const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "";
  const [server, load] = list.split(",").flatMap((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, at) => from + at);
  });
  return server === undefined || load === undefined ? undefined : { server, load };
}
