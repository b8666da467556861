/** What a checkpoint or the folder of a run holds. Its files are verified on the way. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { hiddenSize } from "../../../models/networks.ts";
import { adapterLayers } from "../../../models/team.ts";
import { MANIFEST_FILE } from "../../checkpoint/checkpoint.ts";
import { loadRun } from "../../training/saved-run.ts";
import {
  adapterParameterCount,
  exactBytes,
  exactCount,
  factLines,
  type Inspection,
  layerTable,
  paragraphs,
  share,
  textTable,
} from "./inspection.ts";

/** Where a run keeps its checkpoint. */
const RUN_CHECKPOINT = "checkpoint";

export function isCheckpoint(directory: string): boolean {
  return existsSync(join(directory, MANIFEST_FILE));
}

export function isRun(directory: string): boolean {
  return isCheckpoint(join(directory, RUN_CHECKPOINT));
}

/** @throws what `loadRun` throws. */
export function inspectCheckpoint(directory: string): Inspection {
  const { saved, team, backboneSha256, contents } = loadRun(directory);
  const layers = adapterLayers(team);
  const { backbone } = team.parameters;
  const parameters = {
    backbone: backbone.owners * backbone.size,
    adapterPerAgent: adapterParameterCount(layers),
    critic: [...(contents.tensors["critic.safetensors"]?.values() ?? [])].reduce(
      (sum, { data }) => sum + data.length,
      0,
    ),
  };
  const files = listFiles(directory);
  const agents = team.agents.map(({ name, observationSize, actionSize }) => ({
    name,
    observationSize,
    actionSize,
    adapterParameters: parameters.adapterPerAgent,
  }));
  const { actor } = team;
  const json = {
    kind: "checkpoint",
    environment: team.environment,
    agents,
    phase: saved.phase,
    sharing: team.sharing,
    network: { body: actor.body, head: actor.head, agentId: actor.encoder.agentId },
    parameters,
    adapterShare: parameters.adapterPerAgent / parameters.backbone,
    adapterLayers: layers,
    counters: saved.counters,
    config: saved.config,
    backboneSha256,
    files,
  };
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  const own = parameters.adapterPerAgent;
  const adapters = team.parameters.adapters?.owners ?? 0;
  const text = paragraphs(
    factLines({
      "a checkpoint of": `${team.environment.name}, ${team.agents.length} agents`,
      phase: `${saved.phase} (${saved.config.algo}, ${saved.config.sharing}, seed ${saved.config.seed})`,
      trained: `${exactCount(saved.counters.envSteps)} environment steps, ${exactCount(Math.max(...[saved.counters.actorUpdates].flat()))} actor updates`,
      network: networkText(actor),
      backbone: `${exactCount(parameters.backbone)} parameters, sha256 ${backboneSha256.slice(0, 16)}…`,
      adapters:
        own === 0
          ? "none"
          : `${exactCount(own)} parameters an agent, ${share(own, parameters.backbone)} of the backbone; ` +
            `${adapters} of them ${share(own * adapters, parameters.backbone)}`,
      critic: `${exactCount(parameters.critic)} parameters`,
      files: `${files.length}, ${exactBytes(bytes)}, checksums verified`,
    }),
    textTable(
      ["agent", "observation", "action", "adapter parameters"],
      agents.map((agent) => [agent.name, agent.observationSize, agent.actionSize, agent.adapterParameters]),
    ),
    layers.length === 0 ? "" : layerTable(layers),
    textTable(
      ["file", "bytes"],
      files.map(({ path, bytes: size }) => [path, size]),
    ),
  );
  return { json, text };
}

/** The run's files and its checkpoint. */
export function inspectRun(directory: string): Inspection {
  const checkpoint = inspectCheckpoint(join(directory, RUN_CHECKPOINT));
  const files = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => ({ path: name, bytes: statSync(join(directory, name)).size }));
  const checkpoints = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isCheckpoint(join(directory, entry.name)))
    .map(({ name }) => name);
  const text = paragraphs(
    factLines({
      "a run": directory,
      checkpoints: checkpoints.join(", "),
      files: files.map(({ path, bytes }) => `${path} (${exactBytes(bytes)})`).join(", "),
    }),
    `${RUN_CHECKPOINT} is`,
    checkpoint.text,
  );
  return { json: { kind: "run", checkpoints, files, checkpoint: checkpoint.json }, text };
}

function networkText({ encoder, body, head }: ReturnType<typeof loadRun>["team"]["actor"]): string {
  const recurrent = hiddenSize(body) > 0 ? `, GRU ${hiddenSize(body)}` : "";
  const id = encoder.agentId ? ` with agent id (${encoder.agents})` : "";
  return `observation ${encoder.size}${id}, ${body.hidden.join("-")} ${body.activation}${recurrent}, ${head.kind} ${head.size}`;
}

/** Every file under a folder, by path with `/`, sorted. */
function listFiles(directory: string, folder = ""): { path: string; bytes: number }[] {
  return readdirSync(join(directory, folder), { withFileTypes: true })
    .flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return listFiles(directory, path);
      return [{ path, bytes: statSync(join(directory, path)).size }];
    })
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}
