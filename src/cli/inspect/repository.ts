/** What an exported model's folder, or a repository of them, holds. Files are compared with their checksums. */
import { join } from "node:path";
import { LorasaError } from "../../base/errors.ts";
import { readFile, sha256 } from "../../base/files.ts";
import type { ModelManifest, Verification } from "../../checkpoint/repository.ts";
import { findModels, readModelManifest } from "../../checkpoint/repository-files.ts";
import {
  adapterParameterCount,
  exactBytes,
  exactCount,
  factLines,
  type Inspection,
  layerTable,
  paragraphs,
  textTable,
} from "./inspection.ts";

/** @throws LORASA_FILE for a wrong manifest or a missing file; LORASA_CHECKSUM for one that changed. */
export function inspectModel(directory: string): Inspection {
  const manifest = readModelManifest(directory);
  const { verification } = manifest;
  for (const [path, entry] of Object.entries(manifest.files)) verifyFile(directory, path, entry);
  const files = Object.entries(manifest.files).map(([path, entry]) => ({ path, ...entry }));
  const parameters = adapterParameterCount(manifest.adapterLayers);
  const text = paragraphs(
    factLines({
      "a model": `${manifest.name}, version ${manifest.version}`,
      mode: `${manifest.mode}, operator set ${manifest.opset}, ${manifest.precision}${manifest.sampled ? ", sampled" : ""}`,
      environment: manifest.environment.name,
      rows: rowText(manifest),
      backbone: `sha256 ${manifest.backboneSha256}`,
      adapters:
        parameters === 0
          ? undefined
          : `${exactCount(parameters)} parameters an agent, ${manifest.adapterLayers.length} layers`,
      files: `${files.length}, ${exactBytes(totalBytes(manifest))}, checksums verified`,
      verified: verification && verificationText(verification),
    }),
    textTable(
      ["agent", "observation", "action"],
      manifest.agents.map((agent) => [agent.name, agent.observationSize, agent.actionSize]),
    ),
    manifest.adapterLayers.length === 0 ? "" : layerTable(manifest.adapterLayers),
    textTable(
      ["file", "bytes"],
      files.map(({ path, bytes }) => [path, bytes]),
    ),
  );
  return { json: { kind: "model", ...manifest, adapterParameters: parameters }, text };
}

function verificationText({ device, maxAbsDiff, maxActionDiff }: Verification): string {
  const [all, actions] = [maxAbsDiff, maxActionDiff].map((difference) => difference.toExponential(1));
  return `on ${device}: largest difference from the trained network ${all}, of actions ${actions}`;
}

export function isRepository(directory: string): boolean {
  return findModels(directory).length > 0;
}

/** @throws LORASA_FILE for a wrong manifest. */
export function inspectRepository(directory: string): Inspection {
  const models = findModels(directory).map((name) => readModelManifest(join(directory, name)));
  const text = paragraphs(
    factLines({ "a repository": `${models.length} ${models.length === 1 ? "model" : "models"}` }),
    textTable(
      ["model", "version", "mode", "environment", "agents", "bytes"],
      models.map((model) => [
        model.name,
        model.version,
        model.mode,
        model.environment.name,
        model.agents.length,
        totalBytes(model),
      ]),
    ),
  );
  const json = models.map(({ name, version, mode, environment, agents, ...more }) => ({
    name,
    version,
    mode,
    environment: environment.name,
    agents: agents.map((agent) => agent.name),
    bytes: totalBytes(more),
  }));
  return { json: { kind: "repository", models: json }, text };
}

function rowText({ observationSize, actionSize, action, hiddenSize }: ModelManifest): string {
  const kind =
    action.kind === "discrete"
      ? `one of ${actionSize} actions`
      : `${actionSize} actions from ${action.low} to ${action.high}`;
  return `${observationSize} observations → ${kind}${hiddenSize > 0 ? `, state of ${hiddenSize}` : ""}`;
}

function totalBytes({ files }: Pick<ModelManifest, "files">): number {
  return Object.values(files).reduce((sum, { bytes }) => sum + bytes, 0);
}

function verifyFile(directory: string, path: string, entry: { bytes: number; sha256: string }): void {
  const bytes = readFile(join(directory, path), "model file");
  if (bytes.length === entry.bytes && sha256(bytes) === entry.sha256) return;
  throw new LorasaError("LORASA_CHECKSUM", {
    asked: `model ${directory}, ${path}`,
    expected: `${entry.bytes} bytes of sha256 ${entry.sha256.slice(0, 16)}…`,
    received: `${bytes.length} bytes of ${sha256(bytes).slice(0, 16)}…`,
    mend: "export the model again",
  });
}
