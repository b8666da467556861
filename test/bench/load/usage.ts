/** Processor time and memory of this process. Not of its children. */

export interface Usage {
  /** User and system time of all threads since the process began. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** V8's heap and what it holds outside, such as typed arrays. */
  readonly usedBytes: number;
}

/** Garbage is collected first where the process was started so. */
export function usage(): Usage {
  // Buffers that one collection found are free after the next.
  globalThis.gc?.();
  globalThis.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { cpuSeconds: (user + system) / 1e6, residentBytes: rss, usedBytes: heapUsed + external };
}
