/**
 * Where each row of a batch goes in a graph's memory. A batch is several requests, each of rows with an agent
 * each; a graph wants them in its own order. Not what the rows hold.
 */

/** The agents of a request's rows, row-major. */
export type RowAgents =
  /** Row `e·N + n` belongs to agent n. */
  | { readonly kind: "team"; readonly environments: number }
  /** Row i belongs to agent `index[i]`, already checked to be in 0 … N−1. */
  | { readonly kind: "tagged"; readonly index: Int32Array }
  /** Every row belongs to one agent. */
  | { readonly kind: "agent"; readonly agent: number; readonly rows: number };

/** Graph row of each row of a request: `place + i`, or `place[i]`. */
export type Place = number | Int32Array;

/** A block of rows of equal width. */
export interface RowBlock<T extends Float32Array | BigInt64Array = Float32Array> {
  readonly data: T;
  readonly width: number;
}

export function rowCount(rows: RowAgents, agents: number): number {
  if (rows.kind === "team") return rows.environments * agents;
  return rows.kind === "tagged" ? rows.index.length : rows.rows;
}

/** Whether each row of two requests of as many rows is the same agent's. */
export function sameAgents(a: RowAgents, b: RowAgents, team: number): boolean {
  if (a.kind === b.kind && a.kind !== "tagged") return true;
  for (let row = 0; row < rowCount(a, team); row++) {
    if (agentOfRow(a, row, team) !== agentOfRow(b, row, team)) return false;
  }
  return true;
}

/** Agent of a row of a request. */
export function agentOfRow(agents: RowAgents, row: number, team: number): number {
  if (agents.kind === "team") return row % team;
  return agents.kind === "tagged" ? agents.index[row]! : agents.agent;
}

/** The most rows that any agent has in a batch. */
export function groupSize(batch: readonly RowAgents[], agents: number): number {
  let environments = 0;
  let counts: Int32Array | undefined;
  for (const rows of batch) {
    if (rows.kind === "team") environments += rows.environments;
    else {
      counts ??= new Int32Array(agents);
      if (rows.kind === "agent") counts[rows.agent]! += rows.rows;
      else for (let row = 0; row < rows.index.length; row++) counts[rows.index[row]!]!++;
    }
  }
  return environments + (counts?.reduce((most, count) => Math.max(most, count), 0) ?? 0);
}

/**
 * Places rows sorted by agent: agent n's k-th row of the batch goes to `n·size + k`, in the order of the requests.
 * @param size rows of a group, at least the largest count; rows beyond an agent's count are padding.
 */
export function groupPlaces(batch: readonly RowAgents[], agents: number, size: number): Place[] {
  const next = Int32Array.from({ length: agents }, (_, agent) => agent * size);
  return batch.map((rows) => {
    if (rows.kind === "tagged") return taggedPlaces(rows.index, next);
    if (rows.kind === "team") return teamPlaces(rows.environments, agents, size, next);
    const start = next[rows.agent]!;
    next[rows.agent] = start + rows.rows;
    return start;
  });
}

function taggedPlaces(index: Int32Array, next: Int32Array): Int32Array {
  const places = new Int32Array(index.length);
  for (let row = 0; row < index.length; row++) places[row] = next[index[row]!]!++;
  return places;
}

function teamPlaces(environments: number, agents: number, size: number, next: Int32Array): Place {
  // The only request of the batch, of one environment: the graph's order is the request's.
  if (size === 1) return 0;
  const places = new Int32Array(environments * agents);
  for (let agent = 0; agent < agents; agent++) {
    const start = next[agent]!;
    for (let environment = 0; environment < environments; environment++) {
      places[environment * agents + agent] = start + environment;
    }
    next[agent] = start + environments;
  }
  return places;
}

/** Places requests behind each other, as they are. */
export function rowPlaces(batch: readonly RowAgents[], agents: number): Place[] {
  let next = 0;
  return batch.map((rows) => {
    const start = next;
    next += rowCount(rows, agents);
    return start;
  });
}

