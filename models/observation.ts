/** From what the simulator gives to what the network reads: padding, agent id, standardisation, inside the graph. */
import { floatTensor } from "../src/base/tensor.ts";
import type { GraphBuilder } from "../src/graph/builder.ts";
import type { Value } from "../src/graph/value.ts";
import { normalise } from "./layers.ts";

/** How a raw vector becomes the network's input. */
export interface EncoderConfig {
  /** N. */
  readonly agents: number;
  /** O: raw length, padded. */
  readonly size: number;
  /** Appends the agent's one-hot row of length N. */
  readonly agentId: boolean;
  /** Subtracts the vector's own mean and divides by its own standard deviation, the id included. */
  readonly standardise: boolean;
}

/** Keeps a vector of equal numbers finite; far below any spread that a simulator produces. */
const STANDARDISE_EPSILON = 1e-8;

/** Length of the encoded vector. */
export function encodedSize({ size, agents, agentId }: EncoderConfig): number {
  return agentId ? size + agents : size;
}

/**
 * Encodes raw vectors whose id rows are given.
 * @param raw float32 [..., O] or shorter: the rest is zero.
 * @param id float32 that broadcasts over [..., O + N], from {@link teamId} or {@link rowId}; none without agent ids.
 */
export function encode(g: GraphBuilder, raw: Value, config: EncoderConfig, id: Value | undefined): Value {
  return g.scope("encode", () => {
    const padded = g.padTo(raw, -1, encodedSize(config));
    const tagged = id ? g.add(padded, id) : padded;
    return config.standardise ? normalise(g, tagged, STANDARDISE_EPSILON) : tagged;
  });
}

/** Rows `[0 … 0 | one-hot]` of all agents, float32 [N, 1, O + N]: added to padded vectors `[N, R, O + N]`. */
export function teamId(g: GraphBuilder, config: EncoderConfig): Value | undefined {
  return config.agentId ? g.unsqueeze(idTable(g, config), [1]) : undefined;
}

/** The row of each tagged vector, float32 [B, O + N]. @param agent int64 [B], validated by the caller. */
export function rowId(g: GraphBuilder, config: EncoderConfig, agent: Value): Value | undefined {
  return config.agentId ? g.gather(idTable(g, config), agent) : undefined;
}

/** The rows of agents picked by rows of an identity, float32 [b, 1, O + N]. @param pick float32 [b, N]. */
export function pickedId(g: GraphBuilder, config: EncoderConfig, pick: Value): Value | undefined {
  return config.agentId ? g.unsqueeze(g.matMul(pick, idTable(g, config)), [1]) : undefined;
}

/** The row of one agent, float32 [1, O + N]. */
export function agentId(g: GraphBuilder, config: EncoderConfig, agent: number): Value | undefined {
  if (!config.agentId) return undefined;
  const row = new Float32Array(encodedSize(config));
  row[config.size + agent] = 1;
  return g.constant("agent_id", floatTensor([1, row.length], row));
}

function idTable(g: GraphBuilder, config: EncoderConfig): Value {
  const width = encodedSize(config);
  const table = new Float32Array(config.agents * width);
  for (let agent = 0; agent < config.agents; agent++) table[agent * width + config.size + agent] = 1;
  return g.constant("agent_ids", floatTensor([config.agents, width], table));
}
