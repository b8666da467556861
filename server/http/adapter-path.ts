/**
 * Reads an adapter from a path that a client names: inside one folder, links followed before it is judged, ordinary
 * files alone. Nothing is ever fetched, and what could hold code is refused by its name.
 */
import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { LorasaError } from "../../src/base/errors.ts";
import { CONFIG_FILE, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import type { AdapterFiles } from "../engine/adapter-intake.ts";

/** Where a client's paths may lead. */
export interface AdapterSource {
  /** The only folder that they may lead into; no reply tells where it is. */
  readonly root: string;
  /** Largest file. */
  readonly limitBytes: number;
}

/** Files of other libraries that are read by running what they hold. */
const UNSAFE_FILE = /\.(bin|pt|pth|pkl|pickle|ckpt)$/i;
const URL_LIKE = /^[A-Za-z][A-Za-z0-9+.-]*:/;

/**
 * @param path of a folder with both files of an adapter, or of a `.safetensors` file beside its configuration; from
 *   the root, or absolute and inside it.
 * @throws LORASA_REQUEST for a URL or a file that could hold code, LORASA_FORBIDDEN for a path that leads outside,
 *   LORASA_FILE when it cannot be read, LORASA_TOO_LARGE.
 */
export async function readAdapterPath(
  path: string,
  { root, limitBytes }: AdapterSource,
): Promise<AdapterFiles> {
  if (URL_LIKE.test(path)) throw isUrl(path);
  refuseUnsafeFile(path);
  const target = resolve(root, path);
  // Before the disk is asked: what exists outside is not told either.
  if (!isInside(target, resolve(root))) throw outside(path);
  const tensors = target.endsWith(".safetensors") ? target : join(target, TENSORS_FILE);
  const config = join(dirname(tensors), CONFIG_FILE);
  const inside = await real(root, path);
  const read = async (file: string): Promise<Buffer> => {
    const found = await real(file, path);
    if (!isInside(found, inside)) throw outside(path);
    return readOrdinary(found, path, limitBytes);
  };
  return { config: (await read(config)).toString("utf8"), tensors: await read(tensors) };
}

/** @throws LORASA_REQUEST for the name of a file that is read by running what it holds. */
export function refuseUnsafeFile(path: string): void {
  if (!UNSAFE_FILE.test(path)) return;
  throw new LorasaError("LORASA_REQUEST", {
    asked: `adapter ${quote(basename(path))}`,
    expected: "a .safetensors file",
    received: "a format that can hold code",
    mend: "save it with safe_serialization=True",
  });
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

async function real(file: string, path: string): Promise<string> {
  try {
    return await realpath(file);
  } catch {
    throw unreadable(path);
  }
}

/** Links were followed: one that appears since is not. Opening what is no file, such as a pipe, does not wait. */
async function readOrdinary(file: string, path: string, limitBytes: number): Promise<Buffer> {
  const handle = await open(
    file,
    constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0),
  ).catch(() => {
    throw unreadable(path);
  });
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw unreadable(path);
    if (stat.size > limitBytes) throw tooLarge(path, stat.size, limitBytes);
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

function quote(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}

function isUrl(path: string): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: `adapter path ${quote(path)}`,
    expected: "a path in the server's own adapter folder",
    received: "a URL, and the server fetches nothing",
    mend: "push the files in the body of the request",
  });
}

function outside(path: string): LorasaError {
  return new LorasaError("LORASA_FORBIDDEN", {
    asked: `adapter path ${quote(path)}`,
    expected: "a folder under the model's adapters",
    received: "one outside",
  });
}

function unreadable(path: string): LorasaError {
  return new LorasaError("LORASA_FILE", {
    asked: `adapter path ${quote(path)}`,
    expected: `a folder with ${CONFIG_FILE} and ${TENSORS_FILE} under the model's adapters`,
    received: "none that can be read",
  });
}

function tooLarge(path: string, bytes: number, limitBytes: number): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: `adapter path ${quote(path)}`,
    expected: `files of at most ${limitBytes} bytes`,
    received: `${bytes}`,
  });
}
