/** One run as a process of its own: the command line's `train`. Not which runs, nor when. */
import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeFileAtomic } from "../../base/files.ts";
import { CONFIG_FILE } from "./cell-folder.ts";
import { TRAINING_FILE } from "./lock.ts";

export interface TrainProcessOptions {
  /** Of the run, with its configuration in it. */
  readonly folder: string;
  /** A checkpoint to start from; with `resume`, the folder's own is gone on with instead. */
  readonly from?: string;
  readonly resume?: boolean;
  /** Cores that it may count on. */
  readonly cores: number;
}

export type TrainOutcome =
  /** `answer`: what `train --json` printed. */
  | { readonly kind: "finished"; readonly answer: unknown }
  /** Stopped by a signal, with a checkpoint if it came as far as one. */
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly why: string };

const INTERRUPTED = 130;
/** Of what a process says, kept to tell why it failed. */
const KEPT_TEXT = 16_384;

/** The command line that this one is: from sources or built. */
const COMMAND_LINE: readonly string[] = import.meta.url.endsWith(".ts")
  ? ["--import", import.meta.resolve("tsx"), fileURLToPath(new URL("../main.ts", import.meta.url))]
  : [fileURLToPath(new URL("../main.js", import.meta.url))];

/** A started run. */
export interface TrainProcess {
  /** Asks it to end after a checkpoint; asked twice, it ends at once. */
  stop(): void;
  readonly ended: Promise<TrainOutcome>;
}

/** @throws LORASA_DISK; nothing runs then. */
export function startTraining({ folder, from, resume, cores }: TrainProcessOptions): TrainProcess {
  const more = resume ? ["--resume"] : from === undefined ? [] : ["--from", from];
  const args = ["train", "--config", join(folder, CONFIG_FILE), "--out", folder, "--json", ...more];
  const child = spawn(process.execPath, [...COMMAND_LINE, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LORASA_CORES: String(cores) },
    // Ctrl-C on the terminal reaches this process alone, which tells each run once: told twice, they would end at once.
    detached: true,
  });
  noteProcess(child, folder);
  return { stop: () => void child.kill("SIGINT"), ended: outcomeOf(child, folder) };
}

/** It lives on when this process is killed: whoever comes next must find it. */
function noteProcess(child: ChildProcess, folder: string): void {
  if (child.pid === undefined) return;
  try {
    writeFileAtomic(join(folder, TRAINING_FILE), String(child.pid));
  } catch (cause) {
    child.kill("SIGKILL");
    throw cause;
  }
}

async function outcomeOf(child: ChildProcess, folder: string): Promise<TrainOutcome> {
  const log = createWriteStream(join(folder, "train.log"), { flags: "a" });
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]!.setEncoding("utf8").on("data", (part: string) => {
      said[name] = (said[name] + part).slice(-KEPT_TEXT);
      if (name === "stderr") log.write(part);
    });
  }
  // A full disk must not end the grid: the run itself reports it.
  log.on("error", () => {});
  const end = await new Promise<{ code: number | null; signal: string | null; error?: Error }>((resolve) => {
    child.once("error", (error) => resolve({ code: null, signal: null, error }));
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
  log.end();
  rmSync(join(folder, TRAINING_FILE), { force: true });
  if (end.code === INTERRUPTED || end.signal === "SIGINT") return { kind: "stopped" };
  const answer = end.code === 0 ? lastObject(said.stdout) : undefined;
  if (answer !== undefined) return { kind: "finished", answer };
  return { kind: "failed", why: reason(said.stderr, end) };
}

/** The object that `--json` puts last. */
function lastObject(text: string): unknown {
  try {
    return JSON.parse(text.trim().split("\n").at(-1) ?? "");
  } catch {
    return undefined;
  }
}

function reason(
  stderr: string,
  { code, signal, error }: { code: number | null; signal: string | null; error?: Error },
): string {
  const told = stderr
    .trimEnd()
    .split("\n")
    .findLast((line) => line.startsWith("lorasa: "));
  if (told !== undefined) return told.slice("lorasa: ".length);
  return error?.message ?? (signal === null ? `exit code ${code}` : `ended by ${signal}`);
}
