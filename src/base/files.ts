/** Files that are written whole or not at all, and their checksums. */
import { createHash, randomBytes } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { LorasaError } from "./errors.ts";

/** Lower-case hexadecimal SHA-256. */
export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * Writes beside `path`, flushes to disk, then renames over it: a reader sees the old file or the new one.
 * @throws LORASA_DISK when the disk is full or not writable; `path` is untouched then.
 */
export function writeFileAtomic(path: string, contents: Uint8Array | string): void {
  const temporary = `${path}.${randomBytes(4).toString("hex")}.tmp`;
  const bytes = typeof contents === "string" ? Buffer.from(contents) : contents;
  try {
    const file = openSync(temporary, "wx");
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw diskError(`writing ${path}`, cause);
  }
}

/**
 * Reads a whole file.
 * @throws LORASA_FILE when it is missing or cannot be read.
 */
export function readFile(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new LorasaError("LORASA_FILE", {
      asked: `${what} ${path}`,
      expected: "a readable file",
      received: errnoText(cause),
      cause,
    });
  }
}

/**
 * Parses a JSON file; the caller checks its fields.
 * @throws LORASA_FILE when it is missing or not JSON.
 */
export function readJson(path: string, what: string): unknown {
  return parseJson(readFile(path, what), `${what} ${path}`);
}

/**
 * Parses UTF-8 bytes as JSON.
 * @throws LORASA_FILE when they are not.
 */
export function parseJson(bytes: Buffer, what: string): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new LorasaError("LORASA_FILE", {
      asked: what,
      expected: "JSON",
      received: (cause as Error).message,
      cause,
    });
  }
}

/** The error for a failed write: says disk full plainly. */
export function diskError(asked: string, cause: unknown): LorasaError {
  const full = (cause as NodeJS.ErrnoException).code === "ENOSPC";
  return new LorasaError("LORASA_DISK", {
    asked,
    received: errnoText(cause),
    mend: full
      ? "free some space and run again; what was there before is kept"
      : "choose a folder that can be written",
    cause,
  });
}

function errnoText(cause: unknown): string {
  const error = cause as NodeJS.ErrnoException;
  const known: Record<string, string> = {
    ENOENT: "no such file or folder",
    EACCES: "permission denied",
    ENOSPC: "no space left on the device",
    EISDIR: "a folder",
    EROFS: "a read-only file system",
  };
  return (error.code && known[error.code]) ?? error.message;
}
