/** The graphs and banks that are verified and measured; what an export holds, without its manifest. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type GraphOptions,
  mergedGraph,
  rowsGraph,
  stackedGraph,
  teamGraph,
} from "../../../exporters/graphs.ts";
import { mergedWeights } from "../../../exporters/weights.ts";
import { adapterLayers, agentAdapter, type Team } from "../../../models/team.ts";
import { adapterLayout, adapterValues } from "../../../server/engine/resident-adapter.ts";
import { DTYPES } from "../../base/tensor.ts";
import { adapterParameters } from "../../checkpoint/adapter.ts";
import { ADAPTER_DTYPES, type Precision } from "../../checkpoint/repository.ts";
import { encodeModel } from "../../onnx/encode.ts";
import type { OnnxModel } from "../../onnx/model.ts";
import type { Mode, TeamFiles, WeightBytes } from "./contract.ts";
import type { BankBytes, ModeBytes } from "./mode-bytes.ts";

/** The graphs of each mode, one an agent when merged. */
const MODE_GRAPHS = {
  merged: (team, options) => {
    const weights = mergedWeights(team);
    return team.agents.map((_, agent) => mergedGraph(team, agent, options, weights));
  },
  stacked: (team, options) => [stackedGraph(team, options)],
  factored: (team, options) => [teamGraph(team, options)],
  rows: (team, options) => [rowsGraph(team, options)],
} as const satisfies Record<Mode, (team: Team, options: GraphOptions) => OnnxModel[]>;

/** The modes whose adapters are inputs. */
export function hasBank(mode: Mode): boolean {
  return mode === "factored" || mode === "rows";
}

/**
 * One mode of a team, ready to be loaded, and what its numbers take.
 * @throws LORASA_RANGE for a weight that the precision does not hold.
 */
export function modeBytes(
  team: Team,
  mode: Mode,
  precision: Precision,
): { readonly loaded: ModeBytes; readonly bytes: WeightBytes } {
  const models = MODE_GRAPHS[mode](team, { precision });
  const backbone = models.reduce((sum, model) => sum + constantBytes(model), 0);
  const inGraphs = { agents: team.agents.length, graphs: models.map(encodeModel) };
  if (!hasBank(mode)) return { loaded: inGraphs, bytes: { backbone, bank: 0, adapter: 0 } };
  const bank = bankBytes(team, precision);
  const whole = bank.values.byteLength;
  return {
    loaded: { ...inGraphs, bank },
    bytes: { backbone, bank: whole, adapter: whole / team.agents.length },
  };
}

/** Writes one mode of a team into a folder that exists. @throws as {@link modeBytes}. */
export function writeTeamFiles(team: Team, mode: Mode, precision: Precision, folder: string): TeamFiles {
  const { loaded, bytes } = modeBytes(team, mode, precision);
  const prefix = join(folder, `${mode}-${precision}-${loaded.agents}`);
  const graphs = loaded.graphs.map((graph, index) => {
    const path = `${prefix}-${index}.onnx`;
    writeFileSync(path, graph);
    return path;
  });
  const { bank, agents } = loaded;
  if (!bank) return { agents, graphs, bytes };
  writeFileSync(`${prefix}.bank`, new Uint8Array(bank.values.buffer));
  return { agents, graphs, bytes, bank: { path: `${prefix}.bank`, layers: bank.layers } };
}

/** Exact bytes of a graph's constants. */
function constantBytes({ initializers }: OnnxModel): number {
  return [...initializers.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
}

function bankBytes(team: Team, precision: Precision): BankBytes {
  const layers = adapterLayers(team);
  const layout = adapterLayout(layers);
  const values = new DTYPES[ADAPTER_DTYPES[precision]].array(team.agents.length * layout.length);
  for (const [agent, { name }] of team.agents.entries()) {
    const parameters = adapterParameters({ layers: agentAdapter(team, agent), backboneSha256: "" });
    values.set(adapterValues(layout, parameters, precision, `adapter ${name}`), agent * layout.length);
  }
  return { values, layers, precision };
}
