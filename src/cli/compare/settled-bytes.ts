/** What this process takes of memory, garbage aside; it must run with `--expose-gc`. */

/** Resident bytes without V8's heap. Buffers that one collection found are free after the next. */
export function settledBytes(): number {
  globalThis.gc!();
  globalThis.gc!();
  const { rss, heapTotal } = process.memoryUsage();
  return rss - heapTotal;
}
