/** What a mode is loaded from, and the files that bring it into a measuring process. Not how it is made. */
import { readFileSync } from "node:fs";
import { DTYPES } from "../../base/tensor.ts";
import { ADAPTER_DTYPES, type AdapterLayer, type Precision } from "../../checkpoint/repository.ts";
import type { SlotValues } from "../../runtime/slots.ts";
import type { TeamFiles } from "./contract.ts";

/** Nothing of it is read again from disk. */
export interface ModeBytes {
  readonly agents: number;
  /** One an agent when merged. */
  readonly graphs: readonly Uint8Array[];
  readonly bank?: BankBytes;
}

export interface BankBytes {
  /** [N, …] in the graphs' type: each agent's adapter as the server's `AdapterLayout` has it, the scale folded in. */
  readonly values: SlotValues;
  readonly layers: readonly AdapterLayer[];
  /** Of the graphs' inputs. */
  readonly precision: Precision;
}

/** What `writeTeamFiles` wrote. */
export function readTeamFiles({ agents, graphs, bank }: TeamFiles, precision: Precision): ModeBytes {
  const files = graphs.map((path) => readFileSync(path));
  if (!bank) return { agents, graphs: files };
  const { buffer } = new Uint8Array(readFileSync(bank.path));
  const values = new DTYPES[ADAPTER_DTYPES[precision]].array(buffer);
  return { agents, graphs: files, bank: { values, layers: bank.layers, precision } };
}
