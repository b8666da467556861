/** Exports a team into a repository: built, written beside, verified, and only then put in place. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Team } from "../models/team.ts";
import { recoverDirectory, replaceDirectory } from "../src/base/directories.ts";
import { LorasaError } from "../src/base/errors.ts";
import { writeFileAtomic } from "../src/base/files.ts";
import type { ModelManifest } from "../src/checkpoint/repository.ts";
import { MODEL_FILE, readModelManifest } from "../src/checkpoint/repository-files.ts";
import {
  type ContentOptions,
  checkNames,
  type ExportContents,
  type ExportMode,
  exportContents,
} from "./contents.ts";
import { verifyExport } from "./verify.ts";

export interface ExportOptions extends Omit<ContentOptions, "name" | "version"> {
  /** Folder of all models; made when it does not exist. */
  readonly repository: string;
  /** Default `team`. */
  readonly name?: string;
  /** Element type of weights and activations (default and only one: `fp32`). */
  readonly precision?: ModelManifest["precision"];
}

export interface ExportResult {
  readonly mode: ExportMode;
  /** The model's folder. */
  readonly directory: string;
  readonly version: string;
  /** Paths in the folder, the manifest included, sorted. */
  readonly files: readonly string[];
  /** Of all files together. */
  readonly bytes: number;
  /** See `verifyExport`. */
  readonly maxAbsDiff: number;
}

/**
 * Writes `<repository>/<name>`, replacing a model of that name by its next version.
 * @throws LORASA_CONFIG for a mode, operator set or precision that this team cannot have; LORASA_NAME for a name that
 *   cannot be a folder's; LORASA_VERIFY when a graph disagrees with the network; LORASA_EXISTS when the folder is
 *   something else; LORASA_DISK. Whatever is thrown, what was there stays.
 */
export function exportTeam(
  team: Team,
  { repository, name = "team", ...options }: ExportOptions,
): ExportResult {
  checkPrecision(options.precision ?? "fp32");
  checkNames(team, name);
  const directory = join(repository, name);
  const contents = exportContents(team, { ...options, name, version: nextVersion(directory) });
  return replaceModel(team, directory, contents);
}

/** Writes contents beside the model's folder, verifies what was written, then replaces the folder. */
export function replaceModel(
  team: Team,
  directory: string,
  { manifest, files }: ExportContents,
): ExportResult {
  const all = new Map(files);
  all.set(MODEL_FILE, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
  let maxAbsDiff = Number.NaN;
  replaceDirectory(
    directory,
    (temporary) => {
      for (const [path, bytes] of all) writeFile(join(temporary, path), bytes);
      maxAbsDiff = verifyExport(team, temporary, readModelManifest(temporary));
    },
    { marker: MODEL_FILE },
  );
  return {
    mode: manifest.mode,
    directory,
    version: manifest.version,
    files: [...all.keys()].sort(),
    bytes: [...all.values()].reduce((sum, bytes) => sum + bytes.length, 0),
    maxAbsDiff,
  };
}

/** One more than the version that is there; 1 where none is, or none that can be read. */
function nextVersion(directory: string): number {
  recoverDirectory(directory);
  if (!existsSync(join(directory, MODEL_FILE))) return 1;
  try {
    return Number(readModelManifest(directory).version) + 1;
  } catch (cause) {
    // A broken manifest is mended by exporting again.
    if (cause instanceof LorasaError && cause.code === "LORASA_FILE") return 1;
    throw cause;
  }
}

function checkPrecision(precision: string): void {
  if (precision === "fp32") return;
  throw new LorasaError("LORASA_CONFIG", {
    asked: "export, precision",
    expected: "fp32",
    received: precision,
    mend: "half precision is not written: leave --precision out",
  });
}

function writeFile(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileAtomic(path, bytes);
}
