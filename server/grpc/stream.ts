/**
 * `ModelStreamInfer`: requests of a stream are begun as they arrive, so that they can run together, and answered in
 * their order. The error of one is its answer, and the stream goes on.
 */
import type { handleBidiStreamingCall, ServerDuplexStream } from "@grpc/grpc-js";
import { LorasaError } from "../../src/base/errors.ts";
import { admit, type Door } from "./door.ts";
import { readInferRequest, readRequestId } from "./infer-request.ts";
import { writeStreamError, writeStreamResponse } from "./infer-response.ts";
import { toStatus } from "./status.ts";

type Stream = ServerDuplexStream<Buffer, Buffer>;

/** Most requests of one stream that have begun and whose answers were not taken yet; later ones wait unread. */
const WINDOW = 64;

export function streamHandler(door: Door): handleBidiStreamingCall<Buffer, Buffer> {
  return (stream) => {
    try {
      admit(door, "infer", stream.metadata);
    } catch (error) {
      door.failed(error);
      stream.emit("error", toStatus(error));
      return;
    }
    serve(door, stream);
  };
}

function serve(door: Door, stream: Stream): void {
  let answered = Promise.resolve();
  let begun = 0;
  let bytesBegun = 0;
  let closing = false;
  const isFull = (): boolean => begun >= WINDOW || bytesBegun >= door.messageLimitBytes;
  stream.on("data", (bytes: Buffer) => {
    if (closing) return;
    begun++;
    bytesBegun += bytes.length;
    if (isFull()) stream.pause();
    const reply = answer(door, stream, bytes);
    answered = answered.then(async () => {
      await write(stream, await reply);
      begun--;
      bytesBegun -= bytes.length;
      if (!isFull()) stream.resume();
    });
  });
  stream.on("end", () => answered.then(() => stream.end()));
  const close = (): void => {
    closing = true;
    answered.then(() => stream.emit("error", toStatus(stopping())));
  };
  door.lasting.add(close);
  stream.on("cancelled", () => door.lasting.delete(close));
}

/** Never rejects: an error is an answer. */
async function answer(door: Door, stream: Stream, bytes: Buffer): Promise<Buffer> {
  try {
    const { model, version, request } = readInferRequest(bytes);
    const endpoint = door.service.endpoint(model, version);
    const call = { cancelled: () => stream.cancelled };
    return writeStreamResponse(request.id, await door.service.infer(endpoint, request, call));
  } catch (error) {
    door.failed(error);
    return writeStreamError(readRequestId(bytes), toStatus(error).details);
  }
}

/** Resolves when the connection has taken the message; at once when nobody waits for it. */
function write(stream: Stream, bytes: Buffer): Promise<void> {
  if (stream.cancelled) return Promise.resolve();
  return new Promise((resolve) => stream.write(bytes, () => resolve()));
}

function stopping(): LorasaError {
  return new LorasaError("LORASA_UNAVAILABLE", {
    asked: "stream",
    expected: "a server that is ready",
    received: "one that is stopping",
    mend: "begin another stream",
  });
}
