/** Zeros behind the features of agents that have fewer than the longest: the same in, and out, in every mode. */
import type { ModelManifest } from "../../src/checkpoint/repository.ts";
import { agentOfRow, type RowAgents, type RowBlock, rowCount } from "./placement.ts";
import { type RowSizes, rowSizes } from "./policy-tensors.ts";

/** Width of an agent's own features in a row, such as its observation size. */
export type OwnWidth = (sizes: RowSizes) => number;

/** Whether some agent's rows of this width are padded in the team's. */
export function isPadded(manifest: ModelManifest, own: OwnWidth): boolean {
  const widest = own(rowSizes(manifest));
  return manifest.agents.some((_, agent) => own(rowSizes(manifest, agent)) < widest);
}

/** Overwrites the padding of every row with zeros, in place. */
export function clearPadding(
  { data, width }: RowBlock<Float32Array | BigInt64Array>,
  manifest: ModelManifest,
  agents: RowAgents,
  own: OwnWidth,
): void {
  const team = manifest.agents.length;
  const widths = manifest.agents.map((_, agent) => own(rowSizes(manifest, agent)));
  const rows = rowCount(agents, team);
  for (let row = 0; row < rows; row++) {
    const from = row * width + widths[agentOfRow(agents, row, team)]!;
    // A block of int64 is a discrete action, one wide and never padded.
    (data as Float32Array).fill(0, from, (row + 1) * width);
  }
}