/** The rows of a request that belong to an agent, in order. */
export function rowsOfAgent(rows: RowAgents, agents: number, agent: number): Int32Array {
  if (rows.kind === "team") {
    return Int32Array.from({ length: rows.environments }, (_, environment) => environment * agents + agent);
  }
  if (rows.kind === "agent") {
    return Int32Array.from({ length: rows.agent === agent ? rows.rows : 0 }, (_, row) => row);
  }
  return Int32Array.from([...rows.index.keys()].filter((row) => rows.index[row] === agent));
}

/** Copies a request's rows to their places; what a narrower row leaves is filled with zeros. */
export function gatherRows(into: RowBlock, from: RowBlock, place: Place): void {
  const { data: target, width } = into;
  const { data: source, width: stride } = from;
  if (typeof place === "number" && width === stride) {
    target.set(source, place * width);
    return;
  }
  const rows = source.length / stride;
  if (typeof place !== "number" && isPaired(into, from)) {
    copyPairs(pairsOf(target), pairsOf(source), place, width / 2, true);
    return;
  }
  const copied = Math.min(width, stride);
  for (let row = 0; row < rows; row++) {
    const start = (typeof place === "number" ? place + row : place[row]!) * width;
    const origin = row * stride;
    for (let i = 0; i < copied; i++) target[start + i] = source[origin + i]!;
    for (let i = copied; i < width; i++) target[start + i] = 0;
  }
}

/** The reverse: copies from their places; wider rows are cut, narrower ones completed with zeros. */
export function scatterRows<T extends Float32Array | BigInt64Array>(
  into: RowBlock<T>,
  from: RowBlock<T>,
  place: Place,
): void {
  const { data: target, width } = into;
  const { data: source, width: stride } = from;
  const rows = target.length / width;
  if (typeof place === "number" && width === stride) {
    // The two have one element type; the union of the two classes has no common `set`.
    (target as Float32Array).set(
      (source as Float32Array).subarray(place * width, place * width + target.length),
    );
    return;
  }
  if (typeof place !== "number" && isPaired(into, from)) {
    // Two float32 at a time: seen to be float32 by the check.
    copyPairs(pairsOf(target as Float32Array), pairsOf(source as Float32Array), place, width / 2, false);
    return;
  }
  const copied = Math.min(width, stride);
  for (let row = 0; row < rows; row++) {
    const origin = (typeof place === "number" ? place + row : place[row]!) * stride;
    const start = row * width;
    for (let i = 0; i < copied; i++) target[start + i] = source[origin + i]!;
  }
  if (copied < width) clearBehind(into, copied);
}

/** A block of int64 is a discrete action, one wide and never narrower. */
function clearBehind({ data, width }: RowBlock<Float32Array | BigInt64Array>, from: number): void {
  if (!(data instanceof Float32Array)) return;
  for (let row = 0; row * width < data.length; row++) data.fill(0, row * width + from, (row + 1) * width);
}

/** Whether rows can be copied as pairs of float32, read as one double each: half the steps. */
function isPaired(
  into: RowBlock<Float32Array | BigInt64Array>,
  from: RowBlock<Float32Array | BigInt64Array>,
): boolean {
  return (
    into.width === from.width &&
    into.width % 2 === 0 &&
    into.data instanceof Float32Array &&
    into.data.byteOffset % 8 === 0 &&
    from.data.byteOffset % 8 === 0
  );
}

/** A pair holds the bits of a NaN only where a float32 in it is one, so that finite rows arrive bit for bit. */
function pairsOf({ buffer, byteOffset, length }: Float32Array): Float64Array {
  return new Float64Array(buffer, byteOffset, length / 2);
}

/** @param toPlaces row i goes to place i; else it comes from there. */
function copyPairs(
  target: Float64Array,
  source: Float64Array,
  places: Int32Array,
  width: number,
  toPlaces: boolean,
): void {
  for (let row = 0; row < places.length; row++) {
    const place = places[row]! * width;
    const start = toPlaces ? place : row * width;
    const origin = toPlaces ? row * width : place;
    for (let i = 0; i < width; i++) target[start + i] = source[origin + i]!;
  }
}
