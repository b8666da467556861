/** Reads a request's body within its limits; memory is never taken on the word of a header alone. */
import type { IncomingMessage } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import { CHUNK_LIMIT, PREALLOCATED_LIMIT_BYTES } from "../limits.ts";
import { inflateBody, requestCoding } from "./compression.ts";

/**
 * The whole body, inflated when it came compressed.
 * @param limitBytes of the body, both as it arrives and inflated.
 * @throws LORASA_TOO_LARGE as soon as it is known to be too large; LORASA_REQUEST for an unknown or damaged encoding,
 *   too many chunks, or a connection that closed before the end.
 */
export async function readBody(request: IncomingMessage, limitBytes: number): Promise<Buffer> {
  const { "content-length": length, "content-encoding": encoding } = request.headers;
  const coding = requestCoding(encoding);
  if (length !== undefined && Number(length) > limitBytes) throw tooLarge(limitBytes, length);
  const body = await readPieces(request, length === undefined ? undefined : Number(length), limitBytes);
  return coding === undefined ? body : inflateBody(body, coding, limitBytes);
}

/** @param length as Content-Length has it: HTTP's parser sees to it that no more arrives. */
function readPieces(
  request: IncomingMessage,
  length: number | undefined,
  limitBytes: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces = new Pieces(length);
    const stop = (error: LorasaError): void => {
      request.removeAllListeners("data");
      // What still comes is thrown away, so that the answer can be read.
      request.resume();
      reject(error);
    };
    request.on("data", (chunk: Buffer) => {
      pieces.add(chunk);
      if (pieces.bytes > limitBytes) stop(tooLarge(limitBytes, `${pieces.bytes} or more`));
      else if (pieces.count > CHUNK_LIMIT) stop(tooManyChunks());
    });
    request.on("end", () => resolve(pieces.whole()));
    request.on("error", () => reject(cutOff()));
    request.on("close", () => {
      if (!request.readableEnded) reject(cutOff());
    });
  });
}

/**
 * The pieces of a body. One piece is handed on as it is; more are put together in one buffer, which is made only when
 * it is small, or half of it has arrived.
 */
class Pieces {
  count = 0;
  bytes = 0;
  readonly #length: number | undefined;
  #list: Buffer[] = [];
  #target: Buffer | undefined;

  constructor(length: number | undefined) {
    this.#length = length;
  }

  add(chunk: Buffer): void {
    const at = this.bytes;
    this.count += 1;
    this.bytes += chunk.length;
    if (this.#target) {
      chunk.copy(this.#target, at);
      return;
    }
    this.#list.push(chunk);
    if (this.count > 1) this.#allocate();
  }

  /** Once, after the last piece. */
  whole(): Buffer {
    if (this.#target) return this.#target.subarray(0, this.bytes);
    return this.#list.length === 1 ? this.#list[0]! : Buffer.concat(this.#list, this.bytes);
  }

  #allocate(): void {
    const length = this.#length;
    if (length === undefined || length > Math.max(PREALLOCATED_LIMIT_BYTES, 2 * this.bytes)) return;
    this.#target = Buffer.allocUnsafe(length);
    let at = 0;
    for (const chunk of this.#list) at += chunk.copy(this.#target, at);
    this.#list = [];
  }
}

function tooLarge(limitBytes: number, received: string): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: "request body",
    expected: `at most ${limitBytes} bytes`,
    received: `${received} bytes`,
    mend: "send fewer rows, or start the server with a larger body limit",
  });
}

function tooManyChunks(): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: "request body",
    expected: `at most ${CHUNK_LIMIT} chunks`,
    received: "more",
  });
}

function cutOff(): LorasaError {
  return new LorasaError("LORASA_REQUEST", {
    asked: "request body",
    expected: "all of it",
    received: "a connection that closed before its end",
  });
}
