/** Writes the graphs and banks that are measured; what an export holds, without its manifest. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { mergedGraph, rowsGraph, stackedGraph, teamGraph } from "../../../exporters/graphs.ts";
import { mergedWeights } from "../../../exporters/weights.ts";
import { adapterLayers, agentAdapter, type Team } from "../../../models/team.ts";
import { type FloatTensor, floatTensor } from "../../base/tensor.ts";
import { adapterParameters } from "../../checkpoint/adapter.ts";
import { encodeModel } from "../../onnx/encode.ts";
import type { OnnxModel } from "../../onnx/model.ts";
import type { BankFile, Mode, TeamFiles } from "./contract.ts";

/** The graphs of each mode, one an agent when merged. */
export const MODE_GRAPHS = {
  merged: (team: Team): OnnxModel[] => {
    const weights = mergedWeights(team);
    return team.agents.map((_, agent) => mergedGraph(team, agent, {}, weights));
  },
  stacked: (team: Team): OnnxModel[] => [stackedGraph(team)],
  factored: (team: Team): OnnxModel[] => [teamGraph(team)],
  rows: (team: Team): OnnxModel[] => [rowsGraph(team)],
} as const satisfies Record<Mode, (team: Team) => OnnxModel[]>;

/** The modes whose adapters are inputs. */
export function hasBank(mode: Mode): boolean {
  return mode === "factored" || mode === "rows";
}

/** Every agent's factors stacked, by the graph's input: `[N, in, r]` and `[N, r, out]`, the scale folded in. */
export function bankTensors(team: Team): Map<string, FloatTensor> {
  const agents = team.agents.map((_, agent) =>
    adapterParameters({ layers: agentAdapter(team, agent), backboneSha256: "" }),
  );
  return new Map(
    [...agents[0]!].map(([name, { dims, data: first }]) => {
      const data = new Float32Array(agents.length * first.length);
      for (const [agent, tensors] of agents.entries())
        data.set(tensors.get(name)!.data, agent * first.length);
      return [name, floatTensor([agents.length, ...dims], data)];
    }),
  );
}

/** Writes one mode of a team into a folder that exists. */
export function writeTeamFiles(team: Team, mode: Mode, folder: string): TeamFiles {
  const prefix = join(folder, `${mode}-${team.agents.length}`);
  const models = MODE_GRAPHS[mode](team);
  const graphs = models.map((model, index) => {
    const path = `${prefix}-${index}.onnx`;
    writeFileSync(path, encodeModel(model));
    return path;
  });
  const inGraphs = models.reduce((sum, model) => sum + initializerBytes(model), 0);
  if (!hasBank(mode)) return { agents: team.agents.length, graphs, weightBytes: inGraphs };
  const { bank, bytes } = writeBank(team, `${prefix}.bank`);
  return { agents: team.agents.length, graphs, weightBytes: inGraphs + bytes, bank };
}

function writeBank(team: Team, path: string): { bank: BankFile; bytes: number } {
  const parts = [...bankTensors(team).values()].map(({ data }) => Buffer.from(data.buffer));
  const bytes = Buffer.concat(parts);
  writeFileSync(path, bytes);
  return { bank: { path, layers: adapterLayers(team) }, bytes: bytes.length };
}

function initializerBytes({ initializers }: OnnxModel): number {
  return [...initializers.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
}
