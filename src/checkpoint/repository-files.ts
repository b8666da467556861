/** Reads a repository's folder: which models are in it and their manifests. Not their graphs. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { recoverDirectory } from "../base/directories.ts";
import { LorasaError } from "../base/errors.ts";
import { readJson } from "../base/files.ts";
import { type ModelManifest, modelManifest, NAME_PATTERN } from "./repository.ts";

export const MODEL_FILE = "model.json";

/**
 * The manifest of a model's folder.
 * @throws LORASA_FILE for a folder without one, or naming the field that is wrong.
 */
export function readModelManifest(directory: string): ModelManifest {
  recoverDirectory(directory);
  const path = join(directory, MODEL_FILE);
  return parseModelManifest(readJson(path, "model manifest"), `model manifest ${path}`);
}

/** @throws LORASA_FILE naming the field that is wrong. */
export function parseModelManifest(json: unknown, what: string): ModelManifest {
  const parsed = modelManifest.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new LorasaError("LORASA_FILE", {
    asked: `${what}, ${issue?.path.join(".") || "top level"}`,
    expected: "a manifest that `lorasa export` wrote",
    received: issue?.message ?? "another form",
    mend: "export the model again",
  });
}

/** Names of the folders that hold a model, sorted; none for a folder that does not exist. */
export function findModels(repository: string): string[] {
  if (!existsSync(repository)) return [];
  return readdirSync(repository)
    .filter((name) => NAME_PATTERN.test(name) && existsSync(join(repository, name, MODEL_FILE)))
    .sort();
}
