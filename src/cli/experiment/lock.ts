/** Keeps two commands from running one experiment, and two processes from training one run; not what guards a file. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { LorasaError } from "../../base/errors.ts";
import { diskError } from "../../base/files.ts";

const FILE = "running.pid";
/** In the folder of a run: the process that trains it, which goes on when the command that started it is killed. */
export const TRAINING_FILE = "training.pid";

/**
 * Holds a folder until the function that it gives is called.
 * @throws LORASA_BUSY while a living process holds it; LORASA_DISK.
 */
export function lockFolder(folder: string): () => void {
  const path = join(folder, FILE);
  try {
    mkdirSync(folder, { recursive: true });
    // A process that ended without letting go holds nothing.
    if (livingProcess(path) === null) rmSync(path, { force: true });
    const file = openSync(path, "wx");
    writeSync(file, String(process.pid));
    closeSync(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw diskError(`making ${folder}`, cause);
    throw busy(`running the experiment in ${folder}`, `process ${holder(path)} that runs it already`, path);
  }
  return () => rmSync(path, { force: true });
}

/** @throws LORASA_BUSY while a process that an earlier command started trains the run in the folder. */
export function requireNotTraining(folder: string, cell: string): void {
  const path = join(folder, TRAINING_FILE);
  const id = livingProcess(path);
  if (id !== null) throw busy(`cell ${cell}`, `process ${id} that still trains it`, path);
}

function busy(asked: string, received: string, path: string): LorasaError {
  return new LorasaError("LORASA_BUSY", {
    asked,
    received,
    mend: `wait for it, or choose another --out; if that process is something else, delete ${path}`,
  });
}

/** The process that a file names, if it lives. */
function livingProcess(path: string): number | null {
  const id = holder(path);
  if (!Number.isInteger(id) || id <= 0) return null;
  // In a container, a process before this one may have had its id.
  if (id === process.pid) return null;
  try {
    process.kill(id, 0);
    return id;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM" ? id : null;
  }
}

function holder(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return Number.NaN;
  }
}
