/**
 * Directories that are replaced whole: written beside, flushed, then renamed. Not single files (`files.ts`).
 *
 * While `path` is replaced, `path.<pid>-<random>.tmp` is the new one and `path.previous` the old one. Whatever
 * the moment of a crash, one of `path` and `path.previous` is complete, and {@link recoverDirectory} finds it.
 * One process at a time writes a directory; any number read it.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { LorasaError } from "./errors.ts";
import { diskError } from "./files.ts";

export interface ReplaceOptions {
  /** A file that an old directory holds when it is ours to replace: guards a folder that was named by mistake. */
  readonly marker?: string;
  /** How directories are renamed; tests make it fail. */
  readonly rename?: (from: string, to: string) => void;
}

/** Times that a reader may put the old directory back between the two renames before the writer gives up. */
const SWAP_ATTEMPTS = 3;

/**
 * Replaces the directory at `path`, or creates it, with what `fill` writes into the empty folder that it is given.
 * A reader sees the old contents or the new ones; a failure leaves the old ones in place and no temporary.
 * @throws LORASA_EXISTS when `path` is a file, or a folder that is neither empty nor has the marker; LORASA_DISK
 *   when the disk is full or not writable; what `fill` throws when that is no system error.
 */
export function replaceDirectory(
  path: string,
  fill: (temporary: string) => void,
  { marker, rename = renameSync }: ReplaceOptions = {},
): void {
  const target = realPath(path);
  const temporary = `${target}.${process.pid}-${randomBytes(4).toString("hex")}.tmp`;
  try {
    mkdirSync(dirname(target), { recursive: true });
    recoverDirectory(target);
    checkReplaceable(target, marker);
    mkdirSync(temporary);
    fill(temporary);
    flush(temporary);
    swap(temporary, target, rename);
    flushFolder(dirname(target));
  } catch (cause) {
    discard(temporary);
    throw isSystemError(cause) ? diskError(`writing ${path}`, cause) : cause;
  }
  discard(`${target}.previous`);
}

/**
 * Puts the old directory back when a writer ended between its two renames, and removes what ended writers left.
 * Call it before reading; it does nothing when there is nothing to mend, and never throws for a folder that
 * cannot be written: the reader that follows says what is missing.
 */
export function recoverDirectory(path: string): void {
  const target = realPath(path);
  const previous = `${target}.previous`;
  if (existsSync(previous)) {
    if (existsSync(target)) discard(previous);
    else quietly(() => renameSync(previous, target));
  }
  for (const temporary of temporariesOf(target)) if (isStale(temporary)) discard(temporary);
}

/** A link is followed, so that what it points to is replaced and not the link. */
function realPath(path: string): string {
  return existsSync(path) ? realpathSync(path) : resolve(path);
}

function checkReplaceable(target: string, marker: string | undefined): void {
  if (!existsSync(target)) return;
  const folder = statSync(target).isDirectory();
  if (
    folder &&
    (marker === undefined || existsSync(join(target, marker)) || readdirSync(target).length === 0)
  ) {
    return;
  }
  throw new LorasaError("LORASA_EXISTS", {
    asked: `writing ${target}`,
    expected: marker === undefined ? "a folder" : `a new or empty folder, or one with ${marker}`,
    received: folder ? "a folder of something else" : "a file",
    mend: "name another folder",
  });
}

/** Old aside, new in; the old one is put back when the new one cannot be renamed. */
function swap(temporary: string, target: string, rename: (from: string, to: string) => void): void {
  const previous = `${target}.previous`;
  for (let attempt = 1; ; attempt++) {
    const replaces = existsSync(target);
    if (replaces) rename(target, previous);
    try {
      rename(temporary, target);
      return;
    } catch (cause) {
      // A reader that came between the renames has put the old directory back: set it aside again.
      if (existsSync(target) && attempt < SWAP_ATTEMPTS) continue;
      if (replaces && !existsSync(target)) renameSync(previous, target);
      throw cause;
    }
  }
}

/** Flushes every file, then its folder, so that a rename that survives a power cut has its contents behind it. */
function flush(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) flush(path);
    else if (entry.isFile()) flushPath(path, "r+");
  }
  flushFolder(folder);
}

/** Windows does not open folders; its renames are journalled. */
function flushFolder(folder: string): void {
  if (process.platform !== "win32") flushPath(folder, "r");
}

function flushPath(path: string, flags: "r" | "r+"): void {
  const file = openSync(path, flags);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function temporariesOf(target: string): string[] {
  const parent = dirname(target);
  const prefix = `${basename(target)}.`;
  let names: string[] = [];
  quietly(() => {
    names = readdirSync(parent);
  });
  return names
    .filter((name) => name.startsWith(prefix) && /^[0-9]+-[0-9a-f]{8}\.tmp$/.test(name.slice(prefix.length)))
    .map((name) => join(parent, name));
}

/** Whether the process that made a temporary has ended: in a container, one before it may have had our own id. */
function isStale(temporary: string): boolean {
  const pid = Number(/\.([0-9]+)-[0-9a-f]{8}\.tmp$/.exec(temporary)?.[1]);
  try {
    if (pid === process.pid) return statSync(temporary).mtimeMs < Date.now() - process.uptime() * 1000;
    process.kill(pid, 0);
    return false;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === "ESRCH";
  }
}

function discard(path: string): void {
  quietly(() => rmSync(path, { recursive: true, force: true }));
}

/** For cleaning up: a failure here must not hide the one that led to it. */
function quietly(action: () => void): void {
  try {
    action();
  } catch (cause) {
    if (!isSystemError(cause)) throw cause;
  }
}

function isSystemError(cause: unknown): cause is NodeJS.ErrnoException {
  return (
    cause instanceof Error &&
    !(cause instanceof LorasaError) &&
    typeof (cause as NodeJS.ErrnoException).syscall === "string"
  );
}
