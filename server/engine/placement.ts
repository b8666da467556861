/**
 * Where each row of a request goes in a graph's memory. Every request is rows with an agent each; a graph wants
 * them in its own order. Not what the rows hold.
 */

/** The agents of a request's rows, row-major. */
export type RowAgents =
  /** Row `e·N + n` belongs to agent n. */
  | { readonly kind: "team"; readonly environments: number }
  /** Row i belongs to agent `index[i]`, already checked to be in 0 … N−1. */
  | { readonly kind: "tagged"; readonly index: Int32Array }
  /** Every row belongs to one agent. */
  | { readonly kind: "agent"; readonly agent: number; readonly rows: number };

/** Rows sorted by agent into equal groups: `order[n·size + k]` is the k-th row of agent n, or −1 for padding. */
export interface Grouping {
  readonly size: number;
  readonly order: Int32Array;
  /** Rows of each agent. */
  readonly counts: Int32Array;
}

export function rowCount(rows: RowAgents, agents: number): number {
  if (rows.kind === "team") return rows.environments * agents;
  return rows.kind === "tagged" ? rows.index.length : rows.rows;
}

/** Groups the rows of a request, keeping their order within an agent. */
export function groupRows(rows: RowAgents, agents: number): Grouping {
  if (rows.kind === "team") return groupTeam(rows.environments, agents);
  const index = rows.kind === "tagged" ? rows.index : new Int32Array(rows.rows).fill(rows.agent);
  const counts = new Int32Array(agents);
  for (let row = 0; row < index.length; row++) counts[index[row]!]!++;
  const size = counts.reduce((most, count) => Math.max(most, count), 0);
  const order = new Int32Array(agents * size).fill(-1);
  const filled = new Int32Array(agents);
  for (let row = 0; row < index.length; row++) {
    const agent = index[row]!;
    order[agent * size + filled[agent]!++] = row;
  }
  return { size, order, counts };
}

function groupTeam(environments: number, agents: number): Grouping {
  const order = new Int32Array(agents * environments);
  for (let agent = 0, at = 0; agent < agents; agent++) {
    for (let environment = 0; environment < environments; environment++) {
      order[at++] = environment * agents + agent;
    }
  }
  return { size: environments, order, counts: new Int32Array(agents).fill(environments) };
}

/** A block of rows of equal width. */
export interface RowBlock<T extends Float32Array | BigInt64Array = Float32Array> {
  readonly data: T;
  readonly width: number;
}

/** Fills `into` with the rows that `order` names; narrower rows and padding are completed with zeros. */
export function gatherRows(into: RowBlock, from: RowBlock, order: Int32Array): void {
  const { data: target, width } = into;
  const { data: source, width: stride } = from;
  const copied = Math.min(width, stride);
  for (let row = 0; row < order.length; row++) {
    const start = row * width;
    const origin = order[row]! * stride;
    if (origin < 0) target.fill(0, start, start + width);
    else {
      for (let i = 0; i < copied; i++) target[start + i] = source[origin + i]!;
      for (let i = copied; i < width; i++) target[start + i] = 0;
    }
  }
}

/** The reverse: row k of `from` goes to row `order[k]` of `into`; padding is dropped, wider rows are cut. */
export function scatterRows<T extends Float32Array | BigInt64Array>(
  into: RowBlock<T>,
  from: RowBlock<T>,
  order: Int32Array,
): void {
  const { data: target, width } = into;
  const { data: source, width: stride } = from;
  const copied = Math.min(width, stride);
  for (let row = 0; row < order.length; row++) {
    const start = order[row]! * width;
    const origin = row * stride;
    if (start >= 0) for (let i = 0; i < copied; i++) target[start + i] = source[origin + i]!;
  }
}
