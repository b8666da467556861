/** Keeps labels from covering one another, along one line; not where they are drawn. */

/**
 * Ascending positions moved to be at least `gap` apart, each cluster about its own centre and, where there is
 * room, within 0 … `length`.
 */
export function spreadApart(positions: readonly number[], gap: number, length: number): number[] {
  const clusters: { centre: number; count: number }[] = [];
  for (const position of positions) {
    let cluster = { centre: position, count: 1 };
    for (let previous = clusters.at(-1); previous !== undefined; previous = clusters.at(-1)) {
      const touching = cluster.centre - previous.centre < ((cluster.count + previous.count) / 2) * gap;
      if (!touching) break;
      clusters.pop();
      const count = cluster.count + previous.count;
      cluster = {
        centre: (cluster.centre * cluster.count + previous.centre * previous.count) / count,
        count,
      };
    }
    const half = ((cluster.count - 1) / 2) * gap;
    cluster.centre = Math.max(half, Math.min(length - half, cluster.centre));
    clusters.push(cluster);
  }
  return clusters.flatMap(({ centre, count }) =>
    Array.from({ length: count }, (_, i) => centre + (i - (count - 1) / 2) * gap),
  );
}
