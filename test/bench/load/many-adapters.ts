/**
 * Thousands of adapters of one agent as PEFT's folders, and what the agent does with each. Not how they are served.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Team } from "../../../models/team.ts";
import { Random } from "../../../src/base/random.ts";
import { floatTensor, type HostTensor } from "../../../src/base/tensor.ts";
import { type Adapter, adapterParameters } from "../../../src/checkpoint/adapter.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../../src/checkpoint/peft.ts";
import { readModelManifest } from "../../../src/checkpoint/repository-files.ts";
import { createRuntime } from "../../../src/runtime/onnxruntime.ts";
import { adapterOf } from "./policy.ts";
import { stackParameters } from "./twin-policy.ts";

/** Adapters that the graph is given at once. */
const CHUNK = 250;
/** The largest number that is added to one of the agent's own adapter. */
const SPREAD = 0.3;

/** Name of an adapter of agent 0: `agent_0.00001`. */
export function adapterName(index: number): string {
  return `agent_0.${`${index}`.padStart(5, "0")}`;
}

/** Writes `<folder>/adapters/<name>/` for each. */
export function writeAdapters(team: Team, folder: string, count: number): void {
  for (let index = 0; index < count; index++) {
    const directory = join(folder, "adapters", adapterName(index));
    mkdirSync(directory);
    const files = encodeAdapter(variant(team, index));
    for (const file of [CONFIG_FILE, TENSORS_FILE]) writeFileSync(join(directory, file), files[file]!);
  }
}

/**
 * Actions of agent 0 with each adapter, float32 [count, K], by the exported rows graph.
 * @param row tensors of one row, [1, …] each.
 */
export function expectedActions(
  team: Team,
  folder: string,
  count: number,
  row: Readonly<Record<string, HostTensor>>,
): Float32Array {
  const { graphs, actionSize } = readModelManifest(folder);
  const session = createRuntime().createSession(readFileSync(join(folder, graphs.rows!)));
  const actions = new Float32Array(count * actionSize);
  for (let from = 0; from < count; from += CHUNK) {
    const rows = Math.min(CHUNK, count - from);
    const bank = Array.from({ length: rows }, (_, at) => adapterParameters(variant(team, from + at)));
    const { action } = session.run({
      ...repeated(row, rows),
      agent: { dtype: "int64", dims: [rows], data: new BigInt64Array(rows) },
      slot: {
        dtype: "int64",
        dims: [rows],
        data: BigInt64Array.from({ length: rows }, (_, at) => BigInt(at)),
      },
      ...stackParameters(bank),
    });
    if (action === undefined || !("data" in action)) throw new Error("a graph without action on the host");
    actions.set(action.data as Float32Array, from * actionSize);
  }
  session.dispose();
  return actions;
}

/** Bytes of an adapter's numbers in memory. */
export function adapterBytes(folder: string): number {
  const { adapterLayers } = readModelManifest(folder);
  return adapterLayers.reduce((sum, layer) => sum + 4 * layer.rank * (layer.in + layer.out), 0);
}

/** Agent 0's own adapter, moved by as much as tells it from all others. */
function variant(team: Team, index: number): Adapter {
  const random = new Random(index + 1);
  const own = adapterOf(team, 0);
  const moved = (value: number): number => value + SPREAD * random.uniformIn(-1, 1);
  const layers = own.layers.map((layer) => ({
    ...layer,
    loraB: { ...layer.loraB, data: layer.loraB.data.map(moved) },
  }));
  return { ...own, layers };
}

function repeated(row: Readonly<Record<string, HostTensor>>, rows: number) {
  return Object.fromEntries(
    Object.entries(row).map(([name, { dims, data }]) => {
      const all = floatTensor([rows, ...dims.slice(1)]);
      for (let at = 0; at < rows; at++) all.data.set(data as Float32Array, at * data.length);
      return [name, all];
    }),
  );
}
