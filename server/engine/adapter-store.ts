/**
 * Files of the adapters that were pushed to a server: `<folder>/<adapter>/<version>/`, each version written whole
 * or not at all. Not which version requests use.
 *
 * A store of a given folder is flushed to disk and found again by the next server. Without one it is a temporary
 * folder, made with the first push, that goes with the server.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { mkdir, open, rename, rm, rmdir, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { diskError } from "../../src/base/files.ts";
import { CONFIG_FILE, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { NAME_PATTERN } from "../../src/checkpoint/repository.ts";
import type { AdapterFiles } from "./adapter-intake.ts";

const VERSION_PATTERN = /^[1-9][0-9]{0,14}$/;
const TEMPORARY = ".tmp";
/** Of each adapter: the current one and the one that a rollback restores. */
const KEPT_VERSIONS = 2;

/** Owns its folder when it is temporary. */
export class AdapterStore {
  readonly #durable: boolean;
  #folder: string | undefined;
  #writes = 0;
  /** Folders of adapters that are there. */
  readonly #made = new Set<string>();

  /** @param folder kept between servers; absent for a temporary one. */
  constructor(folder: string | undefined) {
    this.#folder = folder;
    this.#durable = folder !== undefined;
  }

  /**
   * Versions of each adapter that the folder holds, ascending; what an interrupted write or removal left is removed.
   * @throws LORASA_DISK when the folder cannot be read.
   */
  versions(): Map<string, number[]> {
    const folder = this.#folder;
    if (folder === undefined || !existsSync(folder)) return new Map();
    try {
      const names = foldersIn(folder).filter((name) => NAME_PATTERN.test(name));
      return new Map(names.map((name) => [name, findVersions(join(folder, name))]));
    } catch (cause) {
      throw diskError("reading the adapter store", cause);
    }
  }

  /** Folder of a version. */
  folderOf(name: string, version: number): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), "lorasa-adapters-"));
    return join(this.#folder, name, `${version}`);
  }

  /**
   * Writes a version.
   * @throws LORASA_DISK when it cannot be written; nothing of it is left then.
   */
  async write(name: string, version: number, files: AdapterFiles): Promise<string> {
    let written: string | undefined;
    try {
      const folder = this.folderOf(name, version);
      await this.#makeFolder(dirname(folder));
      this.#writes += 1;
      // Nobody reads a temporary store after a crash: what is written there needs no second name.
      const target = this.#durable ? `${folder}-${process.pid}-${this.#writes}${TEMPORARY}` : folder;
      await mkdir(target);
      written = target;
      await this.#writeFile(join(written, CONFIG_FILE), Buffer.from(files.config));
      await this.#writeFile(join(written, TENSORS_FILE), files.tensors);
      if (this.#durable) {
        await flushFolder(written);
        await rename(written, folder);
        await flushFolder(dirname(folder));
      }
      return folder;
    } catch (cause) {
      this.#made.clear();
      if (written) await rm(written, { recursive: true, force: true }).catch(() => {});
      throw diskError(`storing adapter ${name}`, cause);
    }
  }

  /** Removes a version's folder, quietly: what stays is removed or passed over by the next server. */
  async remove(name: string, version: number): Promise<void> {
    if (this.#folder === undefined) return;
    const folder = this.folderOf(name, version);
    // By name, which takes a third of the calls that looking for what is there does.
    await unlink(join(folder, TENSORS_FILE)).catch(() => {});
    await unlink(join(folder, CONFIG_FILE)).catch(() => {});
    await rmdir(folder).catch(() => {});
  }

  /** Removes the folder of an adapter without versions. */
  async forget(name: string): Promise<void> {
    if (this.#folder === undefined) return;
    const folder = dirname(this.folderOf(name, 1));
    this.#made.delete(folder);
    await rmdir(folder).catch(() => {});
  }

  dispose(): void {
    if (this.#durable || this.#folder === undefined) return;
    rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#made.has(folder)) return;
    await mkdir(folder, { recursive: true });
    this.#made.add(folder);
  }

  async #writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const file = await open(path, "w");
    try {
      await file.writeFile(bytes);
      if (this.#durable) await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Of one adapter. A version without its tensors was being removed, or never was one. */
function findVersions(folder: string): number[] {
  const entries = foldersIn(folder);
  const whole = entries.filter(
    (entry) => VERSION_PATTERN.test(entry) && existsSync(join(folder, entry, TENSORS_FILE)),
  );
  for (const entry of entries) {
    const left = entry.endsWith(TEMPORARY) || VERSION_PATTERN.test(entry);
    if (left && !whole.includes(entry)) rmSync(join(folder, entry), { recursive: true, force: true });
  }
  const versions = whole.map(Number).sort((a, b) => a - b);
  // The current one and the one before; a server that was killed may have left others.
  for (const old of versions.splice(0, versions.length - KEPT_VERSIONS)) {
    rmSync(join(folder, `${old}`), { recursive: true, force: true });
  }
  return versions;
}

function foldersIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

/** A rename survives a power cut once its folder is flushed; some systems cannot open folders. */
async function flushFolder(path: string): Promise<void> {
  const folder = await open(path, "r").catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close();
}
