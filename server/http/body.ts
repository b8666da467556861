/** Reads a request's body within its limits; memory is never taken on the word of a header alone. */
import type { IncomingMessage } from "node:http";
import { LorasaError } from "../../src/base/errors.ts";
import { ARRIVING_LIMIT_BYTES, CHUNK_LIMIT } from "../limits.ts";
import { takeBuffer } from "./body-pool.ts";
import { inflateBody, requestCoding } from "./compression.ts";

/** What is known of a body before it is read. */
export interface BodyForm {
  /**
   * Where tensors begin in it: when it is put together anyway, they come to lie on multiples of eight bytes and need no
   * copy of their own.
   */
  readonly tensorsAt?: number;
  /** Of a compressed body, inflated, where that is less than what may arrive. */
  readonly inflatedLimitBytes?: number;
}

/** Bytes of bodies that have arrived and are not whole. */
let arriving = 0;

/**
 * The whole body, inflated when it came compressed. Its memory may be given back with `giveBuffer`.
 * @param limitBytes of the body, both as it arrives and inflated.
 * @throws LORASA_TOO_LARGE as soon as it is known to be too large; LORASA_REQUEST for an unknown or damaged encoding,
 *   too many chunks, or a connection that closed before the end.
 */
export async function readBody(
  request: IncomingMessage,
  limitBytes: number,
  { tensorsAt = 0, inflatedLimitBytes = limitBytes }: BodyForm = {},
): Promise<Buffer> {
  const { "content-length": length, "content-encoding": encoding } = request.headers;
  const coding = requestCoding(encoding);
  if (length !== undefined && Number(length) > limitBytes) throw tooLarge(limitBytes, length);
  const body = await readChunks(request, limitBytes, tensorsAt);
  return coding === undefined ? body : inflateBody(body, coding, Math.min(limitBytes, inflatedLimitBytes));
}

/** One chunk is handed on as it is; more are kept as they came, and joined when their length is known. */
function readChunks(request: IncomingMessage, limitBytes: number, tensorsAt: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const finish = (): void => {
      arriving -= bytes;
      bytes = 0;
    };
    const stop = (error: LorasaError): void => {
      finish();
      request.removeAllListeners("data");
      // What still comes is thrown away, so that the answer can be read.
      request.resume();
      reject(error);
    };
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      arriving += chunk.length;
      if (bytes > limitBytes) stop(tooLarge(limitBytes, `${bytes} or more`));
      else if (arriving > ARRIVING_LIMIT_BYTES) stop(tooMuchArriving());
      else if (chunks.push(chunk) > CHUNK_LIMIT) stop(tooManyChunks());
    });
    request.on("end", () => {
      const whole = chunks.length === 1 ? chunks[0]! : joinChunks(chunks, bytes, tensorsAt);
      finish();
      resolve(whole);
    });
    // Also after an error: Node emits none where nobody listens for it.
    request.on("close", () => {
      finish();
      if (!request.readableEnded) reject(cutOff());
    });
  });
}

function joinChunks(chunks: readonly Buffer[], bytes: number, tensorsAt: number): Buffer {
  const body = takeBuffer(bytes, (8 - (tensorsAt % 8)) % 8);
  let at = 0;
  for (const chunk of chunks) at += chunk.copy(body, at);
  return body;
}

function tooLarge(limitBytes: number, received: string): LorasaError {
  return new LorasaError("LORASA_TOO_LARGE", {
    asked: "request body",
    expected: `at most ${limitBytes} bytes`,
    received: `${received} bytes`,
    mend: "send fewer rows, or start the server with a larger body limit",
  });
}

function tooMuchArriving(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "request body",
    expected: `at most ${ARRIVING_LIMIT_BYTES} bytes arriving at once, over all connections`,
    received: "more",
    mend: "try again",
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
