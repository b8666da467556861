/** The command line from its sources, in processes of their own, with an environment that the test gives. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import type { TestContext } from "node:test";

/** Absolute, so that a test can choose the folder that it is run in. */
const MAIN = ["--import", import.meta.resolve("tsx"), resolve("src", "cli", "main.ts")];
const LIMIT_MS = 120_000;

type Environment = Readonly<Record<string, string>>;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** @param cwd the folder that it is run in: this one, unless given. */
export function runCommand(args: readonly string[], env: Environment = {}, cwd = "."): Outcome {
  return spawnSync(process.execPath, [...MAIN, ...args], {
    cwd,
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
  const exited = new Promise<number | null>((done) => child.once("exit", done));
  const url = await new Promise<string>((listens, reject) => {
    child.stderr.setEncoding("utf8").on("data", (part: string) => {
      text += part;
      const found = /^\{"url":"([^"]+)".*\}$/m.exec(text);
      if (found) listens(found[1]!);
    });
    exited.then(() => reject(new Error(text)));
  });
  const stop = (): Promise<number | null> => {
    child.kill("SIGTERM");
    return exited;
  };
  return { url, log: () => text, stop };
}
