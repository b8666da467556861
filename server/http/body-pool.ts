/**
 * Buffers for bodies that came in several pieces, to be filled again: a new one for each request is most of what
 * large requests leave to the garbage collector. A buffer is given back when nothing reads it any more.
 */

/** Larger bodies get buffers of their own. */
const LARGEST_BYTES = 2 ** 20;
/** Most free buffers of a size. */
const FREE_LIMIT = 8;

/** Free buffers by size, a power of two. */
const free = new Map<number, Buffer[]>();
const taken = new WeakMap<ArrayBufferLike, Buffer>();

/** A buffer of that many bytes behind `offset` bytes from a multiple of eight; its contents are undefined. */
export function takeBuffer(bytes: number, offset: number): Buffer {
  const needed = bytes + offset;
  if (needed > LARGEST_BYTES) return Buffer.allocUnsafeSlow(needed).subarray(offset);
  const size = 2 ** Math.ceil(Math.log2(Math.max(needed, 4096)));
  const whole = free.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
  taken.set(whole.buffer, whole);
  return whole.subarray(offset, needed);
}

/** Gives a buffer back, or any view of it; others are left alone. */
export function giveBuffer(view: Buffer): void {
  const whole = taken.get(view.buffer);
  if (!whole) return;
  taken.delete(view.buffer);
  const list = free.get(whole.length) ?? [];
  if (list.length < FREE_LIMIT) list.push(whole);
  free.set(whole.length, list);
}
