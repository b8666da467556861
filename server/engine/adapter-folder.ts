/** Reads folders of adapters: which there are, their files, the backbone that they name. Not whether they fit. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_FILE, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { NAME_PATTERN } from "../../src/checkpoint/repository.ts";
import { gone } from "./adapter-errors.ts";
import type { AdapterFiles } from "./adapter-intake.ts";

/** Names of the folders in a model's `adapters/`; its files of other kinds are none. */
export function adapterFolders(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && NAME_PATTERN.test(entry.name))
    .map(({ name }) => name);
}

/** Reading less than this at once takes less of the event loop than the eight turns of reading it beside. */
const SMALL_BYTES = 256 * 1024;

/** @throws LORASA_UNAVAILABLE when they cannot be read. */
export async function readAdapterFolder(name: string, folder: string): Promise<AdapterFiles> {
  const [config, tensors] = [join(folder, CONFIG_FILE), join(folder, TENSORS_FILE)];
  try {
    if (statSync(tensors).size + statSync(config).size <= SMALL_BYTES) {
      return { config: readFileSync(config, "utf8"), tensors: readFileSync(tensors) };
    }
    const [text, bytes] = await Promise.all([readFile(config, "utf8"), readFile(tensors)]);
    return { config: text, tensors: bytes };
  } catch {
    throw gone(name, "none that can be read");
  }
}

/** The backbone that a folder's configuration names; undefined where it cannot be read, which its reader will say. */
export function backboneOf(folder: string): string | undefined {
  try {
    // Any JSON value may be asked for a field; what is no object has none.
    const config = JSON.parse(readFileSync(join(folder, CONFIG_FILE), "utf8")) as { revision?: unknown };
    return typeof config?.revision === "string" ? config.revision : undefined;
  } catch {
    return undefined;
  }
}
