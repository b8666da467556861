/** The command line from its sources, in processes of their own, with an environment that the test gives. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import type { TestContext } from "node:test";

const MAIN = ["--import", "tsx", join("src", "cli", "main.ts")];
const LIMIT_MS = 120_000;

type Environment = Readonly<Record<string, string>>;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function runCommand(args: readonly string[], env: Environment = {}): Outcome {
  return spawnSync(process.execPath, [...MAIN, ...args], {
    encoding: "utf8",
    timeout: LIMIT_MS,
    env: { ...process.env, ...env },
  });
}

/** The object that `--json` puts last. */
export function runJson(args: readonly string[]): Record<string, unknown> {
  const { status, stdout, stderr } = runCommand([...args, "--json"]);
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, unknown>;
}

export interface ServeProcess {
  readonly url: string;
  /** What it wrote to standard error so far. */
  log(): string;
  /** Asks it to end. @returns its exit code. */
  stop(): Promise<number | null>;
}

/** `lorasa serve` on a free port until the test ends. @throws what it wrote when it ends before it listens. */
export async function serveProcess(
  context: TestContext,
  args: readonly string[],
  env: Environment = {},
): Promise<ServeProcess> {
  const child = spawn(process.execPath, [...MAIN, "serve", ...args, "--port", "0", "--json"], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...env },
  });
  context.after(() => child.kill("SIGKILL"));
  let text = "";
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const url = await new Promise<string>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      const found = /^\{"url":"([^"]+)".*\}$/m.exec(text);
      if (found) resolve(found[1]!);
    });
    exited.then(() => reject(new Error(text)));
  });
  const stop = (): Promise<number | null> => {
    child.kill("SIGTERM");
    return exited;
  };
  return { url, log: () => text, stop };
}
