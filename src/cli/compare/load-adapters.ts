/** Many adapters in memory in either way, ready to act. Not what they take: see `adapters-worker.ts`. */
import type { Runtime } from "../../runtime/session.ts";
import type { Way } from "./contract.ts";
import { filledBank, LoadedMode } from "./loaded-mode.ts";
import type { ModeBytes } from "./mode-bytes.ts";

/** Loads so many adapters and runs them once; what is given back frees them. */
type AdapterLoader = (runtime: Runtime, modes: readonly ModeBytes[], count: number) => () => void;

/** `factored` takes the mode of that name and `rows`; `merged` the first of its graphs. */
export const ADAPTER_LOADERS = {
  factored: loadFactored,
  merged: loadMerged,
} as const satisfies Record<Way, AdapterLoader>;

const SEED = 5;

/** As the server has it: a graph for a whole team and one for rows over one bank, run once. */
function loadFactored(runtime: Runtime, modes: readonly ModeBytes[], adapters: number): () => void {
  const [{ agents, bank: bytes }] = modes as readonly [ModeBytes];
  const bank = filledBank(runtime, Math.max(adapters, agents), bytes!);
  const loaded = modes.map((each) => new LoadedMode(runtime, each, { bank }));
  for (const mode of loaded) mode.bind(mode.buffers(1, SEED))();
  return () => {
    for (const mode of loaded) mode.dispose();
    bank.dispose();
  };
}

/** A session each of one agent's graph, run once. */
function loadMerged(runtime: Runtime, modes: readonly ModeBytes[], sessions: number): () => void {
  const graph = modes[0]!.graphs[0]!;
  const graphs = Array.from({ length: sessions }, () => graph);
  const mode = new LoadedMode(runtime, { agents: sessions, graphs });
  mode.bind(mode.buffers(1, SEED))();
  return () => mode.dispose();
}
