/** All files of an exported model and its manifest, in memory. Not written and not verified here. */
import { hiddenSize } from "../models/networks.ts";
import { adapterLayers, type Team } from "../models/team.ts";
import { LorasaError } from "../src/base/errors.ts";
import { sha256 } from "../src/base/files.ts";
import { type ModelManifest, NAME_PATTERN } from "../src/checkpoint/repository.ts";
import { parseModelManifest } from "../src/checkpoint/repository-files.ts";
import { checkModel } from "../src/onnx/check.ts";
import { encodeModel } from "../src/onnx/encode.ts";
import type { OnnxModel } from "../src/onnx/model.ts";
import { adapterFiles, teamAdapters } from "./adapter-files.ts";
import {
  DEFAULT_OPSET,
  type GraphOptions,
  mergedGraph,
  rowsGraph,
  singleGraph,
  stackedGraph,
  teamGraph,
} from "./graphs.ts";
import { backboneSha256 } from "./metadata.ts";
import { tritonConfig } from "./triton.ts";
import { mergedWeights } from "./weights.ts";

export type ExportMode = ModelManifest["mode"];

export interface ContentOptions extends GraphOptions {
  readonly mode: ExportMode;
  /** Name of the model and of its folder. */
  readonly name: string;
  /** Whole number from 1. */
  readonly version: number;
  /** Free text pairs for the manifest. */
  readonly provenance?: Readonly<Record<string, string>>;
}

export interface ExportContents {
  readonly manifest: ModelManifest;
  /** Every file but the manifest, by path with `/`. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** What one mode adds: files, the graphs' roles, and whether adapters are inputs. */
interface ModeContents {
  readonly files: Map<string, Uint8Array>;
  readonly graphs: ModelManifest["graphs"];
}

const MODES = { merged, stacked, factored } as const satisfies Record<
  ExportMode,
  (team: Team, options: ContentOptions) => ModeContents
>;

/**
 * Builds every graph and file of an export.
 * @throws LORASA_CONFIG for a mode that the team's weights do not have or an operator set that is not supported;
 *   LORASA_NAME for a name that cannot be a folder's; LORASA_RANGE for a weight that the precision does not hold.
 */
export function exportContents(team: Team, options: ContentOptions): ExportContents {
  checkNames(team, options.name);
  const { files, graphs } = MODES[options.mode](team, options);
  const { encoder, head, body } = team.actor;
  const manifest: ModelManifest = {
    format: "lorasa-model",
    formatVersion: 1,
    name: options.name,
    version: `${options.version}`,
    mode: options.mode,
    sampled: options.sampled ?? false,
    opset: options.opset ?? DEFAULT_OPSET,
    precision: options.precision ?? "fp32",
    environment: { ...team.environment },
    agents: team.agents.map(({ name, observationSize, actionSize }) => ({
      name,
      observationSize,
      actionSize,
    })),
    observationSize: encoder.size,
    actionSize: head.size,
    action:
      head.kind === "categorical"
        ? { kind: "discrete" }
        : { kind: "continuous", low: head.low, high: head.high },
    hiddenSize: hiddenSize(body),
    backboneSha256: backboneSha256(team),
    graphs,
    adapterLayers: options.mode === "factored" ? adapterLayers(team) : [],
    files: fileTable(files),
    provenance: { ...options.provenance },
  };
  return { manifest: parseModelManifest(manifest, `manifest of ${options.name}`), files };
}

/** Sizes and checksums, sorted by path. */
function fileTable(files: ReadonlyMap<string, Uint8Array>): ModelManifest["files"] {
  return Object.fromEntries(
    [...files]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([path, bytes]) => [path, { bytes: bytes.length, sha256: sha256(bytes) }]),
  );
}

/**
 * A model's name is a folder's, and an agent's own model is `<name>.<agent>`.
 * @throws LORASA_NAME.
 */
export function checkNames(team: Team, name: string): void {
  const wrong = [name, ...team.agents.map((agent) => `${name}.${agent.name}`)].find(
    (candidate) => !NAME_PATTERN.test(candidate),
  );
  if (wrong === undefined) return;
  throw new LorasaError("LORASA_NAME", {
    asked: "export, model name",
    expected: "1 to 128 letters, digits, `.`, `_` and `-`, the agent's name included",
    received: JSON.stringify(wrong),
  });
}

function merged(team: Team, options: ContentOptions): ModeContents {
  const weights = mergedWeights(team);
  const files = new Map<string, Uint8Array>();
  const agents: Record<string, string> = {};
  for (const [index, { name }] of team.agents.entries()) {
    const model = mergedGraph(team, index, options, weights);
    const folder = `${options.name}.${name}`;
    const path = `${folder}/${options.version}/model.onnx`;
    files.set(path, bytesOf(model));
    files.set(`${folder}/config.pbtxt`, Buffer.from(tritonConfig(model, folder)));
    agents[name] = path;
  }
  return { files, graphs: { agents } };
}

function stacked(team: Team, options: ContentOptions): ModeContents {
  const path = `${options.version}/team.onnx`;
  return { files: new Map([[path, bytesOf(stackedGraph(team, options))]]), graphs: { team: path } };
}

function factored(team: Team, options: ContentOptions): ModeContents {
  const folder = `${options.version}`;
  const graphs = {
    team: `${folder}/team.onnx`,
    rows: `${folder}/rows.onnx`,
    single: `${folder}/single.onnx`,
  };
  const files = new Map<string, Uint8Array>([
    [graphs.team, bytesOf(teamGraph(team, options))],
    [graphs.rows, bytesOf(rowsGraph(team, options))],
    [graphs.single, bytesOf(singleGraph(team, options))],
    ...adapterFiles(team, teamAdapters(team, backboneSha256(team)), {
      version: options.version,
      precision: options.precision ?? "fp32",
    }),
  ]);
  return { files, graphs };
}

function bytesOf(model: OnnxModel): Uint8Array {
  checkModel(model);
  return encodeModel(model);
}
