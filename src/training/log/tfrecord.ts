/** TFRecord framing and its checksum, CRC-32C; not what the records hold. */

/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78;
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let word = byte;
  for (let bit = 0; bit < 8; bit++) word = word & 1 ? (word >>> 1) ^ POLYNOMIAL : word >>> 1;
  return word;
});

/** CRC-32C as an unsigned 32-bit number. @source RFC 3720, appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let word = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) word = TABLE[(word ^ bytes[i]!) & 0xff]! ^ (word >>> 8);
  return ~word >>> 0;
}

/** Rotated right by 15 bits plus a constant: a checksum that may itself be checksummed. */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Length (8 bytes), its masked checksum, the data, its masked checksum; numbers little-endian. */
export function tfRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(data.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(crc32c(record.subarray(0, 8))), true);
  record.set(data, 12);
  view.setUint32(data.length + 12, masked(crc32c(data)), true);
  return record;
}
