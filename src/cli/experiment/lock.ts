/** Keeps two commands from running one experiment's folder at once; not what guards a single file. */
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { LorasaError } from "../../base/errors.ts";
import { diskError } from "../../base/files.ts";

const FILE = "running.pid";

/**
 * Holds a folder until the function that it gives is called.
 * @throws LORASA_BUSY while a living process holds it; LORASA_DISK.
 */
export function lockFolder(folder: string): () => void {
  const path = join(folder, FILE);
  try {
    mkdirSync(folder, { recursive: true });
    // A process that ended without letting go holds nothing.
    if (!isHeld(path)) rmSync(path, { force: true });
    const file = openSync(path, "wx");
    writeSync(file, String(process.pid));
    closeSync(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw diskError(`making ${folder}`, cause);
    throw new LorasaError("LORASA_BUSY", {
      asked: `running the experiment in ${folder}`,
      received: `process ${holder(path)} that runs it already`,
      mend: "wait for it, or choose another --out",
    });
  }
  return () => rmSync(path, { force: true });
}

function isHeld(path: string): boolean {
  const id = holder(path);
  if (!Number.isInteger(id) || id <= 0) return false;
  // In a container, a process before this one may have had its id.
  if (id === process.pid) return false;
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function holder(path: string): number {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch {
    return Number.NaN;
  }
}
