/** What a run of a graph costs by its rows, measured when the model is loaded: straight lines between the points. */
import type { BoundGraph, FixedInputs } from "./bound-graph.ts";

/** Rows an agent (or rows) at which a graph is timed. */
const SIZES = [1, 4, 16, 64];
const TRIES = 4;
/** No larger size is tried after a second one as long as this. */
const LONG_MS = 5;

interface Point {
  readonly rows: number;
  readonly ms: number;
}

export class CostModel {
  readonly #points: readonly Point[];

  /** @param points at least one, by ascending rows. */
  constructor(points: readonly Point[]) {
    this.#points = points;
  }

  /** Milliseconds for a run of that many rows; the last line goes on beyond the largest that was timed. */
  estimate(rows: number): number {
    const points = this.#points;
    if (points.length === 1) return (points[0]!.ms * rows) / points[0]!.rows;
    let at = 1;
    while (at < points.length - 1 && rows > points[at]!.rows) at += 1;
    const low = points[at - 1]!;
    const high = points[at]!;
    const slope = (high.ms - low.ms) / (high.rows - low.rows);
    return Math.max(low.ms + slope * (rows - low.rows), 0);
  }
}

/**
 * Times a graph.
 * @param unit rows of the graph when one is asked for: the number of agents for a team graph.
 */
export function measureCost(graph: BoundGraph, unit: number, fixed: FixedInputs): CostModel {
  const points: Point[] = [];
  for (const size of SIZES) {
    const ms = timeRun(graph, size, fixed);
    // A shorter time for more rows is noise, and a line that falls would favour large runs without end.
    points.push({ rows: size * unit, ms: Math.max(ms, points.at(-1)?.ms ?? 0) });
    // One point would be a line through nothing, which no device with a queue is.
    if (ms > LONG_MS && points.length > 1) break;
  }
  return new CostModel(points);
}

/** The shortest of a few, since everything else that this machine does only adds to it. */
function timeRun(graph: BoundGraph, size: number, fixed: FixedInputs): number {
  const binding = graph.bind(graph.leading(size), fixed);
  // A device compiles its kernels at their first run, which can take seconds.
  if (graph.session.device !== "cpu") binding.run();
  let best = Number.POSITIVE_INFINITY;
  let spent = 0;
  // The first run may be long because of the machine: only what stays long is not tried again.
  for (let attempt = 0; attempt < TRIES && spent < TRIES * LONG_MS; attempt++) {
    const started = performance.now();
    binding.run();
    const ms = performance.now() - started;
    best = Math.min(best, ms);
    spent += ms;
  }
  return best;
}
