/** Exports a team into a repository: built, written beside, verified, and only then put in place. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Team } from "../models/team.ts";
import { recoverDirectory, replaceDirectory } from "../src/base/directories.ts";
import { LorasaError } from "../src/base/errors.ts";
import { writeFileAtomic } from "../src/base/files.ts";
import type { ModelManifest, Precision, Verification } from "../src/checkpoint/repository.ts";
import { MODEL_FILE, parseModelManifest, readModelManifest } from "../src/checkpoint/repository-files.ts";
import type { Device } from "../src/runtime/session.ts";
import {
  type ContentOptions,
  checkNames,
  type ExportContents,
  type ExportMode,
  exportContents,
} from "./contents.ts";
import { exportPrecision, TOLERANCES } from "./precision.ts";
import { type VerifyOptions, verifyExport } from "./verify.ts";

export interface ExportOptions extends Omit<ContentOptions, "name" | "version"> {
  /** Folder of all models; made when it does not exist. */
  readonly repository: string;
  /** Default `team`. */
  readonly name?: string;
  /** Most that an output of fp16 may differ, instead of its {@link TOLERANCES}. */
  readonly maxDifference?: number;
  /** What runs the graphs to verify them, see `verifyExport` (default `cpu`). */
  readonly device?: Device;
}

/** What was written, and what its verification found. */
export interface ExportResult extends Verification {
  readonly mode: ExportMode;
  /** The model's folder. */
  readonly directory: string;
  readonly version: string;
  /** Paths in the folder, the manifest included, sorted. */
  readonly files: readonly string[];
  /** Of all files together. */
  readonly bytes: number;
  readonly precision: Precision;
}

/**
 * Writes `<repository>/<name>`, replacing a model of that name by its next version.
 * @throws LORASA_CONFIG for a mode, operator set or precision that this team cannot have; LORASA_NAME for a name that
 *   cannot be a folder's; LORASA_RANGE for a weight that the precision does not hold; LORASA_VERIFY when a graph
 *   disagrees with the network; LORASA_DEVICE when the device cannot run it; LORASA_EXISTS when the folder is something
 *   else; LORASA_DISK. Whatever is thrown, what was there stays.
 */
export function exportTeam(
  team: Team,
  { repository, name = "team", maxDifference, device = "cpu", ...options }: ExportOptions,
): ExportResult {
  const precision = exportPrecision(options.precision ?? "fp32");
  checkMaxDifference(maxDifference, precision);
  checkNames(team, name);
  const directory = join(repository, name);
  const contents = exportContents(team, { ...options, name, version: nextVersion(directory) });
  const tolerance = maxDifference === undefined ? {} : { tolerance: maxDifference };
  return replaceModel(team, directory, contents, { device, ...tolerance });
}

/**
 * Writes contents beside the model's folder, verifies what was written, then replaces the folder. The manifest says what
 * verification found.
 */
export function replaceModel(
  team: Team,
  directory: string,
  { manifest, files }: ExportContents,
  options: VerifyOptions = {},
): ExportResult {
  let verified = manifest;
  replaceDirectory(
    directory,
    (temporary) => {
      for (const [path, bytes] of files) writeFile(join(temporary, path), bytes);
      const verification = verifyExport(team, temporary, manifest, options);
      verified = parseModelManifest({ ...manifest, verification }, `manifest of ${manifest.name}`);
      writeFile(join(temporary, MODEL_FILE), manifestBytes(verified));
    },
    { marker: MODEL_FILE },
  );
  const all = new Map(files).set(MODEL_FILE, manifestBytes(verified));
  const { mode, version, precision, verification } = verified;
  return {
    mode,
    directory,
    version,
    precision,
    files: [...all.keys()].sort(),
    bytes: [...all.values()].reduce((sum, bytes) => sum + bytes.length, 0),
    ...verification!,
  };
}

function manifestBytes(manifest: ModelManifest): Uint8Array {
  return Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
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

function checkMaxDifference(maxDifference: number | undefined, precision: Precision): void {
  if (maxDifference === undefined || (precision !== "fp32" && maxDifference > 0)) return;
  throw new LorasaError("LORASA_CONFIG", {
    asked: "export, largest difference",
    expected: precision === "fp32" ? `none: fp32 is held to ${TOLERANCES.fp32}` : "a number above 0",
    received: `${maxDifference}`,
  });
}

function writeFile(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileAtomic(path, bytes);
}
