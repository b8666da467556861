/**
 * Protobuf's wire format: messages read field by field or whole, and written. What is not a message is the client's
 * mistake. Not what the messages hold.
 */
import protobuf, { type Reader, type Type } from "protobufjs";
import { LorasaError } from "../../src/base/errors.ts";

/** A decoded message; fields that were not sent read as their defaults. */
export type Fields = Readonly<Record<string, unknown>>;

/** How a field's value is laid out: a varint, eight bytes, bytes after their length, or four bytes. */
export const WIRE = { varint: 0, eight: 1, delimited: 2, four: 5 } as const;

export type Wire = (typeof WIRE)[keyof typeof WIRE];

/** What stands before a field's value. */
export function tagOf(field: number, wire: Wire): number {
  return (field << 3) | wire;
}

/**
 * Calls back with the tag of each field; skips those that are not taken.
 * @param take reads the field and returns true, or returns false.
 * @throws LORASA_REQUEST for bytes that are not a message.
 */
export function readFields(bytes: Uint8Array, take: (tag: number, reader: Reader) => boolean): void {
  const reader = protobuf.Reader.create(bytes);
  try {
    while (reader.pos < reader.len) {
      const tag = reader.tag();
      if (!take(tag, reader)) reader.skipType(tag & 7, 0, tag >>> 3);
    }
  } catch (error) {
    throw fromReader(error);
  }
}

/** Calls back until a packed field's elements are read. */
export function eachPacked(reader: Reader, take: (packed: Reader) => void): void {
  const packed = protobuf.Reader.create(reader.bytes());
  while (packed.pos < packed.len) take(packed);
}

/**
 * Decodes a message whole.
 * @throws LORASA_REQUEST for bytes that are not one.
 */
export function decodeMessage(type: Type, bytes: Uint8Array): Fields {
  try {
    // A message is an object of its fields, each of which is checked where it is read.
    return type.decode(bytes) as unknown as Fields;
  } catch (error) {
    throw fromReader(error);
  }
}

/** Encodes plain fields whose kinds are already those of the message. */
export function encodeMessage(type: Type, fields: object): Buffer {
  // Under Node the writer's memory is a Buffer.
  return type.encode(fields).finish() as Buffer;
}

/** Length-delimited bytes as a view of the message. */
export function readBytes(reader: Reader): Buffer {
  // A reader of a Buffer gives Buffers.
  return reader.bytes() as Buffer;
}

/** Exact from −2^63 to 2^63 − 1. */
export function readInt64(reader: Reader): bigint {
  const { low, high } = reader.int64();
  return (BigInt(high) << 32n) | BigInt(low >>> 0);
}

/** Exact from 0 to 2^64 − 1. */
export function readUint64(reader: Reader): bigint {
  const { low, high } = reader.uint64();
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}

/** A signed 64-bit integer as a number: exact where it is safe, and never safe where it is not exact. */
export function readSize(reader: Reader): number {
  const { low, high } = reader.int64();
  return high * 2 ** 32 + (low >>> 0);
}

/** Text that is not UTF-8 is the client's mistake, and the decoder's error for it a TypeError. */
function isBadText(error: NodeJS.ErrnoException): boolean {
  return error.code === "ERR_ENCODING_INVALID_ENCODED_DATA";
}

/** The reader throws plain errors for bad bytes; a fault of our own is a TypeError and stays one. */
function fromReader(error: unknown): unknown {
  if (error instanceof LorasaError || (error instanceof TypeError && !isBadText(error))) return error;
  return new LorasaError("LORASA_REQUEST", {
    asked: "request message",
    expected: "a protobuf message of the method's type",
    received: "bytes that are not one",
  });
}
