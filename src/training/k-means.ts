/** k-means over a few points, and how well a grouping fits. */
import type { Random } from "../base/random.ts";

/** The best of so many starts is taken. */
const STARTS = 10;
const ITERATIONS = 100;

type Point = ArrayLike<number>;

/**
 * The group of each point, 0 to k − 1, with the least sum of squared distances to the groups' means over several starts.
 * @source Lloyd's algorithm; first means as in k-means++ (Arthur and Vassilvitskii, 2007).
 */
export function kMeans(points: readonly Point[], k: number, random: Random): number[] {
  let best: { readonly groups: number[]; readonly cost: number } | undefined;
  for (let start = 0; start < STARTS; start++) {
    const found = lloyd(points, firstMeans(points, k, random));
    if (best === undefined || found.cost < best.cost) best = found;
  }
  return best!.groups;
}

/**
 * Mean over points of (b − a) / max(a, b): a is the mean distance to others of its group, b to those of the nearest other
 * group; 0 for a point that is alone. From −1 (wrong) to 1 (well apart).
 * @source Rousseeuw, Silhouettes, 1987.
 */
export function silhouette(points: readonly Point[], groups: readonly number[]): number {
  const names = [...new Set(groups)];
  const scores = points.map((point, index) => {
    const meanTo = (group: number): number => {
      const others = points.filter((_, other) => other !== index && groups[other] === group);
      return others.reduce((sum, other) => sum + Math.sqrt(squaredDistance(point, other)), 0) / others.length;
    };
    const own = meanTo(groups[index]!);
    if (Number.isNaN(own)) return 0;
    const nearest = Math.min(...names.filter((group) => group !== groups[index]).map(meanTo));
    const wider = Math.max(own, nearest);
    return wider === 0 || !Number.isFinite(nearest) ? 0 : (nearest - own) / wider;
  });
  return scores.reduce((sum, score) => sum + score, 0) / points.length;
}

/** Each further mean is a point drawn by its squared distance to the nearest so far. */
function firstMeans(points: readonly Point[], k: number, random: Random): Point[] {
  const means: Point[] = [points[random.integer(points.length)]!];
  while (means.length < k) {
    const weights = points.map((point) => Math.min(...means.map((mean) => squaredDistance(point, mean))));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let left = random.uniformIn(0, total);
    const drawn = weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
    means.push(points[drawn < 0 ? random.integer(points.length) : drawn]!);
  }
  return means;
}

function lloyd(points: readonly Point[], first: readonly Point[]): { groups: number[]; cost: number } {
  let means = first;
  let groups: number[] = [];
  for (let iteration = 0; iteration < ITERATIONS; iteration++) {
    const next = points.map((point) => nearestTo(point, means));
    if (next.every((group, index) => group === groups[index])) break;
    groups = next;
    means = means.map((mean, group) => meanOf(points.filter((_, index) => groups[index] === group)) ?? mean);
  }
  const cost = points.reduce((sum, point, index) => sum + squaredDistance(point, means[groups[index]!]!), 0);
  return { groups, cost };
}

function nearestTo(point: Point, means: readonly Point[]): number {
  const distances = means.map((mean) => squaredDistance(point, mean));
  return distances.indexOf(Math.min(...distances));
}

function meanOf(points: readonly Point[]): Point | undefined {
  const [first] = points;
  if (first === undefined) return undefined;
  return Float64Array.from(
    { length: first.length },
    (_, k) => points.reduce((sum, p) => sum + p[k]!, 0) / points.length,
  );
}

function squaredDistance(a: Point, b: Point): number {
  let sum = 0;
  for (let k = 0; k < a.length; k++) sum += (a[k]! - b[k]!) ** 2;
  return sum;
}
