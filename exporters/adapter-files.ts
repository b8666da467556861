/** Files of the adapters beside a factored export, in PEFT's format and in ONNX Runtime's. */
import { agentAdapter, type Team } from "../models/team.ts";
import { floatTensor, type HostTensor } from "../src/base/tensor.ts";
import { type Adapter, adapterParameters } from "../src/checkpoint/adapter.ts";
import { encodeOnnxAdapter } from "../src/checkpoint/onnx-adapter.ts";
import { encodeAdapter } from "../src/checkpoint/peft.ts";
import { ADAPTER_DTYPES, type Precision } from "../src/checkpoint/repository.ts";
import { typedTensor } from "./precision.ts";

export interface AdapterFileOptions {
  /** Of the model that they are for. */
  readonly version: number;
  readonly precision: Precision;
}

/** The adapter of every agent, in order. */
export function teamAdapters(team: Team, backboneSha256: string): Adapter[] {
  return team.agents.map((_, agent) => ({ backboneSha256, layers: agentAdapter(team, agent) }));
}

/**
 * `adapters/<agent>/` as PEFT has it, and `adapters/<agent>.onnx_adapter`, by path. PEFT's are float32 whatever the
 * precision: the same that checkpoints hold and training pushes, rounded by who feeds a graph. The others are a graph's
 * inputs as they are.
 * @throws LORASA_RANGE for a factor that the precision does not hold.
 */
export function adapterFiles(
  team: Team,
  adapters: readonly Adapter[],
  { version, precision }: AdapterFileOptions,
): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  const lora = team.sharing.kind === "low-rank" ? team.sharing.lora : undefined;
  for (const [agent, adapter] of adapters.entries()) {
    const { name } = team.agents[agent]!;
    const options = lora && { rank: lora.rank, alpha: lora.alpha };
    for (const [file, bytes] of Object.entries(encodeAdapter(adapter, options))) {
      files.set(`adapters/${name}/${file}`, bytes);
    }
    const versions = { adapterVersion: 1, modelVersion: version };
    const parameters = singleParameters(team, agent, adapter, precision);
    files.set(`adapters/${name}.onnx_adapter`, encodeOnnxAdapter(parameters, versions));
  }
  return files;
}

/** An adapter as a graph of the precision takes it, see `adapterParameters`. @throws LORASA_RANGE. */
export function graphAdapter(adapter: Adapter, precision: Precision): Map<string, HostTensor> {
  const dtype = ADAPTER_DTYPES[precision];
  return new Map(
    [...adapterParameters(adapter)].map(([name, tensor]) => [name, typedTensor(tensor, dtype, name)]),
  );
}

/** All that the `single` graph needs to be one agent: the factors, scale folded in, and `agent_id` float32 [1, N]. */
function singleParameters(
  team: Team,
  agent: number,
  adapter: Adapter,
  precision: Precision,
): Map<string, HostTensor> {
  const row = floatTensor([1, team.agents.length]);
  row.data[agent] = 1;
  return new Map<string, HostTensor>([["agent_id", row], ...graphAdapter(adapter, precision)]);
}
